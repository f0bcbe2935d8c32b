"""TREC's documents and topics as SGML: what is read of them, and where one that is broken is refused."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from test_formats import put, refusal

from acclimate.corpus import formats
from acclimate.corpus.formats.folder import read_folder
from acclimate.corpus.formats.registry import recognize
from acclimate.records import Doc, Query

WIRE = "<DOC>\n<DOCNO> {} </DOCNO>\n<TEXT>\n{}\n</TEXT>\n</DOC>\n"


@pytest.mark.parametrize(
    ("content", "docs"),
    [
        (WIRE.format("FT-1", "a &amp; b\nc") + WIRE.format("007", "d"), [Doc("FT-1", "a & b c"), Doc("007", "d")]),
        ("<DOC><DOCNO>1</DOCNO><HL>A</HL><TEXT>b</TEXT></DOC><DOC>\r\n<DOCNO>2</DOCNO>c</DOC>\r\n",
         [Doc("1", "b", "A"), Doc("2", "c")]),
        ("<?xml version='1.0'?>\n<root>\n<doc><docno>\n1\n</docno><title>\nA\n</title><author>x</author>"
         "<text>\nb\n<p>c</p></text></doc>\n</root>\n", [Doc("1", "b\nc", "A")]),
        ("<DOC><DOCNO>1</DOCNO><HEAD>A</HEAD><LEADPARA>b</LEADPARA><HEAD>C</HEAD><TEXT>d<HL>e</HL></TEXT></DOC>",
         [Doc("1", "b d\ne", "A C")]),
        ('<DOC id="AFP_1" type="story"><TEXT>a</TEXT></DOC>', [Doc("AFP_1", "a")]),
        ("<DOC><DOCNO>W1</DOCNO><DOCHDR>\nhttp://x\n</DOCHDR>\n<html><head><title>A</title><body>b<p>c <TEXT>\n</DOC>",
         [Doc("W1", "b\nc", "A")]),
    ],
)  # fmt: skip
def test_documents_are_read_as_their_reader_sees_them(tmp_path: Path, content: str, docs: list[Doc]) -> None:
    path = tmp_path / "fb396001"
    put(path, content)
    assert recognize(path).name == "trec-docs"
    assert list(formats.read_corpus(path)) == docs
    path.with_suffix(".gz").write_bytes(gzip.compress(content.encode()))
    assert list(formats.read_corpus(path.with_suffix(".gz"))) == docs


@pytest.mark.parametrize(
    ("content", "line", "field"),
    [
        (WIRE.format("1", "a") + "<DOC>\n<TEXT>a</TEXT>\n</DOC>\n", 7, "<DOC> has no <DOCNO>"),
        (WIRE.format("1", "a") + "<DOC>\n<DOCNO>2</DOCNO>\n<TEXT>a\n", 7, "<DOC> does not end"),
        (WIRE.format("1", "a") + "<DOC>\n<DOCNO>2</DOCNO>\n<DOC>\n", 9, "<DOC> within the <DOC> of line 7"),
        (WIRE.format("1", "a") + "<DOC>\n<DOCNO>2</DOCNO>\n<TEXT>a\n</DOC>\n", 7, "a <TEXT> in the document"),
        (WIRE.format("1", "a") + "lost\n" + WIRE.format("2", "a"), 7, 'found "lost"'),
        (WIRE.format("1", "a") + "</DOC>\n", 7, "</DOC> ends what does not begin"),
    ],
)
def test_broken_documents_are_refused_with_their_line(tmp_path: Path, content: str, line: int, field: str) -> None:
    put(tmp_path / "docs.sgml", content)
    message = refusal(lambda: list(formats.read_corpus(tmp_path / "docs.sgml")))
    assert message.startswith(f"{tmp_path / 'docs.sgml'}:{line}: ") and field in message


def test_old_collections_in_latin_1_are_told_by_the_line(tmp_path: Path) -> None:
    path = tmp_path / "ft911_1"
    path.write_bytes(WIRE.format("1", "caf\xe9").encode("latin-1"))
    assert "is 0xe9, which is not UTF-8; save the file as UTF-8" in refusal(lambda: list(formats.read_corpus(path)))


def test_a_folder_of_such_files_says_how_they_become_one(tmp_path: Path) -> None:
    put(tmp_path / "fb396001", WIRE.format("1", "a"))
    assert f"cat {tmp_path}/* > docs.sgml" in refusal(lambda: read_folder(tmp_path))


@pytest.mark.parametrize(
    ("content", "queries"),
    [
        ("<top>\n\n<num> Number: 301 \n<title> Organized\nCrime \n\n<desc> Description: \nIdentify.\n\n</top>\n\n"
         "<top>\n<num> Number: 302\n<title>\n<desc> Description:\nIs polio\ncontrolled?\n\n<narr> x\n</top>\n",
         [Query("301", "Organized Crime"), Query("302", "Is polio controlled?")]),
        ("<top>\n<head> Tipster\n<num> Number:  051\n<title> Topic:  A &amp; B\n</top>", [Query("051", "A & B")]),
        ('<topics task="x">\n<topic number="1">\n<query>covid origin</query>\n<question>x?</question></topic></topics>',
         [Query("1", "covid origin")]),
    ],
)  # fmt: skip
def test_topics_are_the_queries_that_they_ask(tmp_path: Path, content: str, queries: list[Query]) -> None:
    path = tmp_path / "topics.301-450"
    put(path, content)
    assert recognize(path).name == "trec-topics"
    assert formats.read_queries(path) == queries


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ("<top>\n<title> x\n</top>", "<top> has no <num>"),
        ("<top>\n<num> 1 <title>\n</top>", "is empty"),
        ("<top>\n<num> 1 <title> x\n", "<top> does not end"),
        ("<top><num> 1 <title> x</top><top><num> 1 <title> y</top>", "appears twice"),
    ],
)
def test_broken_topics_are_refused(tmp_path: Path, content: str, field: str) -> None:
    put(tmp_path / "topics", content)
    message = refusal(lambda: formats.read_queries(tmp_path / "topics"))
    assert message.startswith(f"{tmp_path / 'topics'}:1: ") and field in message
