"""Titles of files in a folder: what a reader takes for the title, in whatever way it is written."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_formats import put

from acclimate.corpus import formats
from acclimate.corpus.documents import Corpus
from acclimate.records import Doc


@pytest.mark.parametrize(
    ("heading", "title"),
    [
        ("Pumps {#pumps}", "Pumps"),
        ("ポンプ{#pumps}", "ポンプ"),
        ("Pumps {: .big #pumps }", "Pumps"),
        ("{#each pumps}", "{#each pumps}"),
        ("The `{#id}` of a <b>pump</b>", "The `{#id}` of a pump"),
        ('<a name="pumps"></a>Pumps<br>and <Badge type="tip" />motors <sup>new', "Pumps and motors new"),
        (r"\<pump> and \*motor\*", "<pump> and *motor*"),
        ("Pump<T> and `<b>`", "Pump<T> and `<b>`"),
        ("[`pump`](pump.md)", "`pump`"),
    ],
)
def test_a_title_is_what_is_displayed_of_a_heading(tmp_path: Path, heading: str, title: str) -> None:
    put(tmp_path / "a.md", f"# {heading}\n\nIt pumps.\n")
    assert list(formats.read_folder(tmp_path)) == [Doc("a.md", "It pumps.\n", title)]


@pytest.mark.parametrize(
    ("name", "content", "title"),
    [
        ("Daily pumps.md", "It pumps.\n\n## Parts\n\nOne.", "Daily pumps"),
        ("Daily pumps.md", "---\ntags: [a]\n---\nIt pumps.\n\nParts\n---\n\nOne.", "Daily pumps"),
        ("Daily pumps.md", "---\ntags: [a]\n---\n\n## Parts\n\nOne.", "Parts"),
        ("Daily pumps.md", "![](logo.svg)\n\n# Pump\n\n## Parts", "Pump"),
        ("Daily pumps.md", "It pumps.\n\n## Parts\n\nPump\n====\n", "Pump"),
        ("daily_pumps-2.txt", "It pumps.", "daily pumps-2"),
        ("日誌.txt", "It pumps.", "日誌"),
        ("pumps/README.md", "It pumps.\n\n## Parts", "pumps"),
        ("all pumps/index.html", "<p>It pumps.", "all pumps"),
        ("README.md", "It pumps.", ""),
        ("17.txt", "It pumps.", ""),
        ("550e8400-e29b-41d4-a716-deadbeef0000.txt", "It pumps.", ""),
        ("pump.html", "---\ntitle: A pump\n---\n<title>B</title><p>It pumps.", "A pump"),
        ("pump.rst", "---\ntitle: A pump\n---\nIt pumps.", "A pump"),
    ],
)
def test_the_title_is_the_pages_not_that_of_a_part_or_else_its_name(
    tmp_path: Path, name: str, content: str, title: str
) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    put(tmp_path / name, content)
    assert [(doc.doc_id, doc.title) for doc in formats.read_folder(tmp_path)] == [(name, title)]


def test_front_matter_of_a_web_page_is_not_displayed(tmp_path: Path) -> None:
    put(tmp_path / "a.html", "---\n# made by a script\ntitle: Pump\nversion: 2.1.0\n---\n<h2>Parts</h2>\n<p>One.")
    put(tmp_path / "b.html", "--- <b>no</b>\n---\n<p>It pumps.")
    put(tmp_path / "moved.html", "---\nredirect_to: a.html\n---\n")
    corpus = Corpus.of(docs := formats.read_folder(tmp_path))
    assert list(corpus.values()) == [Doc("a.html", "Parts\nOne.", "Pump"), Doc("b.html", "--- no ---\nIt pumps.")]
    assert corpus.fields_of("a.html") == {"title": "Pump", "version": "2.1.0"}
    assert docs.dropped["file without text"] == 1


def test_the_copied_source_of_a_page_is_not_read_beside_it(tmp_path: Path) -> None:
    pages = (
        "html/_sources/pump.rst.txt",
        "html/_sources/a/b.c.md.txt",
        "html/_sources/motor.rst.txt",
        "_sources/x.txt",
    )
    for name in (*pages, "html/pump.html", "html/a/b.c/index.html"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        put(tmp_path / name, "It pumps.")
    docs = formats.read_folder(tmp_path)
    assert {doc.doc_id for doc in docs} == {"html/pump.html", "html/a/b.c/index.html", *pages[2:]}
    assert docs.dropped["source of a page that is read"] == 2
