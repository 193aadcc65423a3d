"""The update of an adapter from its factors, before its scale: B A and its kin."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from transformer_spectrum.weights.anatomy.formed import EXACT, NotFormedError, Source, by_words


@dataclass(frozen=True)
class Update:
    """What is added to a weight, up to its scale.

    Attributes:
        kind: lora, adalora, loha or lokr.
        shape: outputs x inputs, and the axes of a kernel; tokens x channels for an embedding.
        pieces: names of the factors.
        form: their entries -> the update.
        rank: of the update at most.
        rank_of_scale: the r that a scale is divided by.
        words: the formula, short.
        note: the formula and its factors.
        embedding: the update belongs to an embedding.
        factored: any of its factors is a product itself.
        magnitude: name of DoRA's row lengths, where there are any.
    """

    kind: str
    shape: tuple[int, ...]
    pieces: tuple[str, ...]
    form: Callable[..., Tensor]
    rank: int
    rank_of_scale: int
    words: str
    note: str
    embedding: bool = False
    factored: bool = True
    magnitude: str | None = None


@dataclass(frozen=True)
class Scale:
    """What an update is multiplied with.

    Attributes:
        factor: of the entries of `pieces` -> the scale; None: unknown.
        pieces: names of tensors that it needs.
        words: for the reader; why it is unknown, if it is.
        turned: whether the weight is stored as inputs x outputs (fan_in_fan_out); None: not said.
    """

    factor: Callable[..., float] | None
    pieces: tuple[str, ...] = ()
    words: str = ""
    turned: bool | None = None


def update_of(factors: Mapping[str, str], source: Source) -> Update | str:
    """The update by the roles of its factors, or why it cannot be formed.

    >>> from transformer_spectrum.weights.anatomy.formed import Held
    >>> source = Source({"a": Held((2, 8), "F32"), "b": Held((6, 2), "F32")}, lambda name: None)
    >>> update = update_of({"lora_A": "a", "lora_B": "b"}, source)
    >>> update.shape, update.rank
    ((6, 8), 2)
    """
    if "hada_w1_a" in factors or "hada_w2_a" in factors:
        return _loha(factors, source)
    if any(role.startswith("lokr_") for role in factors):
        return _lokr(factors, source)
    pairs = (("lora_A", "lora_B"), ("lora_embedding_A", "lora_embedding_B"), ("lora_a", "lora_b"))
    for first, second in (*pairs, ("lora_down", "lora_up")):
        if first in factors and second in factors:
            return _lora(factors, first, second, source)
    return "a factor of an adapter without its counterpart"


def _lora(factors: Mapping[str, str], first: str, second: str, source: Source) -> Update | str:
    names = factors[first], factors[second]
    a, b = (source.tensors[name].shape for name in names)
    magnitude = factors.get("lora_magnitude_vector") or factors.get("dora_scale")
    if (
        len(a) < 2
        or len(b) < 2
        or (("lora_E" in factors or first == "lora_embedding_A") and (len(a), len(b)) != (2, 2))
    ):
        return "factors of an adapter that are no matrices"
    if "lora_mid" in factors:
        return _tucker(factors, names, a, b, source)
    if first == "lora_a" and len(a) == len(b) == 2 and a[1] == b[0] and a[0] != b[1]:  # MLX: inputs x r, r x outputs
        words = "(lora_a lora_b)^T"
        return Update("lora", (b[1], a[0]), names, lambda a, b: (a @ b).T, a[1], a[1], words, words)
    if b[1] != a[0] or math.prod(b[2:]) != 1:
        return f"factors of {by_words(a)} and {by_words(b)}, which make no product"
    if "lora_E" in factors:
        if source.numbers(factors["lora_E"]) != a[0]:
            return "factors of AdaLoRA that do not fit each other"
        pieces = (*names, factors["lora_E"])
        words = f"{second} diag(lora_E) {first}"

        def with_values(a: Tensor, b: Tensor, values: Tensor) -> Tensor:
            return b @ (a * values.reshape(-1, 1))

        return Update("adalora", (b[0], a[1]), pieces, with_values, a[0], a[0], words, words)
    if first == "lora_embedding_A":
        words = f"({second} {first})^T"
        return Update(
            "lora", (a[1], b[0]), names, lambda a, b: (b @ a).T, a[0], a[0], words, words, True, magnitude=magnitude
        )
    shape = (b[0], *a[1:])

    def product(a: Tensor, b: Tensor) -> Tensor:
        return (b.flatten(1) @ a.flatten(1)).reshape(shape)

    words = f"{second} {first}"
    return Update("lora", shape, names, product, a[0], a[0], words, words, magnitude=magnitude)


def _tucker(
    factors: Mapping[str, str], names: tuple[str, str], down: tuple[int, ...], up: tuple[int, ...], source: Source
) -> Update | str:
    """LoCon's three factors of a kernel: up x mid x down over channels, mid alone over places."""
    mid = source.tensors[factors["lora_mid"]].shape
    if mid[:2] != (up[1], down[0]) or math.prod(down[2:]) != 1 or math.prod(up[2:]) != 1:
        return "factors of a LoRA with lora_mid that do not fit each other"

    def product(down: Tensor, up: Tensor, mid: Tensor) -> Tensor:
        return torch.einsum("or,rs...,si->oi...", up.flatten(1), mid, down.flatten(1))

    pieces, words = (*names, factors["lora_mid"]), "lora_up lora_mid lora_down"
    return Update(
        "lora", (up[0], down[1], *mid[2:]), pieces, product, down[0] * math.prod(mid[2:]), down[0], words, words
    )


