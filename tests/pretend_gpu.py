"""A GPU where there is none: tensors of a device of its own, whose arithmetic is the CPU's.

What a GPU refuses, numbers of two devices in one operation, is an error here too, and every transfer between the two is
counted. So all that a training does on a GPU is run by tests, but for its kernels and its graphs.

Importing this changes torch for the rest of the process: only `pretended_trainings.py` does.
"""

from __future__ import annotations

import collections
from typing import Any

import torch
from torch.autograd.grad_mode import inference_mode
from torch.utils._python_dispatch import return_and_correct_aliasing
from torch.utils._pytree import tree_flatten, tree_map_only
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

_setup_privateuseone_for_python_backend("pretended")
GPU = torch.device("pretended", 0)
TRANSFERS: collections.Counter[str] = collections.Counter()
"""Direction -> how often."""
TO_HOST, TO_DEVICE = "to the host", "to the device"
OPERATIONS: set[str] = set()
"""Names of all that was computed on the GPU, those of floating-point numbers alone."""
MOVES = ("copy_", "_to_copy")
"""Operations that take a tensor from one device to another."""


class OnGpu(torch.Tensor):
    """A tensor that says it is on the GPU.

    Args:
        held: its numbers.
    """

    is_cuda = True

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> OnGpu:
        return torch.Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            layout=held.layout,
            device=GPU,
        )

    def __init__(self, held: torch.Tensor) -> None:
        self.held = held

    def __repr__(self, **options: Any) -> str:
        return f"OnGpu({self.held!r})"

    def tolist(self) -> Any:
        return self.cpu().tolist()

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        return _compute(function, *args, **(kwargs or {}))


def _is_gpu(device: Any) -> bool:
    return torch.device(device).type == GPU.type


def _compute(function: Any, *args: Any, **kwargs: Any) -> Any:
    """Any operation of torch's of which a tensor is on the GPU, or that makes one there."""
    name = function._schema.name.removeprefix("aten::")
    tensors = [value for value in tree_flatten((args, kwargs))[0] if isinstance(value, torch.Tensor)]
    on_gpu = [isinstance(tensor, OnGpu) for tensor in tensors]
    to_gpu = any(on_gpu) if kwargs.get("device") is None else _is_gpu(kwargs["device"])
    if name in MOVES:
        from_gpu = on_gpu[-1]
        to_gpu = on_gpu[0] if name == "copy_" else to_gpu
        if to_gpu != from_gpu:
            TRANSFERS[TO_DEVICE if to_gpu else TO_HOST] += 1
    elif any(on_gpu):
        if all(tensor.is_floating_point() for tensor in tensors):
            OPERATIONS.add(name)
        strangers = [tensor for tensor, there in zip(tensors, on_gpu, strict=True) if not there and tensor.ndim]
        if strangers:
            raise RuntimeError(f"{name}: expected all tensors to be on the same device, found {GPU} and cpu")
        if name == "_local_scalar_dense":
            TRANSFERS[TO_HOST] += 1
    arguments, options = tree_map_only(OnGpu, lambda tensor: tensor.held, (args, kwargs))
    if "device" in options and to_gpu:
        options["device"] = "cpu"
    options.pop("pin_memory", None)
    result = function(*arguments, **options)
    if not to_gpu:
        return result
    return return_and_correct_aliasing(function, args, kwargs, tree_map_only(torch.Tensor, OnGpu, result))


def _empty_strided(size: Any, stride: Any, dtype: Any = None, **options: Any) -> OnGpu:
    return OnGpu(torch.empty_strided(size, stride, dtype=dtype))


def _copy_from(source: torch.Tensor, target: torch.Tensor, non_blocking: bool = False) -> torch.Tensor:
    TRANSFERS[TO_DEVICE if isinstance(target, OnGpu) else TO_HOST] += 1
    held, place = (tensor.held if isinstance(tensor, OnGpu) else tensor for tensor in (source, target))
    place.copy_(held)
    return target


# Kernels of the device, for what makes tensors there and where torch goes round tensors' own dispatch.
ATEN, REST = torch.library.Library("aten", "IMPL"), torch.library.Library("_", "IMPL")
ATEN.impl("empty_strided", _empty_strided, "PrivateUse1")
ATEN.impl("_copy_from", _copy_from, "PrivateUse1")
REST.fallback(_compute, "PrivateUse1")


class Generator(torch.Generator):
    """Random numbers drawn on the device that it was made for."""

    def __new__(cls, device: Any = "cpu") -> Generator:
        generator = super().__new__(cls, "cpu")
        generator.place = GPU if _is_gpu(device) else torch.device("cpu")
        return generator

    @property
    def device(self) -> torch.device:
        return self.place


def _enter(mode: inference_mode) -> None:
    mode.without_gradients = torch.no_grad()
    mode.without_gradients.__enter__()


torch.Generator = Generator
# Tensors of a class of one's own cannot be made in inference mode.
inference_mode.__enter__ = _enter
inference_mode.__exit__ = lambda mode, *error: mode.without_gradients.__exit__(*error)
