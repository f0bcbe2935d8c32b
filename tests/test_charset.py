"""Pages that are not UTF-8: read as they declare, and refused if they declare nothing, or something else."""

from __future__ import annotations

import pytest

from acclimate.base.errors import DataError
from acclimate.corpus import formats
from acclimate.records import Doc

XML = '<?xml version="1.0" encoding="KOI8-R"?>'


@pytest.mark.parametrize(
    ("declared", "encoding", "text"),
    [
        ("<meta charset=windows-1252>", "cp1252", "Straße – “x”"),
        ('<META http-equiv="Content-Type" content="text/html; charset=ISO-8859-1">', "cp1252", "Straße – “x”"),
        ("<meta charset='Shift_JIS'>", "cp932", "日本語①"),
        ("<meta charset=gb2312>", "gb18030", "中文€"),
        (XML, "koi8-r", "русский"),
        ("<meta charset=iso-8859-1>", "utf-8", "Straße"),  # many pages declare what their server once sent
    ],
)
def test_a_page_is_read_in_the_encoding_that_it_declares_if_it_is_not_utf_8(tmp_path, declared, encoding, text):
    (tmp_path / "a.html").write_bytes(f"{declared}<p>{text}</p>".encode(encoding))
    assert list(formats.read_folder(tmp_path)) == [Doc("a.html", text)]


@pytest.mark.parametrize("label", ["rot13", "unicode_escape", "zlib", "utf-7", "no-such", "big5", "utf-8"])
def test_a_page_that_is_not_what_it_declares_is_refused_with_all_others(tmp_path, label):
    (tmp_path / "a.html").write_bytes(f"<meta charset={label}>".encode() + b"\xff\xfe\xe9")
    (tmp_path / "b.html").write_bytes("<p>Straße".encode("latin-1"))
    (tmp_path / "c.html").write_bytes("<meta charset=latin1><p>Straße".encode("latin-1"))
    with pytest.raises(DataError, match=r"(?s)a\.html.*save the file as UTF-8.* 1 more .*b\.html$"):
        list(formats.read_folder(tmp_path))


def test_a_declaration_behind_the_first_kilobyte_or_of_a_page_with_zero_bytes_declares_nothing(tmp_path):
    for content in (b" " * 1024 + b"<meta charset=latin1>\xdf", b"<meta charset=latin1>\xdf\0"):
        (tmp_path / "a.html").write_bytes(content)
        with pytest.raises(DataError, match="not UTF-8"):
            list(formats.read_folder(tmp_path))
