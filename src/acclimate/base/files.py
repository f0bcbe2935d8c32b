"""Reading and writing files: atomic writes, and errors that name file and line.

Files are written under a temporary name and renamed, so a reader sees a whole file or none. JSON is written with
sorted keys, so the same content gives the same bytes.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import secrets
import shutil
import stat
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from acclimate.base.disk import share, writing
from acclimate.base.errors import DataError
from acclimate.base.json_values import cause, json_error, json_value
from acclimate.base.pointers import refuse_pointer
from acclimate.base.utf8 import decoded

_LARGEST_TEXT = 1_000_000  # bytes of a hand-written file
LONGEST = 100_000_000  # bytes of a line, or of a file that is one document
_DOTTED = re.compile(r"""(?<![\w"'.-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){100}""")
_MAX_RATIO = 100  # of a gzip file's unpacked to its packed size; 3 to 10 are usual for text


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`: renamed to `path` on success, removed on an exception."""
    partial = file_beside(path)
    try:
        with writing(path):
            yield partial
        partial.replace(path)
    finally:
        with suppress(OSError):  # renamed, or never made where nothing can be written
            partial.unlink()


def file_beside(path: Path) -> Path:
    """A name for a temporary file beside `path`, in a folder that exists. Raises DataError where no file can be."""
    make_folder(path.parent)
    if str(path.parent) in ("/dev", "/dev/fd") or (exists(path) and not is_file(path)):  # root could replace /dev/null
        raise DataError("is a directory, a pipe or a device; expected a file, so choose another name", path=path)
    return _beside(path)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`: replaces `path` on success, is removed on an exception.

    So a library that is killed while saving leaves no temporary files of its own among the results.
    """
    make_folder(path.parent)
    if exists(path) and not path.is_dir():
        raise DataError("is not a folder; expected one, so choose another name", path=path)
    partial = _beside(path)
    try:
        with writing(path):
            partial.mkdir()
            yield partial
        share(partial)
        shutil.rmtree(path, ignore_errors=True)
        partial.replace(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Remove temporary files that a killed process left below `folder`."""
    for path in [*folder.rglob(".*.part")]:
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")  # a process's number is 1 in many containers


def make_folder(path: Path) -> None:
    """Create a folder and its parents. Raises DataError where that is impossible."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise DataError("cannot create a folder here: there is a file or a broken link", path=path) from None
    except FileNotFoundError:
        raise DataError("cannot create a folder here", path=path) from None


@contextmanager
def tidied_above(path: Path) -> Iterator[None]:
    """Remove on exit the parent folders of `path` that were created inside the block and are still empty."""
    missing = [folder for folder in path.parents if not exists(folder)]
    try:
        yield
    finally:
        for folder in missing:
            with suppress(OSError):  # not empty
                folder.rmdir()


def write_text(path: Path, text: str) -> None:
    """Write `text` atomically, as UTF-8 with \\n line ends."""
    with atomic_write(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON with sorted keys. Raises ValueError for NaN, which JSON does not have."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n")


def is_file(path: str | Path) -> bool:
    """True for a regular file; False, not an exception, for names that the system rejects."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)  # noqa: PTH116 (Path.stat is the same)
    except (OSError, ValueError):
        return False


def exists(path: str | os.PathLike[str]) -> bool:
    """True if the path exists; False, not an exception, for names that the system rejects."""
    try:
        return os.stat(path) is not None  # noqa: PTH116
    except (OSError, ValueError):
        return False


def open_bytes(path: Path) -> io.BufferedReader:
    """Open a file for reading bytes. Raises DataError if it is no regular file, cannot be read, or is elsewhere."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise DataError("is a directory; expected a file", path=path)
        if not stat.S_ISREG(mode):  # reading from a pipe could block for ever
            raise DataError("is a pipe, a socket or a device; expected a file", path=path)
        stream = path.open("rb")
        refuse_pointer(stream.peek(), path)
        return stream
    except FileNotFoundError:
        raise DataError("no such file", path=path) from None
    except PermissionError:
        raise DataError("may not be read: change its permissions", path=path) from None
    except ValueError as error:  # a NUL in its name
        raise DataError(f"not a file name: {error}", path=path) from None
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", path=path) from None


def read_text(path: Path, *, largest: int | None = _LARGEST_TEXT) -> str:
    """The text of a UTF-8 file. Raises DataError if it is not UTF-8 or larger than `largest` bytes (None: no limit)."""
    with open_bytes(path) as stream:
        content = stream.read(-1 if largest is None else largest + 1)
    if largest is not None and len(content) > largest:
        raise DataError(f"is larger than {largest:,} bytes; expected a small text file", path=path)
    for number, line in enumerate(content.split(b"\n"), 1):
        decoded(line, path, number)
        if b"\0" in line:
            raise DataError("has a zero byte, so it is not UTF-8 text; save the file as UTF-8", path=path, line=number)
    return content.decode("utf-8-sig")


def read_toml(path: Path) -> dict[str, Any]:
    """The content of a TOML file. Raises DataError if it is not TOML."""
    import tomllib  # not needed by most commands

    text = read_text(path)
    if _DOTTED.search(text):  # tomllib's time is quadratic in the number of parts
        raise DataError("not readable TOML: a name of 100 parts or more", path=path)
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"not TOML: {error}", path=path) from None
    except (ValueError, RecursionError) as error:  # an integer of 5,000 digits, brackets 5,000 deep
        raise DataError(f"not readable TOML: {cause(error)}", path=path) from None


def read_json(path: Path) -> Any:
    """The content of a JSON file. Raises DataError naming file and line."""
    text = read_text(path, largest=None)
    try:
        value = json.loads(text)
        if "\\u" in text:  # only escapes can encode a lone surrogate, which could not be written again
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise DataError("has half a surrogate pair (\\ud800-\\udfff), which is not a character", path=path) from None
    except (ValueError, RecursionError) as error:
        raise json_error(error, path) from None
    return value


def read_state(path: Path, key: str) -> dict[str, Any]:
    """The state that interrupted work saved; {} if it is unreadable or its "key" differs, so belongs to other work."""
    try:
        state = read_json(path)
    except (DataError, OSError):
        return {}
    return state if isinstance(state, dict) and state.get("key") == key else {}


def write_jsonl(path: Path, rows: Iterable[Any]) -> int:
    """Write one JSON value per line, gzipped if the name ends in .gz. Returns the number of lines."""
    return write_lines(path, (json.dumps(row, ensure_ascii=False, allow_nan=False) for row in rows))


def write_lines(path: Path, lines: Iterable[str]) -> int:
    """Write lines of UTF-8 text, gzipped if the name ends in .gz. Returns the number of lines."""
    count = 0
    with text_writer(path) as sink:
        for line in lines:
            sink.write(line + "\n")
            count += 1
    return count


@contextmanager
def text_writer(path: Path) -> Iterator[IO[str]]:
    """Open a UTF-8 text file for atomic writing, gzipped if the name ends in .gz."""
    with atomic_write(path) as partial, partial.open("wb") as raw, ExitStack() as stack:
        # No time or name in the gzip header: the same rows give the same bytes.
        packs = path.name.endswith(".gz")
        sink = stack.enter_context(gzip.GzipFile("", "wb", fileobj=raw, mtime=0)) if packs else raw
        yield stack.enter_context(io.TextIOWrapper(sink, encoding="utf-8", newline="\n"))


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line number from 1, line without its end) of a UTF-8 text file; gzip is detected by content.

    Only \\n and \\r\\n end a line; other Unicode line separators are text. Raises DataError for a missing file, a
    directory and bytes that are not UTF-8.
    """
    return ((number, line.removesuffix("\n").removesuffix("\r")) for number, line in read_raw_lines(path))


def read_raw_lines(path: Path) -> Iterator[tuple[int, str]]:
    """`read_lines`, keeping line ends."""
    number = 0
    try:
        with open_bytes(path) as raw:
            compressed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            lines = gzip.GzipFile(fileobj=raw) if compressed else raw
            max_bytes = max(LONGEST, _MAX_RATIO * path.stat().st_size)
            for number, line in enumerate(iter(lambda: lines.readline(LONGEST + 1), b""), 1):
                if len(line) > LONGEST:
                    raise DataError(f"a line of more than {LONGEST:,} bytes", path=path, line=number)
                if compressed and lines.tell() > max_bytes:
                    raise DataError(
                        f"unpacks to more than {_MAX_RATIO} times its size, like a zip bomb; if the file is "
                        f"trusted, unpack it first: gunzip {path.name}",
                        path=path,
                        line=number,
                    )
                text = decoded(line, path, number)
                if number == 1 and "\r" in text.rstrip("\r\n") and not text.endswith("\n"):
                    raise DataError("lines end in carriage returns alone; save it with other line ends", path=path)
                yield number, text
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"a broken gzip file: {error}", path=path, line=number + 1) from None
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", path=path, line=number + 1) from None


def read_jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number, object) of a JSON Lines file, skipping blank lines. Errors name the line."""
    for number, row in read_json_lines(path):
        if not isinstance(row, dict):
            raise DataError(f"found {row!r:.60}; expected a JSON object", path=path, line=number)
        yield number, row


def read_json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    """Yield (line number, value) of a file with one JSON value per line, skipping blank lines."""
    for number, line in read_lines(path):
        if not line.strip():
            continue
        try:
            value = json_value(line)
        except (ValueError, RecursionError) as error:
            raise json_error(error, path, number) from None
        yield number, value
