"""What others wrote reaches no terminal as an order, is cut where it is long, and is shown where it can be."""

from __future__ import annotations

import io
import shlex
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acclimate.base.errors import AcclimateError, DataError, closest_name, unknown
from acclimate.base.text import command, counted, on_one_line, printable, quoted, shortened, single_spaced
from acclimate.cli.main import main
from acclimate.deploy.searchers import Hit
from acclimate.records import Doc

HOSTILE = "\x1b]0;pwned\x07\x1b[31mred\x9b31m\x08\x7f\u202eflip\u2066\ud800"
OBEYED = set("\x1b\x07\x9b\x08\x7f\u202e\u2066\ud800\r\0")
any_text = st.text(st.characters(codec=None, exclude_categories=()), max_size=50) | st.just(HOSTILE)


@given(any_text)
def test_no_terminal_is_given_orders(text):
    for shown in (printable(text), on_one_line(text), single_spaced(text), str(AcclimateError(text)), quoted(text)):
        assert not OBEYED & set(shown)
        shown.encode()
    assert "\n" not in on_one_line(text) + single_spaced(text) + str(DataError(text, path=text or "x"))
    hit = str(Hit(Doc(text or "x", text, text), 1.0, text or "y", {}))
    assert not OBEYED & set(hit)
    assert hit.count("\n") == 1


def test_one_is_singular_and_every_other_count_plural():
    counts = [counted(n, "labelled query") for n in (0, 1, 2, 1234)]
    assert counts == ["0 labelled queries", "1 labelled query", "2 labelled queries", "1,234 labelled queries"]
    assert [counted(n, "doc") for n in (1, 2)] == ["1 doc", "2 docs"]
    assert [counted(n, "entry is", "entries are") for n in (1, 2)] == ["1 entry is", "2 entries are"]


def test_what_people_write_stays():
    assert printable("多 \u05d0\u200d\t\n😀") == "多 \u05d0\u200d\t\n😀"
    assert on_one_line("a  b\nc") == "a  b c"


def deep(depth: int) -> list:
    found: list = []
    for _ in range(depth):
        found = [found]
    return found


def bomb(depth: int) -> list:
    found: list = ["x"]
    for _ in range(depth):
        found = [found] * 9
    return found


@given(st.lists(any_text))
def test_a_shell_reads_the_words_of_a_command_that_is_named(words):
    assert shlex.split(command("adapt", *words)) == ["acclimate", "adapt", *words]


def test_long_values_are_cut():
    values = ["x" * 10**6, 10**5000, -(10**5000), 10**300, deep(10**5), bomb(30), {"x" * 10**5: "y" * 10**5}]
    for value in values:
        assert len(quoted(value)) < 700


def test_messages_are_cut_in_the_middle_so_that_what_to_do_stays():
    assert shortened("x" * 10, 10) == "x" * 10
    said = str(DataError("y" * 10**6 + "; expected less", path="p.toml"))
    assert said.startswith("p.toml: y")
    assert said.endswith("; expected less")
    assert len(said) < 1100
    assert len(str(unknown("setting", "z" * 10**5, ["a", "b"]))) < 300


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "cp1252", "utf-8"])
def test_a_shell_gets_what_it_can_show(encoding, monkeypatch, tmp_path):
    out, error = (io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2))
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", error)
    assert main(["prompts", "show", "question", "--document", "火山 é"]) == 0
    assert main(["prompts", "show", str(tmp_path / "火山.toml")]) == 2
    for stream in (out, error):
        stream.flush()
        shown = stream.buffer.getvalue().decode(encoding)
        assert ("火山" if encoding == "utf-8" else "\\u706b\\u5c71") in shown


@pytest.mark.parametrize("broken", ["a\0b", "\udcff"])
def test_arguments_that_are_no_text_are_refused(broken, capsys):
    for argv in (["adapt", broken, "--out", "x"], ["search", "x", broken], ["adapt", "x", "--out", broken]):
        assert main(argv) == 2
        assert "is not UTF-8 text" in capsys.readouterr().err


def test_no_secret_in_an_address_is_shown(capsys):
    for argv in (
        ["adapt", "c", "--out", "o", "--set", "openai:m@http://user:SECRET@host/v1"],
        ["adapt", "c", "--out", "o", "--llm=openai:m@http://user:SECRET@host/v1"],
        ["prompts", "show", "http://user:SECRET@host/v1"],
    ):
        assert main(argv) == 2
        assert "SECRET" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "known", "meant"),
    [
        ("quik", "quick full", "quick"),
        ("N-Docs", "n_docs n_prompts", "n_docs"),
        ("bm52", "bm25 dense", "bm25"),
        ("hybird", "hybrid dense", "hybrid"),
        ("late", "dense late-interaction", "late-interaction"),
        ("quic", "quick quicker", "quick"),
        ("dens", "dense-query dense-document", None),  # of two it would be a guess
        ("teacher", "trained reranker", None),
        ("steer", "seed sample", None),
        ("scifact", "scidocs nfcorpus", None),
        ("index", "inspect", None),
        ("english", "spanish", None),
        ("colbert", "cohere", None),
        ("max_len", "max_tokens", None),
        ("", "a b", None),
        ("x" * 100_000, "xy", None),
    ],
)
def test_a_name_is_suggested_only_where_it_is_close(name, known, meant):
    assert closest_name(name, known.split()) == meant


@pytest.mark.parametrize(
    ("document_id", "title", "names"),
    [("d1", "Volcano", "d1  Volcano"), ("d1", "d1", "d1"), ("d1", "", "d1"), ("d", "Volcano", "d1  Volcano")],
)
def test_a_hit_names_its_document_once(document_id, title, names):
    shown = str(Hit(Doc("d1", "molten rock", title), 1.23456, document_id, {}))
    assert shown == f"  1.2346  {names}\n          molten rock"
