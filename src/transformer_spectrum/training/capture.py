"""CUDA graphs: a computation on tensors of fixed shapes is recorded once and then replayed by one launch.

The only place that knows of them. Elsewhere than on CUDA, or where a capture fails, which is said once, the
computation runs as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Protocol

import torch
from torch import Tensor

Function = Callable[..., Any]
KEPT = 8
"""Recordings kept at once: those of the last shapes."""
WARM_UP = 3
"""Runs before a recording, in which libraries choose their kernels and allocate what they need."""


class Graph(Protocol):
    """A recorded computation."""

    def replay(self) -> None:
        """Computes again, from what is in the inputs' memory now, into the outputs' memory."""


Record = Callable[[Callable[[], Any]], tuple[Graph, Any]]
"""Runs a computation while recording it -> the recording and the outputs."""


def record_on_cuda(compute: Callable[[], Any]) -> tuple[Graph, Any]:
    """Records by torch.cuda.CUDAGraph, as PyTorch's documentation on CUDA graphs prescribes."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP):
            compute()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outputs = compute()
    return graph, outputs


class Captured:
    """A function of something static and tensors, recorded once for each of their shapes.

    Args:
        function: (static, *tensors) -> a tensor or a tuple of them; computes the same whenever called.
        device: of the tensors.
        say: takes one sentence when nothing can be recorded.
        record: in place of CUDA's; None = CUDA's on a CUDA device, nothing elsewhere.

    >>> double = Captured(lambda static, x: x * 2, torch.device("cpu"))
    >>> double(None, torch.ones(1)).item()
    2.0
    """

    def __init__(
        self,
        function: Function,
        device: torch.device,
        say: Callable[[str], None] = lambda sentence: None,
        record: Record | None = None,
    ) -> None:
        self._function, self._say = function, say
        self._record = record or (record_on_cuda if device.type == "cuda" else None)
        self._recordings: dict[Hashable, tuple[list[Tensor], Graph, Any]] = {}

    def __call__(self, static: Hashable, *tensors: Tensor) -> Any:
        if self._record is None:
            return self._function(static, *tensors)
        key = (static, tuple((tensor.shape, tensor.dtype) for tensor in tensors))
        if key not in self._recordings:
            inputs = [tensor.clone() for tensor in tensors]
            try:
                graph, outputs = self._record(lambda: self._function(static, *inputs))
            except RuntimeError as error:
                self._say(f"device: no CUDA graph ({str(error).splitlines()[0]}); going on without, slower")
                self._record = None
                return self._function(static, *tensors)
            while len(self._recordings) >= KEPT:
                del self._recordings[next(iter(self._recordings))]
            self._recordings[key] = inputs, graph, outputs
        inputs, graph, outputs = self._recordings[key]
        for place, tensor in zip(inputs, tensors, strict=True):
            place.copy_(tensor)
        graph.replay()
        return tuple(part.clone() for part in outputs) if isinstance(outputs, tuple) else outputs.clone()
