"""What torch.save wrote -> plain dictionaries and tensors; nothing in the pickle is ever run.

torch reads with weights_only=True, which makes tensors and plain containers and refuses every other class and
function by name. Checkpoints often hold settings beside the weights: a Namespace, a Path, a numpy scalar, a date. For
such names torch is handed a `StandIn`, a class of ours that keeps what it is given and does nothing with it; the
class that the pickle names is neither imported nor called, so that it does not matter which system or version wrote
it. Arrays are rebuilt from their bytes by `StoredArray`, not by numpy's own unpickling.
"""

from __future__ import annotations

import pickletools
import re
import warnings
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from transformer_spectrum.runtime.errors import InputError

MOST_CLAIMED = 2**28  # bytes by which the tensors of one file may be larger than what they share
NAMES_LIMIT = 2_000  # classes of one file; each costs a reading of the pickle, without the tensors

_REFUSED = re.compile(r"nsupported (?:global: )?GLOBAL (\S+)")
_NO_DICT = re.compile(r"Can only SETITEMS? for dict.* but got <class '([^']+)'>")
_NO_LIST = re.compile(r"Can only (?:append to|extend) lists, but got <class '([^']+)'>")
_HARMLESS = re.compile(
    "|".join(
        [
            r"argparse\.Namespace",
            r"types\.SimpleNamespace",
            r"pathlib(\._local|\._abc)?\.\w+",
            r"datetime\.\w+",
            r"zoneinfo\.ZoneInfo(\._unpickle)?",
            r"collections\.(defaultdict|deque|UserDict|ChainMap)",
            r"(decimal\.Decimal|fractions\.Fraction|uuid\.(UUID|SafeUUID))",
            r"(builtins\.)?(object|frozenset|slice|range|bytes|str|int|float|bool|dict|list|tuple|type|NoneType|Ellipsis)",
            r"torch\._C\.Generator|torch\.nn\.parameter\.Uninitialized\w+|re\._compile",
            r"copyreg\._reconstructor|enum\.\w+|typing\.\w+|signal\.Signals",
            r"numpy(\.\w+)*\.(ndarray|dtype|scalar|\w*reconstruct|matrix|memmap|\w*DType|MaskedArray|rec\w*)",
            r"numpy\.(float|int|uint|complex|bool|str|bytes|datetime|timedelta|longdouble|void)\w*",
            r"numpy\.random\.[\w.]+",
            r"torch\.(Generator|finfo|iinfo|memory_format|layout|qscheme|strided|preserve_format|contiguous_format)",
            r"torch\.nn\.(functional|init)\.\w+|torch\._C\._nn\.\w+",
            r"torch\.(optim|utils\.data|cuda\.amp|amp)\.[\w.]+",
            r"(lightning|pytorch_lightning|lightning_fabric)\.[\w.]*"
            r"(AttributeDict|OutputResult|ModelCheckpoint|EarlyStopping|TrainerFn|TrainerStates?|RunningStage)",
            r"(omegaconf|easydict|addict|munch|box|yacs|ml_collections)(\.\w+)+",
            r"transformers\.(training_args|trainer_utils|trainer_pt_utils|training_args_seq2seq)\.\w+",
            r"accelerate\.(utils\.dataclasses|state)\.\w+",
            r"transformers(\.\w+)*\.\w*Config",
            r"(megatron|deepspeed|fairseq|hydra|mmengine|mmcv|torchmetrics|torchvision\.transforms)(\.\w+)+",
            r"(pandas(?=\.([A-Z]\w+|(core|_libs|arrays)\..*)$)|pyarrow|sklearn|scipy\.(sparse|stats)|gym|gymnasium)(\.\w+)+",
        ]
    )
)


class StandIn:
    """An object of a class that is not made, or the result of a function that is not called: nothing is run.

    Attributes:
        arguments: what it would have been made of.
        state: what would have been put into it.
    """

    arguments: tuple[Any, ...]
    state: Any

    def __new__(cls, *arguments: Any, **_: Any) -> Any:
        stand_in = super().__new__(cls)
        stand_in.arguments, stand_in.state = arguments, None
        return stand_in

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        self.state = state