def _loha(factors: Mapping[str, str], source: Source) -> Update | str:
    roles = ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")
    if "hada_t1" in factors or "hada_t2" in factors or not set(roles) <= set(factors):
        return "factors of LoHa in its form for kernels, or not all of them"
    shapes = [source.tensors[factors[role]].shape for role in roles]
    out, inside = shapes[0][0], shapes[1][-1]
    if any(len(shape) != 2 for shape in shapes) or shapes[0][1] != shapes[1][0] or shapes[2][1] != shapes[3][0]:
        return "factors of LoHa that do not fit each other"
    if (shapes[2][0], shapes[3][1]) != (out, inside):
        return "factors of LoHa that do not fit each other"
    pieces, rank = tuple(factors[role] for role in roles), shapes[1][0]

    def product(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
        return (a @ b) * (c @ d)

    words = "(w1_a w1_b) * (w2_a w2_b)"
    return Update(
        "loha", (out, inside), pieces, product, min(rank * shapes[3][0], out, inside), rank, words, f"LoHa, {words}"
    )


def _lokr(factors: Mapping[str, str], source: Source) -> Update | str:
    if "lokr_t2" in factors:
        return "factors of LoKr in its form for kernels"
    sides: list[tuple[str, ...]] = []
    shapes: list[tuple[int, ...]] = []
    for side in ("lokr_w1", "lokr_w2"):
        if side in factors:
            sides.append((factors[side],))
            shapes.append(source.tensors[factors[side]].shape)
        elif f"{side}_a" in factors and f"{side}_b" in factors:
            sides.append((factors[f"{side}_a"], factors[f"{side}_b"]))
            a, b = (source.tensors[name].shape for name in sides[-1])
            if len(a) != 2 or len(b) != 2 or a[1] != b[0]:
                return "factors of LoKr that do not fit each other"
            shapes.append((a[0], b[1]))
        else:
            return "a factor of LoKr is not in the file"
    if len(shapes[0]) != 2 or len(shapes[1]) < 2:
        return "factors of LoKr that are no matrices"
    products = [pair[1] for pair in sides if len(pair) == 2]
    rank = source.tensors[products[0]].shape[0] if products else 1

    def product(*tensors: Tensor) -> Tensor:
        first = tensors[0] @ tensors[1] if len(sides[0]) == 2 else tensors[0]
        rest = tensors[len(sides[0]) :]
        second = rest[0] @ rest[1] if len(rest) == 2 else rest[0]
        return torch.kron(first.reshape(*first.shape, *(1,) * (second.ndim - 2)), second)

    shape = (shapes[0][0] * shapes[1][0], shapes[0][1] * shapes[1][1], *shapes[1][2:])
    words = "w1 (x) w2"
    pieces = (*sides[0], *sides[1])
    return Update(
        "lokr",
        shape,
        pieces,
        product,
        min(shape[:2]),
        rank,
        words,
        f"LoKr, the Kronecker product {words}",
        factored=bool(products),
    )


def gained(update: Update, base: tuple[int, ...], stated: bool | None) -> bool | None:
    """Whether the update is added transposed; None where it fits the weight in no way, or in two and nothing says.

    Args:
        update: what is added.
        base: shape of the weight.
        stated: fan_in_fan_out, None where nobody says.

    >>> update = Update("lora", (3, 2), ("A", "B"), lambda a, b: b @ a, 1, 1, "B A", "B A")
    >>> gained(update, (3, 2), None), gained(update, (2, 3), None), gained(update, (5, 5), None)
    (False, True, None)
    """
    if update.embedding:
        return False if base == update.shape else None
    straight = base == update.shape or (math.prod(base) == math.prod(update.shape) and base[0] == update.shape[0])
    crossed = len(base) == len(update.shape) == 2 and base == update.shape[::-1]
    if straight and crossed and base == update.shape:
        return bool(stated)
    return False if straight else True if crossed else None


def scaled_update(update: Update, scale: Scale) -> Callable[..., Tensor]:
    """Factors and what the scale needs -> the update.

    >>> update = Update("lora", (2, 2), ("A", "B"), lambda a, b: b @ a, 1, 1, "B A", "B A")
    >>> scaled_update(update, Scale(lambda: 0.5))(torch.tensor([[2.0, 4.0]]), torch.tensor([[1.0], [3.0]])).tolist()
    [[1.0, 2.0], [3.0, 6.0]]
    """

    def form(*tensors: Tensor) -> Tensor:
        factors, rest = tensors[: len(update.pieces)], tensors[len(update.pieces) :]
        matrix = update.form(*(_exact(factor, update.shape) for factor in factors))
        return matrix if scale.factor is None else matrix * scale.factor(*rest)

    return form


def _exact(factor: Tensor, shape: tuple[int, ...]) -> Tensor:
    """In float64 where the product is small, so that what has rank r has its zeros."""
    if math.prod(shape) <= EXACT:
        return factor.to(torch.float64)
    return factor.to(torch.promote_types(factor.dtype, torch.float32))


def in_use(update: Update, scale: Scale, turned: bool, dora: bool) -> Callable[..., Tensor]:
    """The weight and the factors -> the weight in use.

    >>> update = Update("lora", (2, 2), ("A", "B"), lambda a, b: b @ a, 1, 1, "B A", "B A")
    >>> weight = in_use(update, Scale(lambda: 0.5), turned=False, dora=False)
    >>> weight(torch.eye(2), torch.tensor([[2.0, 4.0]]), torch.tensor([[1.0], [3.0]])).tolist()
    [[2.0, 2.0], [3.0, 7.0]]
    """

    def form(base: Tensor, *tensors: Tensor) -> Tensor:
        magnitude = tensors[-1] if dora else None
        change = scaled_update(update, scale)(*(tensors[:-1] if dora else tensors))
        change = change.T if turned else change.reshape(base.shape)
        weight = base.to(change.dtype) + change
        if magnitude is not None:
            lengths = weight.square().sum(dim=1).sqrt()
            if magnitude.numel() != len(lengths):
                raise NotFormedError("the row lengths of DoRA are not as many as the rows")
            weight = weight * (magnitude.reshape(-1).to(weight.dtype) / lengths)[:, None]
        return weight.to(torch.promote_types(base.dtype, torch.float32))

    return form
