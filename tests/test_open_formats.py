"""Notebooks, e-books and OpenDocument files in a folder of documents: their text as their readers see it."""

from __future__ import annotations

import json
import random
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from test_formats import refusal

from acclimate.base.errors import DataError
from acclimate.corpus import formats
from acclimate.corpus.collections import load
from acclimate.corpus.formats import archive, extraction

MARKDOWN = {"cell_type": "markdown", "source": ["# Volcanoes\n", "of *Iceland* <!-- no -->\n"]}
CODE = {"cell_type": "code", "source": "eruptions()\n", "outputs": [{"text": ["a long table"]}]}
OLD = [{"cell_type": "heading", "level": 1, "source": "Volcanoes"}, {"cell_type": "code", "input": ["eruptions()"]}]
NAMES = ("office", "text", "table", "draw", "presentation", "svg-compatible")
DC = "http://purl.org/dc/elements/1.1/"


def zipped(path: Path, parts: Mapping[str, str]) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, content in parts.items():
            file.writestr(name, content)
    return path


def open_document(path: Path, body: str, *, title: str = "", manifest: str = "") -> Path:
    names = " ".join(f'xmlns:{name[:5]}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"' for name in NAMES)
    return zipped(
        path,
        {
            "META-INF/manifest.xml": f"<manifest>{manifest}</manifest>",
            "content.xml": f"<offic:document-content {names}><offic:body>{body}</offic:body></offic:document-content>",
            "meta.xml": f'<meta xmlns:dc="{DC}"><dc:title>{title}</dc:title></meta>',
        },
    )


def epub(path: Path, pages: Mapping[str, str], *, title: str = "", spine: str | None = None) -> Path:
    """pages: by id, which is the name of the file in EPUB's folder."""
    items = "".join(f'<item id="{name}" href="{name}" media-type="application/xhtml+xml"/>' for name in pages)
    order = "".join(f'<itemref idref="{name}"/>' for name in (pages if spine is None else spine.split()))
    return zipped(
        path,
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": '<container xmlns="urn:x"><rootfile full-path="EPUB/book.opf"/></container>',
            "EPUB/book.opf": f'<package xmlns="urn:y" xmlns:dc="{DC}"><metadata><dc:title>{title}</dc:title></metadata>'
            f"<manifest>{items}</manifest><spine>{order}</spine></package>",
            **{f"EPUB/{name}": content for name, content in pages.items()},
        },
    )


def notebook(path: Path, cells: Any, version: int = 4) -> Path:
    content = {"cells": cells} if version == 4 else {"worksheets": [{"cells": cells}]}
    path.write_text(json.dumps({**content, "nbformat": version, "metadata": {}}))
    return path


@pytest.mark.parametrize(
    ("cells", "version", "title", "text"),
    [
        ([MARKDOWN, CODE], 4, "Volcanoes", "# Volcanoes\nof *Iceland* \n\n```\neruptions()\n```"),
        (OLD, 3, "Volcanoes", "# Volcanoes\n\n```\neruptions()\n```"),
        ([{"cell_type": "raw", "source": "no"}, {"cell_type": "code", "source": " "}, 7, {}], 4, "", ""),
        ([{"cell_type": "code", "source": '"""\n```\n# no\n```\n"""'}], 4, "", '````\n"""\n```\n# no\n```\n"""\n````'),
        ([{"cell_type": "markdown", "source": [1, "a", None]}], 4, "", "a"),
    ],
)
def test_a_notebook_is_its_markdown_and_its_code(tmp_path, cells, version, title, text):
    assert extraction.read(notebook(tmp_path / "a.ipynb", cells, version)) == (title, text)


def test_an_open_document_is_what_its_readers_see(tmp_path):
    body = """<offic:text><text:tracked-changes><text:p>deleted</text:p></text:tracked-changes>
      <text:h>Volcanoes<text:s/>of <text:span>Iceland</text:span></text:h>
      <text:p>A line<text:line-break/>and<text:tab/>one<offic:annotation><text:p>no</text:p></offic:annotation> with a
        note<text:note><text:note-citation>1</text:note-citation><text:note-body><text:p>The note.</text:p>
        </text:note-body></text:note>.</text:p>
      <table:table><table:table-row><table:table-cell><text:p>Hekla</text:p></table:table-cell>
        <table:table-cell><text:p>1,491 m</text:p></table:table-cell></table:table-row></table:table>
      <draw:frame><svg-c:title>no</svg-c:title><draw:text-box><text:p>A box</text:p></draw:text-box></draw:frame>
    </offic:text>"""
    text = "Volcanoes of Iceland\nA line\nand one with a note [The note.].\nHekla 1,491 m\nA box"
    assert extraction.read(open_document(tmp_path / "a.odt", body)) == ("Volcanoes of Iceland", text)
    for title, kept in (("A  line and", "A line and"), ("Draft3.odt", "Volcanoes of Iceland")):
        assert extraction.read(open_document(tmp_path / "a.odt", body, title=title))[0] == kept