class StoredArray(StandIn):
    """A numpy array: its state is (version, shape, dtype, whether Fortran's order, bytes)."""

    def tensor(self) -> Tensor | None:
        """The entries as a tensor; None where they are no numbers or do not fit their shape."""
        try:
            _, shape, dtype, fortran, raw = self.state
            code, order = dtype.code, dtype.order
            if not re.fullmatch(r"[fiubc]\d{1,2}", code) or not isinstance(raw, bytes):
                return None
            entries = np.frombuffer(raw, np.dtype(code).newbyteorder(order)).reshape(
                shape, order="F" if fortran else "C"
            )
            return torch.from_numpy(np.array(entries, dtype=entries.dtype.newbyteorder("="), order="C"))
        except (TypeError, ValueError, AttributeError, LookupError, OverflowError):
            return None


class _Dtype(StandIn):
    """numpy.dtype: a code such as "f8" and, in its state, the order of bytes."""

    @property
    def code(self) -> str:
        return str(self.arguments[0]) if self.arguments else ""

    @property
    def order(self) -> str:
        order = self.state[1] if isinstance(self.state, tuple) and len(self.state) > 1 else "="
        return order if order in ("<", ">") else "="


class _Dictionary:
    """A kind of dictionary, such as a defaultdict or an AttributeDict: a plain one."""

    def __new__(cls, *_: Any, **__: Any) -> Any:
        return OrderedDict()


class _List:
    """A kind of list, such as a deque: a plain one."""

    def __new__(cls, *_: Any, **__: Any) -> Any:
        return []


def _base(name: str) -> type:
    """The stand-in for a class or function of this name."""
    last = name.rsplit(".", 1)[-1]
    if name.startswith("numpy.") and last in ("ndarray", "_reconstruct", "matrix", "memmap"):
        return StoredArray
    if name == "numpy.dtype" or (name.startswith("numpy.dtypes.") and last.endswith("DType")):
        return _Dtype
    if name in ("collections.deque", "builtins.list"):
        return _List
    if name in ("collections.defaultdict", "builtins.dict"):
        return _Dictionary
    return StandIn


def load(path: Path, *, mapped: bool, skip_objects: bool) -> tuple[Any, list[str]]:
    """Everything in a file of torch.save, with stand-ins for objects.

    Args:
        path: of the file.
        mapped: whether its tensors can be mapped into memory: the zip format can.
        skip_objects: stand-ins for every class and function that the file names, not for the harmless ones alone.
    Returns:
        What was saved, and the names for which there are stand-ins although they are not known to be harmless.
    Raises:
        InputError: damaged or cut off, or it names a class or function that is not known to be harmless.

    >>> from argparse import Namespace
    >>> torch.save({"weight": torch.ones(2), "args": Namespace(seed=1)}, "checkpoint.pt")
    >>> whole, unknown = load(Path("checkpoint.pt"), mapped=True, skip_objects=False)
    >>> whole["weight"], isinstance(whole["args"], StandIn), unknown
    (tensor([1., 1.]), True, [])
    """
    stand_ins: dict[str, type] = {}
    for _ in range(NAMES_LIMIT):
        try:
            with warnings.catch_warnings(), torch.serialization.safe_globals(_listed(stand_ins)):
                warnings.simplefilter("ignore", UserWarning)  # on pickle protocols: the error below says it
                whole = _read(path, mapped)
                _check_bounds(whole)
        except MemoryError:
            raise InputError(f"{path}: {_cause('it asks for more memory than there is')}") from None
        except Exception as error:  # by kind: a damaged or crafted pickle makes torch raise all of them
            if isinstance(error, OSError) and error.filename is not None:
                raise
            if not _extend(stand_ins, str(error), skip_objects):
                raise InputError(f"{path}: {_cause(str(error))}") from None
        else:
            return whole, sorted(name for name in stand_ins if not _HARMLESS.fullmatch(name))
    raise InputError(f"{path}: names more than {NAMES_LIMIT} classes; save the state dict alone")


