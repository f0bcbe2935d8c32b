"""Disk errors: a full disk, a vanished file or a read-only folder raises one error that names the path, whichever
library was writing, and never ends the process with a signal. Files can be read by those who can read their folder."""

from __future__ import annotations

import errno
import mmap
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from acclimate.base.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import DTypeLike

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)
_UNSUPPORTED = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)
_CHUNK = 1 << 20
_OS_ERROR = re.compile(r"\bos error (\d+)\b")  # in messages of safetensors
# Messages of NumPy, torch's zip writer and SQLite for an incomplete write, and of ONNX, which reads back what it wrote.
_CUT_SHORT = re.compile(
    r"\d+ requested and \d+ written|inline_container\.cc.*unexpected pos|PytorchStreamWriter failed"
    r"|database or disk is full|disk I/O error|Error parsing message($| with type 'onnx)"
)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn any library's error from a full disk into an OSError that names `path`, not a temporary file beside it.

    Raises DataError if the folder of `path` may not be written to.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _DENIED:
            refuse_read_only(path.parent)
        is_beside = isinstance(error, FileNotFoundError) and Path(str(error.filename)).parent == path.parent
        if is_beside and path.parent.is_dir():
            raise DataError("no file can be made here", path=path) from error  # as in /proc
        code = _disk_full_code(error)
        if code is None or (isinstance(error, OSError) and error.filename):
            raise
        raise OSError(code, os.strerror(code), str(path)) from error


@contextmanager
def missing_file_errors(folder: Path) -> Iterator[None]:
    """Turn a FileNotFoundError below `folder` into a DataError that says the file was moved or removed.

    The code never looks for a file of its own that may be missing, so that is the only explanation.
    """
    try:
        yield
    except FileNotFoundError as error:
        name = str(error.filename or "/")
        if not Path(name).absolute().is_relative_to(folder.absolute()):
            raise
        what = "was moved or removed while this was running; run the same command to create it again"
        raise DataError(what, path=name) from error


def refuse_read_only(folder: Path) -> None:
    """Raises DataError if `folder`, or the folder in which it would be created, may not be written to."""
    place = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if place.is_dir() and not os.access(place, os.W_OK | os.X_OK):
        raise DataError("may not be written to; change its permissions, or use another folder or a copy", path=place)


def share(folder: Path) -> None:
    """Give the files below a folder the permissions of the folder: safetensors makes files that only their owner reads.

    So what one user trains, another one can serve, unless the umask forbids it.
    """
    mode = folder.stat().st_mode & 0o666
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink() and mode & ~(state := path.stat().st_mode):
            path.chmod(stat.S_IMODE(state) | mode)


def _disk_full_code(error: Exception) -> int | None:
    """The errno behind a library's error if the disk (or quota) is full, else None."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno if error.errno in _DISK_FULL else None
    if match := _OS_ERROR.search(str(error)):
        return int(match[1]) if int(match[1]) in _DISK_FULL else None
    return errno.ENOSPC if _CUT_SHORT.search(str(error)) else None


def new_array(path: Path, kind: DTypeLike, shape: tuple[int, ...]) -> np.memmap[Any, Any]:
    """Create a .npy file of zeros and memory-map it for writing.

    All disk space is allocated at once: with a sparse file, a full disk would kill the process by SIGBUS on a write.
    """
    import numpy as np
    from numpy.lib import format as npy

    dtype = np.dtype(kind)
    header = {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    with writing(path), path.open("wb") as file:
        npy.write_array_header_1_0(file, header)
        file.flush()
        _allocate(file, file.tell() + dtype.itemsize * int(np.prod(shape, dtype=np.int64)))
    return np.load(path, mmap_mode="r+")


def release(array: object) -> None:
    """Drop the resident pages of a memory-mapped array (no-op for others); they are read again when needed.

    The system would do so itself under memory pressure, but until then the process looks as large as its files.
    """
    mapping = getattr(array, "_mmap", None)
    if mapping is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapping.madvise(mmap.MADV_DONTNEED)


def _allocate(file: IO[bytes], size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file.fileno(), 0, size)
            return
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
    zeros = bytes(_CHUNK)
    for start in range(file.tell(), size, _CHUNK):
        file.write(zeros[: size - start])
