"""What a full disk does, and files that vanish: one error that names a path, whichever library was at work, and never
a signal."""

from __future__ import annotations

import errno
import mmap
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from acclimate.base.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import DTypeLike

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_UNSUPPORTED = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)
_CHUNK = 1 << 20
_NUMBERED = re.compile(r"\bos error (\d+)\b")  # safetensors
# NumPy's message for a write cut short, and those of torch's zip file.
_CUT_SHORT = re.compile(
    r"\d+ requested and \d+ written|inline_container\.cc.*unexpected pos|PytorchStreamWriter failed"
)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Where there is no room to write `path`, or below it, that is raised as an OSError that says so and names it."""
    try:
        yield
    except Exception as error:
        code = _refusal(error)
        if code is None or (isinstance(error, OSError) and error.filename):
            raise
        raise OSError(code, os.strerror(code), str(path)) from error


@contextmanager
def staying(folder: Path) -> Iterator[None]:
    """Where a file in this folder is not there within, that is raised as a DataError: none of ours is looked for in
    vain, so it was moved or removed."""
    try:
        yield
    except FileNotFoundError as error:
        name = str(error.filename or "/")
        if not Path(name).absolute().is_relative_to(folder.absolute()):
            raise
        what = "was moved or removed while this worked; the same command makes it again"
        raise DataError(what, path=name) from error


def _refusal(error: Exception) -> int | None:
    """The number of the system's error behind a library's, where that is want of room."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno if error.errno in _FULL else None
    if numbered := _NUMBERED.search(str(error)):
        return int(numbered[1]) if int(numbered[1]) in _FULL else None
    return errno.ENOSPC if _CUT_SHORT.search(str(error)) else None


def new_array(path: Path, kind: DTypeLike, shape: tuple[int, ...]) -> np.memmap[Any, Any]:
    """A .npy file of zeros, memory-mapped to be written to.

    Its room is taken at once: where a file has holes, a full disk ends the process at some write with SIGBUS.
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
    """Give up the memory that pages of a memory-mapped array take, where it is one: they are read again when needed.

    The system would do so itself for want of memory; but until then a process looks as large as its files.
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
