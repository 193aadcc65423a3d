"""Files and folders that are either the old ones or the whole new ones: written aside, checked, put in their places.

What is written aside is locked, so that the next writer of the same path can tell what a killed process has left
behind, which it removes, from what another one is writing.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path

from transformer_spectrum.runtime.hard_links import carry_over

VANISHED = "vanished while it was being written: something else has removed it"
MARK, OLD = "unfinished-", ".old"
_EXCHANGE, _HERE = 2, -100  # RENAME_EXCHANGE and AT_FDCWD of renameat2(2)


class _Aside:
    """Something that is being written beside its place.

    Args:
        path: its place; missing parent folders are made.
        folder: or a file.
        own: see `atomic_folder`.
    """

    open: dict[Path, _Aside] = {}  # noqa: RUF012
    """What is being written, by the absolute path of the temporary."""

    def __init__(self, path: str | Path, *, folder: bool, own: Collection[str] | None = None) -> None:
        self.path, self.folder, self.own = Path(path), folder, own
        if folder and self.path.is_symlink():
            self.path = self.path.resolve()
        _make_folder(self.path.parent)
        _sweep_out(self.path)
        self.names: set[str] = set()
        """Of a folder, the files that were written into it in this way."""
        self.temporary, self._handle = self._made()
        while not self._locked():  # another process has taken it for a leftover
            os.close(self._handle)
            self.temporary, self._handle = self._made()
        self.open[self.temporary.absolute()] = self
        self._replaced = self._placed = False

    def _made(self) -> tuple[Path, int]:
        """A new temporary file or folder, and a handle of it."""
        begins = f".{self.path.name}.{MARK}"
        if self.folder:
            temporary = Path(tempfile.mkdtemp(dir=self.path.parent, prefix=begins))
            return temporary, os.open(temporary, os.O_RDONLY)
        handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=begins, suffix=self.path.suffix)
        return Path(name), handle

    def _locked(self) -> bool:
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # a file system without locks, where nothing is swept out either
            return True
        return _same(self.temporary, self._handle, folder=True)

    def check(self) -> None:
        """Raises FileNotFoundError when it, or what was written into it, has been removed."""
        if not _same(self.temporary, self._handle, folder=self.folder):
            raise FileNotFoundError(errno.ENOENT, VANISHED, str(self.path))
        for name in sorted(self.names):
            if not (self.temporary / name).exists():
                raise FileNotFoundError(errno.ENOENT, VANISHED, str(self.path / name))

    def settle(self) -> None:
        """Checks it, flushes it to the disk and lets others read it."""
        self.check()
        if not self.folder:
            with self.temporary.open("rb+") as stream:
                os.fsync(stream.fileno())
            self.temporary.chmod(0o644)
            return
        self.temporary.chmod(0o755)
        for inside in filter(Path.is_file, self.temporary.rglob("*")):
            inside.chmod(0o644)
        if self.own is not None and self.path.is_dir():
            carry_over(self.path, self.temporary, self.own)

    def place(self, *, last: bool) -> None:
        """Puts it in its place, in one step; `temporary` has what was there then, but for a last file's."""
        if self.path.is_dir() != self.folder and os.path.lexists(self.path):
            number = errno.EISDIR if self.path.is_dir() else errno.ENOTDIR
            raise OSError(number, os.strerror(number), str(self.path))
        if os.path.lexists(self.path) and (self.folder or not last):
            _exchange(self.temporary, self.path)
            self._replaced = True
        else:
            self.temporary.replace(self.path)
        self._placed = True

    def take_back(self) -> None:
        """Undoes `place`."""
        if self._replaced:
            _exchange(self.temporary, self.path)
        elif self._placed:
            self.path.replace(self.temporary)

    def close(self) -> None:
        """Removes what is not in place."""
        self.open.pop(self.temporary.absolute(), None)
        os.close(self._handle)
        _remove(self.temporary)

    def written(self) -> None:
        """Lets the folder that a file lies in, where that is being written too, know of it."""
        around = self.open.get(self.path.parent.absolute())
        if around is not None and not self.folder:  # a folder in it may be for the time being
            around.names.add(self.path.name)


def _make_folder(path: Path) -> None:
    """Makes a folder with its parents, but never again one that is being written and has vanished.

    Raises:
        FileNotFoundError: that is so.
    """
    for around in (path.absolute(), *path.absolute().parents):
        if around in _Aside.open:
            _Aside.open[around].check()
    path.mkdir(parents=True, exist_ok=True)