def test_slides_of_an_open_document_are_pages_with_their_notes(tmp_path):
    slide = "<draw:page><text:p>{}</text:p><prese:notes><text:p>{}<text:page-number>3</text:page-number></text:p>{}"
    slides = "".join(slide.format(*each, "</prese:notes></draw:page>") for each in (("Hekla", "Say hello."), ("", "")))
    path = open_document(tmp_path / "a.odp", f"<offic:presentation>{slides}</offic:presentation>")
    assert extraction.read(path) == ("", "Hekla\nSay hello.")


def test_a_book_is_its_pages_in_the_order_of_reading(tmp_path):
    pages = {"b b.xhtml": "<p>Lava.</p>", "a.xhtml": "<title>no</title><h1>Volcanoes</h1>", "c": "<p>no</p>"}
    book = epub(tmp_path / "a.epub", pages, title="VOLCANOES", spine="a.xhtml unknown")
    assert extraction.read(book) == ("VOLCANOES", "Volcanoes")
    with zipfile.ZipFile(book) as parts:
        contents = {name: parts.read(name).decode() for name in parts.namelist()}
    package = contents["EPUB/book.opf"].replace('href="b b.xhtml"', 'href="../EPUB/b%20b.xhtml"')
    others = '<item id="toc" href="c" properties="nav" media-type="application/xhtml+xml"/>'
    others += '<item id="cover" href="c" media-type="image/jpeg"/>'
    order = "".join(f'<itemref idref="{name}"/>' for name in ("toc", "cover", "b b.xhtml"))
    contents["EPUB/book.opf"] = package.replace("</manifest>", f"{others}</manifest>").replace(
        "</spine>", order + "</spine>"
    )
    assert extraction.read(zipped(book, contents))[1] == "Volcanoes\n\nLava."


def test_what_is_damaged_locked_or_too_large_is_named_and_left_out(tmp_path, monkeypatch, caplog):
    good = [
        notebook(tmp_path / "a.ipynb", [MARKDOWN, CODE]),
        open_document(tmp_path / "a.odt", "<offic:text><text:p>Lava.</text:p></offic:text>"),
        epub(tmp_path / "a.epub", {"a": "<p>Lava.</p>"}),
    ]
    bomb = f'<!DOCTYPE x [<!ENTITY a "{"b" * 9999}"><!ENTITY c "{"&a;" * 9999}">]><x>&c;</x>'
    zipped(tmp_path / "bomb.epub", {"META-INF/container.xml": bomb})
    notebook(tmp_path / "list.ipynb", "no list")
    (tmp_path / "text.ipynb").write_text("[" * 99_999)
    open_document(tmp_path / "locked.odt", "", manifest="<encryption-data/>")
    monkeypatch.setattr(archive, "LONGEST", 9_999)
    zipped(tmp_path / "large.odt", {"content.xml": "x" * 100_000})
    docs = formats.read_folder(tmp_path)
    assert [doc.doc_id for doc in docs] == sorted(path.name for path in good)
    assert +docs.dropped == {"unreadable .ipynb file": 2, "unreadable .odt file": 2, "unreadable .epub file": 1}
    said = [record.getMessage() for record in caplog.records]
    assert any("locked.odt: needs a password" in line for line in said)
    assert any("large.odt: holds more than 99,990 bytes" in line for line in said)
    rng = random.Random(0)
    for path in good:
        content = path.read_bytes()
        for _ in range(60):
            damaged = bytearray(content[: rng.choice([len(content), rng.randrange(len(content))])])
            for place in range(0, len(damaged), rng.randrange(20, 400)):
                damaged[place] = rng.randrange(256)
            path.write_bytes(damaged)
            with suppress(DataError):
                assert isinstance(extraction.read(path)[1], str)


def test_a_damaged_file_in_a_folder_is_no_reason_to_name_another_folder(tmp_path):
    (tmp_path / "a.odt").write_bytes(b"PK\x03\x04 or whatever")
    assert refusal(lambda: load(tmp_path / "a.odt", tmp_path)).endswith("; give the folder that it is in")
    message = refusal(lambda: load(tmp_path, tmp_path / "cache"))
    assert "(passed over: unreadable .odt file: 1)" in message
    assert "give the folder" not in message
