"""Files: written beside and renamed, hashed, and read line by line with errors that say where.

A reader sees a whole file or none. JSON is written with sorted keys, so the same content has the same bytes.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import stat
import tomllib
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

from acclimate.errors import DataError

_LARGEST_TEXT = 16_000_000  # bytes of a file that is read whole because somebody wrote it by hand


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to; renamed to `path` when the block ends well, removed when it does not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield beside
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """`text` as UTF-8 with \\n line ends, whole or not at all."""
    with written(path) as beside:
        beside.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: Any) -> None:
    """Indented JSON with sorted keys. NaN is refused: JSON has none."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n")


def is_file(path: str | Path) -> bool:
    """True where a file is that can be read as one; a name that no system takes is none's."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)  # noqa: PTH116 (Path.stat is the same)
    except (OSError, ValueError):
        return False


def opened(path: Path) -> IO[bytes]:
    """A file, to read bytes from. Raises DataError for what is none, or may not be read."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise DataError("is a directory; expected a file", path=path)
        if not stat.S_ISREG(mode):  # to read from a pipe might wait for ever
            raise DataError("is a pipe, a socket or a device; expected a file", path=path)
        return path.open("rb")
    except FileNotFoundError:
        raise DataError("no such file", path=path) from None
    except PermissionError:
        raise DataError("may not be read; change its permissions", path=path) from None
    except ValueError as error:  # a NUL in its name
        raise DataError(f"no name of a file: {error}", path=path) from None
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", path=path) from None


def read_text(path: Path) -> str:
    """The text in a small file: one that somebody wrote by hand. Raises DataError for what is no UTF-8."""
    with opened(path) as stream:
        found = stream.read(_LARGEST_TEXT + 1)
    if len(found) > _LARGEST_TEXT:
        raise DataError(f"is larger than {_LARGEST_TEXT:,} bytes; expected a small text file", path=path)
    try:
        return found.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise DataError(_not_utf8(error, found), path=path, line=found.count(b"\n", 0, error.start) + 1) from None


def _not_utf8(error: UnicodeDecodeError, start: bytes) -> str:
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "is UTF-16; save the file as UTF-8"
    return f"byte {error.start} is 0x{error.object[error.start]:02x}, which is not UTF-8; save the file as UTF-8"


def read_toml(path: Path) -> dict[str, Any]:
    """The table in a TOML file. Raises DataError for what is none."""
    try:
        return tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"not TOML: {error}", path=path) from None
    except (ValueError, RecursionError) as error:  # an integer of 5,000 digits, brackets 5,000 deep
        raise DataError(f"not TOML that can be read: {_cause(error)}", path=path) from None


def _cause(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return "a number of thousands of digits" if "integer string conversion" in str(error) else str(error)


def read_json(path: Path) -> Any:
    """The value in a JSON file. Raises DataError naming file and line."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError("no such file", path=path) from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"not JSON: {error}", path=path, line=getattr(error, "lineno", None)) from None


def write_jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> int:
    """One JSON object a line, keys in the order given; gzip when the name ends in .gz. Returns how many."""
    count = 0
    with written(path) as beside, _open_to_write(beside, path.name.endswith(".gz")) as lines:
        for row in rows:
            lines.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")
            count += 1
    return count


@contextmanager
def _open_to_write(path: Path, compress: bool) -> Iterator[IO[str]]:
    with path.open("wb") as raw, ExitStack() as stack:
        # Neither time nor name inside: the same rows give the same bytes.
        into = stack.enter_context(gzip.GzipFile("", "wb", fileobj=raw, mtime=0)) if compress else raw
        yield stack.enter_context(io.TextIOWrapper(into, encoding="utf-8", newline="\n"))


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """(line number from 1, line without its end) of a UTF-8 text file, gzip by content.

    Only \\n ends a line (and a \\r before it goes with it): other Unicode line separators are text. Raises DataError
    for a missing file, a directory and bytes that are not UTF-8.
    """
    return ((number, line.removesuffix("\n").removesuffix("\r")) for number, line in read_raw_lines(path))


def read_raw_lines(path: Path) -> Iterator[tuple[int, str]]:
    """`read_lines` with the end of each line kept."""
    if path.is_dir():
        raise DataError("is a directory; expected a file", path=path)
    if not path.exists():
        raise DataError("no such file", path=path)
    number = 0
    try:
        with path.open("rb") as raw:
            compressed = raw.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rb") if compressed else path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"byte {error.start} of the line is 0x{error.object[error.start]:02x}, which is not UTF-8; "
            "save the file as UTF-8",
            path=path,
            line=number,
        ) from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"a broken gzip file: {error}", path=path, line=number + 1) from None
    except PermissionError:
        raise DataError("may not be read; change its permissions", path=path) from None


def read_jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, object) of a JSON Lines file; blank lines are passed over. Raises DataError by line."""
    for number, line in read_lines(path):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"not JSON: {error.msg} at column {error.colno}", path=path, line=number) from None
        except (ValueError, RecursionError) as error:  # an integer of 5,000 digits, brackets 5,000 deep
            raise DataError(f"not JSON that can be read: {_cause(error)}", path=path, line=number) from None
        if not isinstance(row, dict):
            raise DataError(f"found a {type(row).__name__}; expected a JSON object", path=path, line=number)
        yield number, row


def sha256(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def fingerprint(*parts: Any) -> str:
    """32 hex digits over JSON-able parts; the same parts give the same fingerprint on every machine."""
    payload = json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(payload.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def folder_fingerprint(folder: Path) -> str:
    """A fingerprint of every file below a folder, names and bytes."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return fingerprint(*[(path.relative_to(folder).as_posix(), sha256(path)) for path in files])
