"""What a checkpoint holds beside the model, in words: nothing that is not taken goes unsaid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

from transformer_spectrum.weights.files.contents import Contents, Path
from transformer_spectrum.weights.files.roles import Role, role_of
from transformer_spectrum.weights.files.stored import Beside, Stored

NAMED_KEYS = 12  # in one sentence
TRAINING = "the state of an optimizer or a training"
BESIDE: dict[Role, str] = {
    "model": "a further model beside the one that was taken",
    "copy": "a further set of weights beside the model",
    "data": "data beside the model",
    "training": TRAINING,
    "": "a further dictionary beside the model",
}


def beside_of(
    taken: set[Path], sizes: Mapping[Path, Stored], contents: Contents, key: str | None
) -> tuple[Beside, ...]:
    """What was not taken: the largest dictionaries without a tensor of the model, and loose tensors.

    Args:
        taken: paths of the model's tensors.
        sizes: shape of every tensor in the file.
        contents: of the file.
        key: what the user asked for; None: nothing.

    >>> sizes = {("model", "weight"): Stored((2, 2), "F32"), ("ema", "weight"): Stored((2, 2), "F32")}
    >>> beside_of({("model", "weight")}, sizes, Contents(), None)[0].reason
    'a further set of weights beside the model, 1 tensor of 4 entries; --key ema measures it'
    """
    around = {path[:depth] for path in taken for depth in range(len(path))}
    groups: dict[Path, list[Path]] = {}
    for path in sizes:
        if path not in taken:
            depth = next((depth for depth in range(1, len(path)) if path[:depth] not in around), len(path))
            groups.setdefault(path[:depth], []).append(path)
    entries = [_entry(head, paths, sizes, contents, key) for head, paths in groups.items()]
    return (*entries, *(Beside(".".join(path), (), reason) for path, reason in contents.unread.items()))


def _entry(
    head: Path, paths: Sequence[Path], sizes: Mapping[Path, Stored], contents: Contents, key: str | None
) -> Beside:
    name = ".".join(head)
    training = all(contents.is_training(path) for path in paths)
    if head in sizes:
        words = TRAINING if training else "a tensor beside the model"
        return Beside(name, tuple(sizes[head].shape), words if key is None else f"{words}, not below --key {key}")
    words = TRAINING if training else BESIDE[role_of(head)]
    return Beside(name, (), f"{words}, {_count(paths, sizes)}; --key {name} measures it")


def _count(paths: Sequence[Path], sizes: Mapping[Path, Stored]) -> str:
    entries = sum(prod(sizes[path].shape) for path in paths)
    return f"{len(paths)} {'tensor' if len(paths) == 1 else 'tensors'} of {entries:,} entries"


def notes_of(
    place: str,
    root: Path,
    paths: Sequence[Path],
    sizes: Mapping[Path, Stored],
    beside: Sequence[Beside],
    contents: Contents,
) -> tuple[str, ...]:
    """Which was taken and what was beside it, one sentence each; none where there was nothing to choose.

    Args:
        place: where the model lies, in words.
        root: dictionary that was taken.
        paths: of the model's tensors.
        sizes: shape of every tensor in the file.
        beside: what was not taken.
        contents: of the file.

    >>> sizes = {("model", "weight"): Stored((2, 2), "F32")}
    >>> notes_of("in model", ("model",), list(sizes), sizes, [Beside("ema", (), "")], Contents())
    ('the model is in model (1 tensor of 4 entries); beside it: ema; --key takes another',)
    """
    notes = []
    if root or beside:
        leftovers = f"; beside it: {listed([entry.name for entry in beside])}; --key takes another" if beside else ""
        notes.append(f"the model is {place} ({_count(paths, sizes)}){leftovers}")
    if contents.empty:
        notes.append(f"without a tensor and not looked at: {listed(contents.empty)}")
    return tuple(notes)


def listed(keys: Sequence[str]) -> str:
    """The first keys and how many more there are.

    >>> listed(["model", "ema"])
    'model, ema'
    """
    more = f" and {len(keys) - NAMED_KEYS} more" if len(keys) > NAMED_KEYS else ""
    return ", ".join(keys[:NAMED_KEYS]) + more
