"""Folders of text, Markdown and HTML files: one document a file, as its reader sees it (PDF, Word: test_extraction)."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_formats import put, quick, refusal

import acclimate
from acclimate.api.adapt import run_until
from acclimate.base import files
from acclimate.base.errors import DataError
from acclimate.base.testing import DOCS
from acclimate.base.text import command
from acclimate.corpus import formats
from acclimate.corpus.formats.folder import read_folder
from acclimate.corpus.formats.markdown import read_markdown
from acclimate.records import Doc
from acclimate.run.recipes import load_recipe
from acclimate.run.settings import resolve
from acclimate.stages.chain import STAGES
from acclimate.stages.runs import new_run


def test_a_folder_gives_one_doc_per_file(tmp_path: Path) -> None:
    for name in ("b/x.txt", "a/x.txt", ".git/x.txt", "a/.x.txt", "a/empty.txt", "photo.JPG", "Z.TXT"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        put(tmp_path / name, "" if "empty" in name else f"text of {name}\n")
    docs = formats.read_folder(tmp_path)
    assert list(docs) == [Doc(name, f"text of {name}\n") for name in ("Z.TXT", "a/x.txt", "b/x.txt")]
    assert +docs.dropped == {"file without text": 1, ".jpg file type": 1}


def test_links_that_leave_the_folder_are_not_followed(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.mkdir()
    put(inside / "a.txt", "a")
    put(outside / "b.txt", "b")
    (inside / "b.txt").symlink_to(outside / "b.txt")
    (inside / "c.txt").symlink_to("a.txt")
    (inside / "loop").symlink_to(inside)
    (inside / "out").symlink_to(outside)
    (inside / "self.txt").symlink_to("self.txt")
    (inside / "gone.txt").symlink_to("none.txt")
    os.mkfifo(inside / "pipe.txt")
    docs = formats.read_folder(inside)
    assert [doc.doc_id for doc in docs] == ["a.txt", "c.txt"]
    assert +docs.dropped == {
        "link out of the folder": 1,
        "link to a folder": 2,
        "link to nothing": 2,
        "pipe, socket or device": 1,
    }


@pytest.mark.parametrize(
    ("content", "title", "text"),
    [
        ("# A *b* #\n\nc\n", "A *b*", "c\n"),
        ("\n## A\nb", "A", "b"),
        ("A\n===\n\nb\n", "A", "b\n"),
        ("intro\n\n# A\nb", "A", "intro\n\n# A\nb"),
        ("```\n# no\n```\n# A\n", "A", "```\n# no\n```\n# A\n"),
        ("````\n```\n# no\n````\n# A\n", "A", "````\n```\n# no\n````\n# A\n"),
        ("---\n# no: 1\n---\n# A\nb", "A", "---\n# no: 1\n---\n# A\nb"),
        ("#no\n#\n", "", "#no\n#\n"),
        ("# A [![B](c)](d) [![E][f]][g] [h](i)<IMG j>\nk", "A h", "k"),
        ("![a](b)\n===\nc", "a", "c"),
        ("# ![](b)\n# [a]\nc", "[a]", "# ![](b)\n# [a]\nc"),
        ("{x} # y\u2028# z", "", "{x} # y\u2028# z"),
    ],
)
def test_the_title_of_markdown_is_its_first_heading(tmp_path: Path, content: str, title: str, text: str) -> None:
    put(tmp_path / "a.md", content)
    assert list(formats.read_folder(tmp_path)) == [Doc("a.md", text, title)]


@pytest.mark.parametrize(
    ("front", "title"),
    [("title: A\nsection: 1", "A"), ('title: "A:\n  b"', "A: b"), ("title: ' '", "Synopsis"), ("title: 3", "Synopsis")],
)
def test_a_title_in_the_front_matter_comes_before_headings(tmp_path: Path, front: str, title: str) -> None:
    """The first heading of documentation is often the same on every page."""
    content = f"---\n{front}\n---\n\n### Synopsis\nb\n"
    put(tmp_path / "a.md", content)
    assert list(formats.read_folder(tmp_path)) == [Doc("a.md", content, title)]


@pytest.mark.parametrize(
    ("front", "title"),
    [('title = "A"\ndraft = true', "A"), ("# no: 1\r\ntitle = 'A'\r", "A"), ("# no", "S"), ("title = A", "S")],
)
def test_front_matter_may_be_toml(tmp_path: Path, front: str, title: str) -> None:
    content = f"+++\n{front}\n+++\n\n# S\nb\n"
    put(tmp_path / "a.md", content)
    assert list(formats.read_folder(tmp_path)) == [Doc("a.md", content, title)]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("a <!-- no -->b", "a b"),
        ("<!-- no\n\n# no -->\n# T <!-- no -->\nb<!--> c<!---> d", "b c d"),
        ("a `<!-- x -->` b ``c ` <!-- x -->``<!-- no -->", "a `<!-- x -->` b ``c ` <!-- x -->``"),
        ("```html\n<!-- x -->\n```\n<!-- no -->", "```html\n<!-- x -->\n```\n"),
        ("~~~~\n```\n<!-- x -->\n~~~\n<!-- x -->\n~~~~\n<!-- no -->", "~~~~\n```\n<!-- x -->\n~~~\n<!-- x -->\n~~~~\n"),
        ("```\n<!-- x: the fence does not end -->", "```\n<!-- x: the fence does not end -->"),
        ("a\n\n    <!-- x -->\n\t<!-- x -->\n", "a\n\n    <!-- x -->\n\t<!-- x -->\n"),
        ("`a\n\nb <!-- no --> `", "`a\n\nb  `"),
        ("a \\<!-- x --> \\` <!-- no -->`", "a \\<!-- x --> \\` `"),
        ("a <!-- no --> b <!-- it does not end", "a  b <!-- it does not end"),
    ],
)
def test_comments_of_markdown_are_no_text_but_where_code_shows_them(tmp_path: Path, content: str, text: str) -> None:
    put(tmp_path / "a.md", content)
    assert [doc.text for doc in formats.read_folder(tmp_path)] == [text]


def test_a_file_of_comments_alone_is_empty(tmp_path: Path) -> None:
    put(tmp_path / "a.md", "<!-- markdownlint-disable -->\n")
    put(tmp_path / "b.md", "b")
    docs = formats.read_folder(tmp_path)
    assert [doc.doc_id for doc in docs] == ["b.md"] and docs.dropped["file without text"] == 1


PIECES = (
    "<div>", "<p>x", "<a ", "<a x='", '<a x="y" ', "<a b=c>", "= ", "<![x!", "<!--", "<!-->", "<!-- x -- >", "<?", "</",
    "&", "&lt;", "&#1", "<", "<b><i></p>", "<i></b>", "<div></section>", "<ul></ol>", "<b><p></b>", "<table><tr><td>",
    "<svg>", "<svg></p>", "<ul>x", "<ul></ul>",
    "<ul>x</ul>", "<title>", "<script>", "<style></script>", "<textarea>", "</x>", "<br/>", "<template><svg>",
)  # fmt: skip


MARKDOWN_PIECES = (
    "<!--",
    "`",
    "``` ",
    "<!-- -->",
    "` <!--",
    "`a``b",
    "~~~\n",
    "\n",
    "    <!--",
    "`<!-- -->\n\n",
    "# ![[](",
)

PIECES_OF = {
    "a.html": PIECES,
    "a.md": MARKDOWN_PIECES,
    "a.rst": (": ", ":a", ":a:`", ":a:` <", ":a:`b<c>`", ":a:b:` ", "a\n==\n"),
    "a.adoc": ("= a\n",),
}


@pytest.mark.parametrize(("name", "piece"), [(name, piece) for name, pieces in PIECES_OF.items() for piece in pieces])
def test_reading_takes_time_by_length(tmp_path: Path, name: str, piece: str) -> None:
    """Whatever is left open, nested, or ended without a beginning."""

    def seconds(length: int) -> float:
        put(tmp_path / name, f"first\n{piece * (length // len(piece))}")
        started = time.process_time()
        (doc,) = formats.read_folder(tmp_path)
        assert doc.text.startswith("first")
        return time.process_time() - started

    assert seconds(100_000) < 0.1 + 8 * seconds(25_000)  # with the square: 16 times


html_pieces = st.lists(
    st.sampled_from("<![ <! <? < > ]]> --> <!-- / a </script> <script> <title = ' \" & &#x110000; &#xd800;".split())
)


@quick
@given(pieces=html_pieces)
def test_any_html_can_be_read(tmp_path: Path, pieces: list[str]) -> None:
    (tmp_path / "a.html").write_text(f"<p>x</p>{''.join(pieces)}")
    assert [doc.text[0] for doc in formats.read_folder(tmp_path)] == ["x"]


def test_files_that_are_no_documents_are_told_before_and_after_the_work(run_adapt, tiny_encoder, tmp_path, capsys):
    folder = tmp_path / "docs"
    folder.mkdir()
    for doc in DOCS[:9]:
        put(folder / f"{doc.doc_id}.txt", doc.text)
    put(folder / "a.rtf", "text")
    (folder / "b.txt").symlink_to("none.txt")
    assert run_adapt(folder, tmp_path / "run", "--dry-run") == 0
    assert "dropped: .rtf file type 1, link to nothing 1" in capsys.readouterr().out
    assert run_adapt(folder, tmp_path / "run", "--dry-run", changes=("sample.min_chars=1000",)) == 2
    assert "0 of 9 documents; .rtf file type: 1; link to nothing: 1; " in capsys.readouterr().err

    settings = resolve(STAGES, load_recipe("quick"), [f"distill.base={tiny_encoder}", "sample.min_chars=40"])
    run = new_run(tmp_path / "run", str(folder), settings, recipe="quick", seed=0)
    run_until(run, until="index", progress=None)
    manifest = files.read_json(tmp_path / "run" / "index" / "manifest.json")
    assert manifest["dropped"] == {".rtf file type": 1, "link to nothing": 1}
    assert manifest["in"] == manifest["out"] + 2 == 11


def test_a_run_is_no_document_wherever_it_lies(finished, tmp_path: Path) -> None:
    put(tmp_path / "a.txt", "a")
    shutil.copytree(finished, tmp_path / "old" / "run")
    docs = read_folder(tmp_path)
    assert [doc.doc_id for doc in docs] == ["a.txt"]
    assert +docs.dropped == {"folder of a run": 1}
    for use in (lambda: read_folder(finished), lambda: acclimate.open(finished).update(finished)):
        assert refusal(use) == f"{finished}: is a run; expected documents"


def test_the_card_of_a_data_set_is_no_document_beside_the_data(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# A data set")
    assert [doc.title for doc in formats.read_folder(tmp_path)] == ["A data set"]
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "corpus-00000-of-00001.jsonl").write_text('{"_id": "1", "text": "lava"}\n')
    with pytest.raises(DataError, match="holds data") as refused:
        formats.read_folder(tmp_path)
    assert command("convert", tmp_path, "NEW", "--to", "beir") in str(refused.value)


def test_bad_folders_are_refused(tmp_path: Path) -> None:
    def message() -> str:
        return refusal(lambda: formats.read_folder(tmp_path))

    assert (
        message() == f"{tmp_path}: no documents in this folder; expected a corpus.jsonl, or files that end in one of "
        ".txt, .rst, .adoc, .asciidoc, .md, .markdown, .mdx, .html, .htm, .xhtml, .docx, "
        ".epub, .ipynb, .odp, .odt, .pdf, .pptx"
    )
    bad = put(tmp_path / "b.rtf", "x")
    assert "(passed over: .rtf file type: 1)" in message()
    bad = put(tmp_path / "b.txt", "")
    assert "file without text: 1" in message()
    put(bad, b"a\nb\xe9")
    assert message() == f"{bad}:2: byte 1 of the line is 0xe9, which is not UTF-8; save the file as UTF-8"
    put(bad, "utf-16".encode("utf-16-le"))
    assert message() == f"{bad}: is UTF-16; save the file as UTF-8"
    put(bad, b"cut\0short")
    assert message().startswith(f"{bad}:1: has a zero byte")
    assert "expected a folder" in refusal(lambda: formats.read_folder(bad))
    assert "no such folder" in refusal(lambda: formats.read_folder(tmp_path / "c"))


def test_all_unreadable_files_are_named_at_once(tmp_path: Path) -> None:
    for name, content in {"a": b"\xe9", "b": b"fine", "c": b"x\0", "d": b"\xe9"}.items():
        put(tmp_path / f"{name}.txt", content)
    message = refusal(lambda: list(read_folder(tmp_path)))
    assert message.startswith(f"{tmp_path / 'a.txt'}:1: byte 0 of the line is 0xe9")
    assert message.endswith(f"2 more cannot be read either: {tmp_path / 'c.txt'}, {tmp_path / 'd.txt'}")


def test_a_file_whose_name_is_not_utf8_is_named(tmp_path: Path) -> None:
    try:
        put(tmp_path / os.fsdecode(b"caf\xe9.txt"), "coffee")
    except OSError:
        pytest.skip("this file system takes no such name")
    assert "'caf\\udce9.txt' is not a UTF-8 name; rename the file" in refusal(lambda: list(read_folder(tmp_path)))


@pytest.mark.parametrize("start", ["", "# a", "```", "---\n"])
def test_markdown_is_read_in_a_time_that_follows_its_length(start):
    """Whatever is repeated: no pattern goes over the same characters again and again."""
    began = time.process_time()
    for piece in ("`", "~", "#", " ", " \t", "-", "=", "<!--", "\\", "`a", "\n", "\n- "):
        for end in ("x", "\n"):
            read_markdown(start + piece * (20_000 // len(piece)) + end)
    assert time.process_time() - began < 5  # a tenth of a second is usual; one that does takes minutes


def test_number_signs_close_a_heading_only_behind_a_blank():
    lines = {"# One ##": "One", "# C#": "C#", "## two \t# \t": "two", "# ##": "##", "#none": "", "####### seven": ""}
    assert {line: read_markdown(line)[0] for line in lines} == lines