def _read(path: Path, mapped: bool) -> Any:
    with torch.sparse.check_sparse_tensor_invariants():  # indices that lie would be written to, outside of any tensor
        if mapped:
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        with path.open("rb") as stream:  # a path that ends in .safetensors torch hands to another library
            return torch.load(stream, map_location="cpu", weights_only=True)


def _check_bounds(whole: Any) -> None:
    """Meets names that are no text, and tensors that claim far more entries (by strides of 0) than the file has bytes.

    Raises:
        ValueError: it has some.
    """
    claimed, seen, waiting = 0, set(), [whole]
    while waiting:
        entry = waiting.pop()
        if id(entry) in seen:
            continue
        seen.add(id(entry))
        if isinstance(entry, Mapping):
            for name in entry:
                if isinstance(name, str):
                    name.encode()
            waiting += entry.values()
        elif isinstance(entry, list | tuple | set):
            waiting += entry
        elif isinstance(entry, Tensor) and entry.layout == torch.strided and not entry.is_quantized:
            claimed += max(0, entry.numel() * entry.element_size() - entry.untyped_storage().nbytes())
    if claimed > MOST_CLAIMED:
        raise ValueError(f"its tensors claim {claimed:,} bytes more than it has")


def _listed(stand_ins: dict[str, type]) -> list[Any]:
    return [(stand_in, name) for name, stand_in in stand_ins.items()]


def _extend(stand_ins: dict[str, type], message: str, skip_objects: bool) -> bool:
    """Adds or changes the stand-in that the error of the last attempt asks for; False where it asks for none."""
    if refused := _REFUSED.search(message):
        name = refused[1] if "." in refused[1] else f"builtins.{refused[1]}"  # torch leaves builtins off
        named = re.fullmatch(r"[\w.<>]+", name)  # anything else is no name of a class
        if name in stand_ins or not named or not (skip_objects or _HARMLESS.fullmatch(name)):
            return False
        # A class of its own for every name, which errors then show. Names with a dot are those of the pickle.
        stand_ins[name] = type(name, (_base(name),), {"__module__": "stand_in"})
        return True
    for pattern, base in ((_NO_DICT, _Dictionary), (_NO_LIST, _List)):
        if asked := pattern.search(message):
            name = asked[1].removeprefix("stand_in.")
            if name not in stand_ins or issubclass(stand_ins[name], base):
                return False
            stand_ins[name] = type(name, (base,), {"__module__": "stand_in"})
            return True
    return False


def _cause(message: str) -> str:
    if refused := _REFUSED.search(message):
        remedy = "save model.state_dict() alone, or read the tensors beside it by --skip-objects"
        if "whose module" in message:  # torch never lets os, sys and their kin pass
            remedy = "do not load this file; get the weights from where they are trusted"
        return (
            f"holds {refused[1]}, and only tensors and what is known to be harmless are read: code in a pickle is "
            f"never run; {remedy}"
        )
    operand = re.search(r"Unsupported operand (\d+)", message)
    if operand and chr(int(operand[1])) in {opcode.code for opcode in pickletools.opcodes}:
        return (
            "not a readable torch state dict: a pickle protocol that torch reads only by running code; save it by "
            "torch.save without pickle_protocol"
        )
    if "must be imported to load" in message:
        return "not a readable torch state dict: it holds distributed or nested tensors; save full_tensor() of each"
    if re.search(r"call reduce|create new object|Can only build|Only persistent_load", message):
        return "holds objects that only their own code can make: code in a pickle is never run; save model.state_dict()"
    return (
        f"not a readable torch state dict: cut off, damaged or of a kind that is not read ({_first_sentence(message)})"
    )


def _first_sentence(message: str) -> str:
    words = " ".join(message.split("WeightsUnpickler error:")[-1].split()) or "it ends too early"
    return words.split(". ")[0][:120]