def _same(path: Path, handle: int, *, folder: bool) -> bool:
    """Whether the path is still what was opened; a file may have been replaced by its writer."""
    try:
        return os.path.samestat(path.stat(), os.fstat(handle)) or not folder
    except OSError:
        return False


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _sweep_out(path: Path) -> None:
    """Removes what killed processes have left beside a path; what one has taken out of its place goes back there."""
    begins = f".{path.name}.{MARK}"
    for leftover in [entry for entry in path.parent.iterdir() if entry.name.startswith(begins)]:
        if leftover.suffix == OLD and not os.path.lexists(path):
            leftover.replace(path)
            continue
        with contextlib.suppress(OSError):  # in use, or gone
            handle = os.open(leftover, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(leftover)
            finally:
                os.close(handle)


def _exchange(first: Path, second: Path) -> None:
    """Lets two paths change places, in one step where the file system can."""
    swap = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if swap is not None and swap(_HERE, os.fsencode(first), _HERE, os.fsencode(second), _EXCHANGE) == 0:
        return
    between = first.with_name(f"{first.name}{OLD}")
    with contextlib.ExitStack() as undo:
        second.replace(between)
        undo.callback(between.replace, second)
        first.replace(second)
        undo.callback(second.replace, first)
        between.replace(first)
        undo.pop_all()


@contextlib.contextmanager
def _errors_name(aside: _Aside) -> Iterator[None]:
    """The user asked for a path; its temporary name would only puzzle."""
    try:
        yield
    except OSError as error:
        inside = str(error.filename or aside.temporary)
        if error.filename2 is None and inside.startswith(str(aside.temporary)):
            asked = str(aside.path) + inside.removeprefix(str(aside.temporary))
            raise OSError(error.errno or errno.EIO, error.strerror or str(error), asked) from error
        raise


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; on success it is flushed to disk and renamed onto `path`.

    Args:
        path: the file to write; missing parent folders are made.
    Raises:
        OSError: the disk is full or the folder is not writable; `path` is then what it was before.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with atomic_path(f"{folder}/a.txt") as temporary:
    ...         _ = temporary.write_text("whole")
    ...         print(Path(folder, "a.txt").exists())
    ...     print(Path(folder, "a.txt").read_text())
    False
    whole
    """
    if Path(path).absolute() in _Aside.open:  # itself a temporary one, of a file that others belong to
        yield Path(path)
        return
    with atomic_together(path) as (temporary,):
        yield temporary


@contextlib.contextmanager
def atomic_folder(path: str | Path, own: Collection[str] | None = None) -> Iterator[Path]:
    """Yields an empty temporary folder; on success it takes the place of the folder `path`.

    On any failure the old folder stays as it was.

    Args:
        path: the folder, or a link to it, which stays one.
        own: names directly in it that the writer may take away; whatever else lies there, and the new folder has not,
            goes on lying there. None: the old folder goes as a whole.
    Raises:
        FileNotFoundError: the temporary folder, or what was written into it, was removed meanwhile.

    >>> for content in ("old", "new"):
    ...     with contextlib.suppress(ValueError), atomic_folder("result") as inside:
    ...         _ = (inside / "a.txt").write_text(content)
    ...         if content == "new":
    ...             raise ValueError
    >>> Path("result/a.txt").read_text()
    'old'
    """
    with atomic_together(folders=[path], own=own) as (temporary,):
        yield temporary


@contextlib.contextmanager
def atomic_together(
    *files: str | Path, folders: Sequence[str | Path] = (), own: Collection[str] | None = None
) -> Iterator[list[Path]]:
    """Files and folders that belong together: all are put in place at the end, or none is.

    First the files, then the folders, each in the order given: so let that be the last which readers take for the
    sign that all is there. Only a process that is killed between two of these steps, microseconds apart, leaves some.

    Args:
        files: paths; each gets an empty temporary file beside it.
        folders: paths; each gets an empty temporary folder.
        own: of the folders, see `atomic_folder`.
    Yields:
        The temporary paths, of the files first.
    Raises:
        OSError: see `atomic_path` and `atomic_folder`.

    >>> with contextlib.suppress(ValueError), atomic_together("a.txt", "b.txt") as (first, second):
    ...     _ = first.write_text("whole")
    ...     raise ValueError  # before the second is
    >>> Path("a.txt").exists(), Path("b.txt").exists()
    (False, False)
    """
    asides: list[_Aside] = []
    with contextlib.ExitStack() as stack:
        for path in (*files, *folders):
            asides.append(_Aside(path, folder=len(asides) >= len(files), own=own))
            stack.callback(asides[-1].close)
            stack.enter_context(_errors_name(asides[-1]))
        yield [aside.temporary for aside in asides]
        for aside in asides:
            aside.settle()
        placed: list[_Aside] = []
        try:
            for aside in asides:
                placed.append(aside)
                aside.place(last=aside is asides[-1])
        except BaseException:
            for aside in reversed(placed):
                aside.take_back()
            raise
        for aside in asides:
            aside.written()


def new_folder(parent: str | Path, names: Iterable[str], fill: Callable[[Path], None]) -> Path:
    """A new folder in `parent`, which gets the first of the names that is not taken once it has been filled.

    On any failure nothing is left, neither of the folder nor, where they are empty, of `parent` and its parent.

    Args:
        parent: is made where it is missing, with its parents.
        names: of the folder, in order; one that an empty folder has is free.
        fill: is given a temporary path of it.
    Raises:
        FileExistsError: all names are taken.

    >>> fill = lambda folder: (folder / "a.txt").touch()
    >>> [new_folder("runs", ("first", "second"), fill).name for _ in range(2)]
    ['first', 'second']
    """
    parent = Path(parent)
    aside = _Aside(parent / "new", folder=True)
    try:
        fill(aside.temporary)
        aside.settle()
        for path in (parent / name for name in names):
            try:
                return aside.temporary.rename(path)  # fails where a folder is that is not empty, or a file
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                    raise
        raise FileExistsError(errno.EEXIST, "no name is free for a new folder", str(parent))
    finally:
        aside.close()
        for path in (parent, parent.parent):
            with contextlib.suppress(OSError):  # something is in it
                path.rmdir()


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yields an empty folder in the system's temporary one, and removes it; killed, the next call does.

    >>> with scratch_folder() as folder:
    ...     _ = (folder / "a.txt").write_text("for a while")
    >>> folder.exists()
    False
    """
    aside = _Aside(Path(tempfile.gettempdir()) / f"transformer-spectrum-{os.getuid()}", folder=True)
    try:
        yield aside.temporary
    finally:
        aside.close()
