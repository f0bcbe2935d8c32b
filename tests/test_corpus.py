"""A corpus: every doc back under its id, one fingerprint for the same docs, and bad docs refused by name."""

from __future__ import annotations

import pickle
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acclimate.base.digests import fingerprint
from acclimate.base.errors import AcclimateError, DataError
from acclimate.corpus import doc_ids, documents
from acclimate.corpus.documents import Corpus, UnknownDoc
from acclimate.corpus.formats import read_corpus, write_corpus
from acclimate.records import Doc

DOCS = [
    Doc("b", "second letter", "B"),
    Doc("001", "\u2028 {x}\n", ""),
    Doc("1", "日本", "😀"),
    Doc("a/b", "", "title only"),
]

some_text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
docs_lists = st.lists(st.tuples(some_text, some_text), min_size=1, unique_by=lambda pair: pair[0]).map(
    lambda pairs: [Doc(doc_id, f"x{text}") for doc_id, text in pairs]
)


def refusal(call: Callable[[], Any]) -> str:
    with pytest.raises(AcclimateError) as caught:
        call()
    return str(caught.value)


@pytest.fixture(params=["in memory", "on disk", "opened again"])
def corpus(request: pytest.FixtureRequest, tmp_path: Path) -> Corpus:
    if request.param == "in memory":
        return Corpus.of(DOCS, source="here")
    built = Corpus.build(iter(DOCS), tmp_path / "c.arrow", source="here")
    return built if request.param == "on disk" else Corpus.open(tmp_path / "c.arrow")


def test_every_doc_is_back_under_its_id_in_the_order_given(corpus: Corpus) -> None:
    assert len(corpus) == 4
    assert [*corpus.ids] == [*corpus] == ["b", "001", "1", "a/b"]
    assert corpus.ids[-1] == "a/b" and corpus.ids[1:3] == ["001", "1"] and [*corpus.ids.ascending] == [1, 2, 3, 0]
    assert dict(corpus.ids.rows) == {"b": 0, "001": 1, "1": 2, "a/b": 3} and "c" not in corpus.ids.rows
    assert corpus.ids.fingerprint == fingerprint([*corpus])
    assert list(corpus.values()) == [corpus[doc_id] for doc_id in corpus] == DOCS
    assert list(corpus.items()) == [(doc.doc_id, doc) for doc in DOCS]
    assert type(corpus["b"]) is Doc
    assert corpus.source == "here" and corpus.blank == () and corpus.dropped == {}


def test_an_unknown_id_is_an_error_that_names_it_and_the_source(corpus: Corpus) -> None:
    with pytest.raises(KeyError) as caught:
        corpus["01"]
    assert isinstance(caught.value, DataError) and isinstance(caught.value, UnknownDoc)
    assert str(caught.value) == "no document '01' among the 4 of here"
    assert corpus.get("01") is None
    unknown: Any = [1, None, "", "B", "\ud800"]
    assert [name in corpus for name in unknown] == [False] * 5


@settings(max_examples=60, deadline=None)
@given(docs=docs_lists)
def test_any_text_comes_back(docs: list[Doc]) -> None:
    corpus = Corpus.of(docs)
    assert [corpus[doc.doc_id] for doc in docs] == docs


@settings(max_examples=60, deadline=None)
@given(docs=docs_lists, seed=st.integers())
def test_the_fingerprint_ignores_order_and_nothing_else(docs: list[Doc], seed: int) -> None:
    fingerprint = Corpus.of(docs).fingerprint
    shuffled = random.Random(seed).sample(docs, len(docs))
    assert Corpus.of(shuffled).fingerprint == fingerprint
    at = seed % len(docs)
    changed = docs[at]._replace(text=docs[at].text + " ")
    assert Corpus.of([*docs[:at], changed, *docs[at + 1 :]]).fingerprint != fingerprint
    assert Corpus.of([*docs, Doc("a new id" * 9, "x")]).fingerprint != fingerprint


def test_the_fingerprint_knows_where_a_field_ends() -> None:
    same_letters = [Doc("ab", "c", "d"), Doc("a", "bc", "d"), Doc("a", "cd", "b"), Doc("ab", "d", "c"), Doc("ab", "cd")]
    assert len({Corpus.of([doc]).fingerprint for doc in same_letters}) == 5


def test_the_fingerprint_and_the_bytes_are_the_same_in_another_process(tmp_path: Path) -> None:
    there = tmp_path / "there.arrow"
    Corpus.build(DOCS, tmp_path / "here.arrow")
    docs = [tuple(doc) for doc in DOCS]
    code = f"from acclimate.corpus.documents import *; Corpus.build([Doc(*d) for d in {docs!r}], Path({str(there)!r}))"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert (tmp_path / "here.arrow").read_bytes() == there.read_bytes()


