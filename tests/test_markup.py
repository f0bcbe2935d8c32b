"""reStructuredText and AsciiDoc in a folder of documents: their titles, and the text that a reader sees."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_formats import put

from acclimate.corpus import formats
from acclimate.records import Doc


@pytest.mark.parametrize(
    ("content", "title", "text"),
    [
        ("Title\n=====\n\nText.\n", "Title", "Text.\n"),
        ("=======\n Title\n=======\nText\n----\nmore", "Title", "Text\n----\nmore"),
        (".. _label:\n\n:orphan:\n\n..\n   a comment\n\nTitle\r\n~~~~~~\r\nText", "Title", "Text"),
        ("A reader sees this.\n\nTitle\n=====\n", "Title", "A reader sees this.\n\nTitle\n=====\n"),
        ("火山\n===\nText", "", "火山\n===\nText"),  # the line is too short for two full-width characters
        ("火山\n====\nText", "火山", "Text"),
        ("Too long\n===\n\n::\n\n   Code\n   ====\n\n=== ===\na   b\n=== ===\n", "", None),
        ("-----\n=====\n", "", None),
        (
            ":mod:`~os.path` --- names\n=================\n:py:ref:`a b <c>`, `d`_",
            "os.path --- names",
            "a b, `d`_",
        ),
        ("Title\n=====", "Title", ""),
        ("", "", None),
    ],
)
def test_a_title_of_restructured_text_is_underlined(tmp_path: Path, content: str, title: str, text: str | None) -> None:
    put(tmp_path / "a.rst", content)
    put(tmp_path / "b.txt", "b")
    expected = [Doc("a.rst", content if text is None else text, title)] if content else []
    assert list(formats.read_folder(tmp_path)) == [*expected, Doc("b.txt", "b")]


@pytest.mark.parametrize(
    ("content", "title", "text"),
    [
        ("= Title\n:toc:\n\n== Part\nText", "Title", ":toc:\n\n== Part\nText"),
        ("// a comment\n:toc:\n\n= Title\n\nText", "Title", "Text"),
        ("# Title #\nText", "Title #", "Text"),
        ("Text first\n\n= Title\n", "Title", "Text first\n\n= Title\n"),
        ("== Part\n=Title\n= \nText", "", "== Part\n=Title\n= \nText"),
    ],
)
@pytest.mark.parametrize("name", ["a.adoc", "a.ASCIIDOC"])
def test_a_title_of_asciidoc_follows_one_mark(tmp_path: Path, name: str, content: str, title: str, text: str) -> None:
    put(tmp_path / name, content)
    assert list(formats.read_folder(tmp_path)) == [Doc(name, text, title)]


def test_markdown_with_components_and_strict_pages_are_read_by_their_kind(tmp_path: Path) -> None:
    put(tmp_path / "a.mdx", "# Title\n\nText")
    put(tmp_path / "b.xhtml", "<?xml version='1.0'?><title>A page</title><p>b")
    assert list(formats.read_folder(tmp_path)) == [Doc("a.mdx", "Text", "Title"), Doc("b.xhtml", "b", "A page")]
