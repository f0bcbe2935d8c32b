"""Decode text that must be UTF-8; anything else is refused by what it is, such as another encoding or a packed file."""

from __future__ import annotations

from pathlib import Path

from acclimate.base.errors import DataError

_PACKED = {  # first bytes -> format, and the command that unpacks it
    b"\x1f\x8b": ("gzip", "gunzip"),
    b"BZh": ("bzip2", "bunzip2"),
    b"\xfd7zXZ\0": ("xz", "unxz"),
    b"\x28\xb5\x2f\xfd": ("Zstandard", "unzstd"),
    b"\x04\x22\x4d\x18": ("LZ4", "unlz4"),
    b"7z\xbc\xaf\x27\x1c": ("7-Zip", "7z x"),
    b"PK\x03\x04": ("ZIP, as archives and Office files are", "unzip"),
}
_BINARY = {b"%PDF-": "a PDF file", b"PAR1": "a Parquet file", b"SQLite format 3\0": "an SQLite database"}
_MARKS = {  # byte order marks, the longer ones first
    b"\xff\xfe\0\0": "UTF-32",
    b"\0\0\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}


def decoded(line: bytes, path: Path, number: int) -> str:
    """Decode a line of a file, without a byte order mark. Raises DataError if it is not UTF-8."""
    if number == 1 and (refusal := _otherwise(line, path)):
        raise DataError(refusal, path=path)
    try:
        return line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"byte {error.start} of the line is 0x{line[error.start]:02x}, which is not UTF-8; save the file as UTF-8",
            path=path,
            line=number,
        ) from None


def _otherwise(line: bytes, path: Path) -> str:
    """What a file with this first line is instead of UTF-8 text, and what to do; "" if it may be that."""
    for start, (form, tool) in _PACKED.items():
        if line.startswith(start):
            return f"is packed with {form}; unpack it first: {tool} {path.name}"
    for start, form in _BINARY.items():
        if line.startswith(start):
            return f"is {form}; expected UTF-8 text"
    n_zero, n_even = line.count(0), line[::2].count(0)
    encoding = next((name for mark, name in _MARKS.items() if line.startswith(mark)), "")
    if not encoding and len(line) > 1 and n_zero > 0.4 * len(line):  # ASCII's letters, or no text
        if 0.6 < n_zero / len(line) < 0.8:
            encoding = "UTF-32"
        elif n_even in (0, n_zero):
            encoding = "UTF-16"
        else:
            return "is a binary file; expected UTF-8 text"
    return f"is {encoding}; save the file as UTF-8" if encoding else ""