def test_many_batches_are_one_corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    docs = [Doc(f"{n}", f"text {n} " * (n % 7) + ".", f"title {n}") for n in range(1000)]
    whole = Corpus.of(docs)
    monkeypatch.setattr(documents, "BATCH_DOCS", 64)
    monkeypatch.setattr(documents, "BATCH_CHARS", 500)
    parts = Corpus.build(docs, tmp_path / "c.arrow")
    assert len(parts._batches) > 16
    assert list(parts.values()) == docs and [parts[doc.doc_id] for doc in docs] == docs
    assert parts.fingerprint == whole.fingerprint
    assert parts.ids.fingerprint == whole.ids.fingerprint


def test_ids_whose_hashes_collide_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (documents, doc_ids):
        monkeypatch.setattr(module, "hash_of", lambda doc_id: 7)
    corpus = Corpus.of(DOCS)
    assert [corpus[doc.doc_id] for doc in DOCS] == DOCS
    assert "c" not in corpus
    assert "'1' appears twice" in refusal(lambda: Corpus.of([*DOCS, Doc("1", "x")]))


def test_a_corpus_travels_to_another_process(corpus: Corpus) -> None:
    again = pickle.loads(pickle.dumps(corpus))
    assert list(again.values()) == DOCS and again.fingerprint == corpus.fingerprint and again.source == "here"


def test_repeated_ids_are_refused_with_both_lines(tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    write_corpus(path, [*DOCS, Doc("c", "x"), Doc("001", "y")])
    message = refusal(lambda: Corpus.build(read_corpus(path), tmp_path / "c.arrow", source=path))
    assert message == f"{path}:6: id '001' appears twice, first in line 2; ids must be unique"
    assert list(tmp_path.iterdir()) == [path]
    assert "'001' appears twice, as documents 2 and 5" in refusal(lambda: Corpus.of([*DOCS, Doc("001", "y")]))


def test_a_blank_doc_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    write_corpus(path, [*DOCS, Doc("c", " \n"), Doc("d", "")])
    message = refusal(lambda: Corpus.build(read_corpus(path), tmp_path / "c.arrow", source=path))
    assert message.startswith(f"{path}:5: 'text' of document 'c' is empty, and so is its title; 2 of 6 documents are")


def test_a_few_blank_docs_among_many_are_kept_and_listed(tmp_path: Path) -> None:
    docs = [Doc(str(n), "" if n in (3, 5) else "x") for n in range(200)]
    corpus = Corpus.build(docs, tmp_path / "c.arrow")
    assert len(corpus) == 200 and corpus.blank == Corpus.open(tmp_path / "c.arrow").blank == ("3", "5")


@pytest.mark.parametrize(
    ("doc", "field"),
    [
        (Doc("", "x"), "'doc_id' is \"\""),
        (Doc(1, "x"), "'doc_id' is 1"),  # pyright: ignore[reportArgumentType]
        (Doc("1", None), "'text' of document '1' is null"),  # pyright: ignore[reportArgumentType]
        (Doc("1", "x", 2.5), "'title' of document '1' is 2.5"),  # pyright: ignore[reportArgumentType]
        (Doc("1", "\udcff"), "'text' has half a surrogate pair"),
    ],
)
def test_what_is_no_text_is_refused(doc: Doc, field: str) -> None:
    assert field in refusal(lambda: Corpus.of([doc]))


def test_no_docs_are_refused(tmp_path: Path) -> None:
    assert refusal(lambda: Corpus.build([], tmp_path / "c.arrow", source="x.jsonl")).startswith("x.jsonl: no documents")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_corpus_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.arrow"
    assert refusal(lambda: Corpus.open(path)) == f"{path}: no such corpus"
    Corpus.build(DOCS, path)
    for content in (b"", b"nonsense", path.read_bytes()[:-20]):
        path.write_bytes(content)
        assert refusal(lambda: Corpus.open(path)).startswith(f"{path}: not a corpus")


def test_importing_the_core_imports_nothing_heavy() -> None:
    code = (
        "import sys, acclimate.corpus.documents, acclimate.corpus.collections, acclimate.corpus.formats;"
        "print(sorted({'pyarrow', 'numpy', 'pandas', 'torch'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout.strip() == b"[]"


def test_a_lookup_imports_no_pandas(tmp_path: Path) -> None:
    path = tmp_path / "c.arrow"
    Corpus.build(DOCS, path)
    code = (
        f"import sys; from acclimate.corpus.documents import *; c = Corpus.open(Path({str(path)!r}));"
        "c['b'], list(c.values());"
        "print('pandas' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout.strip() == b"False"
