"""How many outputs a convolution has, by its bias and by the layers before and behind it.

A kernel (64, 3, 4, 4) is of 64 outputs, or of 3 where it is that of a transposed convolution.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from transformer_spectrum.weights.anatomy.readings import bias_of

_NUMBERED = re.compile(r"^(?P<before>(?:.*\.)?)(?P<number>\d+)\.weight$")


def outputs_of(
    name: str, shapes: Mapping[str, tuple[int, ...]], bias: tuple[int, ...] | None
) -> tuple[int | None, str]:
    """How many outputs a layer has, None where nothing says, and what says it.

    Args:
        name: of its kernel.
        shapes: of all tensors of the model, by name.
        bias: shape of the bias beside it; None where there is none.

    >>> outputs_of("main.3.weight", {"main.3.weight": (64, 3, 4, 4), "main.4.running_mean": (3,)}, None)
    (3, 'the norm behind it')
    """
    if bias is not None and len(bias) == 1:
        return bias[0], "its bias"
    norm = _norm_behind(name, shapes)
    if norm is not None:
        return norm, "the norm behind it"
    return _by_chain(name, shapes), "the layers before and behind it"


def _norm_behind(name: str, shapes: Mapping[str, tuple[int, ...]]) -> int | None:
    """Entries of the norm that follows in a Sequential: of main.3.weight those of main.4.running_mean."""
    index = _NUMBERED.match(name)
    if index is None:
        return None
    behind = f"{index['before']}{int(index['number']) + 1}."
    norm = shapes.get(f"{behind}running_mean", shapes.get(f"{behind}weight", ()))
    return norm[0] if len(norm) == 1 and norm[0] > 1 else None


def _by_chain(name: str, shapes: Mapping[str, tuple[int, ...]]) -> int | None:
    """Outputs of a kernel in a Sequential, where one reading alone fits what comes before and what follows.

    The last layer of DCGAN's generator, (64, 3, 4, 4) without bias or norm, follows one whose norm has 64 entries.
    """
    index, shape = _NUMBERED.match(name), shapes[name]
    if index is None or shape[0] == shape[1]:
        return None
    before, behind = _neighbours(index["before"], int(index["number"]), shapes)
    inputs = None if before is None else _given(before, shapes)
    plain = inputs is None or any(_fits_groups(shape, count) for count in inputs)
    turned = inputs is None or shape[0] in inputs
    if behind is not None:
        plain = plain and _takes(behind, shapes, shape[0])
        turned = turned and _takes(behind, shapes, shape[1])
    return None if plain == turned else shape[0] if plain else shape[1]


def _neighbours(prefix: str, number: int, shapes: Mapping[str, tuple[int, ...]]) -> tuple[str | None, str | None]:
    """The nearest kernels of as many axes before and behind one in its Sequential, None where there is none."""
    axes = len(shapes[f"{prefix}{number}.weight"])
    numbers = [
        int(index["number"])
        for index in map(_NUMBERED.match, shapes)
        if index is not None and index["before"] == prefix and len(shapes[index[0]]) == axes
    ]
    earlier, later = [n for n in numbers if n < number], [n for n in numbers if n > number]
    return (
        f"{prefix}{max(earlier)}.weight" if earlier else None,
        f"{prefix}{min(later)}.weight" if later else None,
    )


def _given(name: str, shapes: Mapping[str, tuple[int, ...]]) -> set[int]:
    """Outputs that a kernel may have, by its bias, by the norm behind it, or by either reading."""
    outputs = _stated(name, shapes)
    return set(shapes[name][:2]) if outputs is None else {outputs}


def _takes(name: str, shapes: Mapping[str, tuple[int, ...]], inputs: int) -> bool:
    """Whether a kernel may have so many inputs, plain, in groups, or transposed."""
    shape, outputs = shapes[name], _stated(name, shapes)
    plain = outputs in (None, shape[0]) and _fits_groups(shape, inputs)
    return plain or (outputs in (None, shape[1]) and inputs == shape[0])


def _stated(name: str, shapes: Mapping[str, tuple[int, ...]]) -> int | None:
    bias = bias_of(name, shapes)
    return bias[0] if bias is not None and len(bias) == 1 else _norm_behind(name, shapes)


def _fits_groups(shape: tuple[int, ...], inputs: int) -> bool:
    """Whether a plain kernel (outputs, inputs / groups, ...) has so many inputs, for any number of groups."""
    return inputs % shape[1] == 0 and shape[0] % (inputs // shape[1]) == 0
