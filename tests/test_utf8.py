"""Files that are no UTF-8 text are refused by what they are."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zipfile
from pathlib import Path

import pytest

from acclimate.base import files
from acclimate.base.errors import DataError

TEXT = "_id,text\n1,hello\n"
ENCODINGS = ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"]


def zipped() -> bytes:
    path = Path("a.zip")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", TEXT)
    return path.read_bytes()


@pytest.mark.parametrize("text", [TEXT, "# Märchen\nfür alle\n", '{"_id": "日本", "text": "of this"}'])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_another_encoding_is_called_by_its_name(text, encoding, tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(text.encode(encoding))
    for read in (lambda: list(files.read_lines(path)), lambda: files.read_text(path)):
        with pytest.raises(DataError, match=f"is {encoding[:6].upper()}; save the file as UTF-8"):
            read()


@pytest.mark.parametrize(
    ("pack", "message"),
    [
        (bz2.compress, "is packed with bzip2; unpack it first: bunzip2 a.csv"),
        (lzma.compress, "is packed with xz; unpack it first: unxz a.csv"),
        (
            lambda text: gzip.compress(gzip.compress(text, mtime=13)),
            "is packed with gzip; unpack it first: gunzip a.csv",
        ),
        (lambda text: b"\x28\xb5\x2f\xfd\0\0\0\0" + text, "is packed with Zstandard; unpack it first: unzstd a.csv"),
        (lambda _: zipped(), "is packed with ZIP, as archives and Office files are; unpack it first: unzip a.csv"),
        (lambda text: b"%PDF-1.7\n" + text, "is a PDF file; expected UTF-8 text"),
        (lambda text: b"\x7fELF\2\1\1" + bytes(99) + text, "is a binary file; expected UTF-8 text"),
    ],
)
def test_a_file_that_is_no_text_is_called_by_its_name(pack, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a.csv"
    path.write_bytes(pack(TEXT.encode()))
    with pytest.raises(DataError) as error:
        list(files.read_lines(path))
    assert str(error.value) == f"{path}: {message}"


def test_an_object_over_several_lines_is_explained(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{\n "_id": "1"\n}\n')
    with pytest.raises(DataError, match=r"an object must be on one line: jq -c \. a\.jsonl"):
        list(files.read_jsonl(path))
