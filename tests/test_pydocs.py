"""pydocs: its docs are the standard library's and always the same; its queries, judgments and splits hold together."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
import types
from collections import Counter
from pathlib import Path

import pytest

from acclimate.base.errors import AcclimateError, SettingError
from acclimate.corpus import pydocs
from acclimate.records import Doc, Qrel

DOCS = {doc.doc_id: doc for doc in pydocs.build()}
SPLITS = {split: pydocs.qrels(split) for split in pydocs.JUDGED_SPLITS}
QRELS = [qrel for qrels in SPLITS.values() for qrel in qrels]
IS_JUDGED_PYTHON = sys.version_info[:2] == (3, 11) and sys.platform == "linux"
ON_JUDGED_PYTHON = pytest.mark.skipif(not IS_JUDGED_PYTHON, reason="judged on CPython 3.11 on Linux; others lack docs")

STOP_WORDS = frozenset(
    "a all an and any are as at be been but by can do does for from get had has have how i if in into is it its just "
    "make me my no not of off on one or out over python same so some that the their them then there they this to too "
    "up us use used using want was what when where which who why will with without you your".split()
)


def stems(text: str) -> set[str]:
    """A text's content words, cut to five letters: `sorted` meets `sorting`."""
    return {word[:5] for word in re.findall("[a-z]{2,}", text.lower()) if word not in STOP_WORDS}


def answers(query_id: str) -> list[Doc]:
    return [DOCS[qrel.doc_id] for qrel in QRELS if qrel.query_id == query_id and qrel.relevance == pydocs.ANSWER]


def test_the_docs_are_about_3250_sorted_and_all_different() -> None:
    assert 2_900 <= len(DOCS) <= 3_700
    assert list(DOCS) == sorted(DOCS)
    assert len({doc.text for doc in DOCS.values()}) == len(DOCS) == len(pydocs.build())


def test_every_doc_has_an_id_a_title_and_enough_text() -> None:
    for doc in DOCS.values():
        assert isinstance(doc.doc_id, str)
        assert re.fullmatch(r"\S+", doc.doc_id)
        assert doc.title
        assert len(doc.text) >= pydocs.MIN_CHARS
        assert doc.text == doc.text.strip()


def test_well_known_names_are_docs_and_their_private_homes_are_not() -> None:
    known = {
        "json.dumps", "str.split", "sorted", "collections.OrderedDict.move_to_end", "os.path.join", "heapq.merge",
        "ipaddress.IPv4Network.hosts", "bisect.bisect_left", "sqlite3.connect", "topic:lambda", "socket.socket.bind",
    }  # fmt: skip
    assert known <= DOCS.keys()
    assert DOCS["topic:lambda"].title == "Lambdas"
    assert not DOCS["topic:lambda"].text.startswith(("Lambdas", "*"))
    assert not [name for name in DOCS if re.search(r"(^|\.)_(?!_future__)", name)]


def test_every_doc_is_of_the_standard_library() -> None:
    for name in DOCS:
        if not name.startswith("topic:"):
            first = name.partition(".")[0]
            assert first in sys.stdlib_module_names or hasattr(__import__("builtins"), first), name


def test_a_doc_is_the_docstring_of_what_its_id_names() -> None:
    for name in ("json.dumps", "collections.OrderedDict.move_to_end", "email.message.Message.get_all"):
        value: object = None
        for end in range(name.count(".") + 1, 0, -1):
            try:
                value = importlib.import_module(".".join(name.split(".")[:end]))
            except ImportError:
                continue
            for part in name.split(".")[end:]:
                value = getattr(value, part)
            break
        assert " ".join(str(value.__doc__).split()) == " ".join(DOCS[name].text.split())


def test_another_projects_module_in_the_librarys_place_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "colorsys.py").write_text('"""Not the colorsys that you know."""')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    assert "colorsys" not in {module.__name__ for module in pydocs._modules()}
    assert "colorsys" not in sys.modules  # not even executed


def test_names_that_others_put_into_a_library_module_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    def intruder() -> None:
        """A function that some other project has put into a module of the standard library, to mend or watch it."""

    intruder.__module__ = "some_other_project"
    import textwrap

    monkeypatch.setattr(textwrap, "fill", intruder)
    monkeypatch.setattr(textwrap, "intruder", intruder, raising=False)
    names = {name for name, _ in pydocs._public(textwrap)}
    assert "wrap" in names
    assert not names & {"fill", "intruder"}


def test_a_name_that_fails_when_looked_up_is_passed_over() -> None:
    class Moody(types.ModuleType):
        def __getattr__(self, name: str) -> object:
            raise RuntimeError(name)

    module = Moody("moody")
    module.__all__ = ["gone"]  # pyright: ignore[reportAttributeAccessIssue]
    assert list(pydocs._public(module)) == []


def test_two_processes_make_the_same_docs_and_print_nothing() -> None:
    script = (
        "import hashlib, sys; from acclimate.corpus import pydocs; "
        "sys.stderr.write(hashlib.sha256(repr(pydocs.build()).encode()).hexdigest())"
    )
    prints = set()
    for hash_seed in ("1", "2"):
        run = subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert run.stdout == ""
        assert len(run.stderr) == 64
        prints.add(run.stderr)
    assert len(prints) == 1


def test_python_without_docstrings_is_refused() -> None:
    run = subprocess.run(
        [sys.executable, "-OO", "-c", "from acclimate.corpus import pydocs; pydocs.build()"],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 1
    assert "run without -OO" in run.stderr


def test_dev_and_test_share_no_query_and_hold_them_all() -> None:
    dev, test = ({qrel.query_id for qrel in SPLITS[split]} for split in ("dev", "test"))
    queries = pydocs.queries()
    assert not dev & test
    assert sorted(dev | test) == [query.query_id for query in queries]
    assert len({query.text for query in queries}) == len(queries)
    assert len(dev) >= 60
    assert len(test) >= 2 * 60


def test_both_splits_cover_many_modules_alike() -> None:
    def shares(split: str) -> Counter[str]:
        names = [qrel.doc_id for qrel in SPLITS[split] if qrel.relevance == pydocs.ANSWER]
        return Counter("topic" if name.startswith("topic:") else name.partition(".")[0] for name in names)

    dev, test = shares("dev"), shares("test")
    assert len(dev | test) >= 70
    assert abs(dev["topic"] / dev.total() - test["topic"] / test.total()) < 0.05
    most = [name for name, count in (dev + test).items() if count >= 15]
    assert most
    assert all(dev[name] and test[name] for name in most)


def test_every_query_has_an_answer_and_every_judged_doc_exists() -> None:
    for query in pydocs.queries():
        assert answers(query.query_id)
    assert {qrel.doc_id for qrel in QRELS} <= DOCS.keys()
    assert {qrel.relevance for qrel in QRELS} == {0, 1, 2}
    assert len({(qrel.query_id, qrel.doc_id) for qrel in QRELS}) == len(QRELS)


@ON_JUDGED_PYTHON
def test_no_query_is_left_out_on_the_python_that_was_judged() -> None:
    assert pydocs.queries() == pydocs._all_queries()
    judged = sum(len(pydocs._all_qrels(split)) for split in SPLITS)
    assert judged - len(QRELS) <= 50  # a build may lack an optional module such as nis


def test_judgments_of_missing_docs_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    query_id = SPLITS["dev"][0].query_id
    gone = {doc.doc_id for doc in answers(query_id)}
    kept = tuple(doc for doc in DOCS.values() if doc.doc_id not in gone)
    monkeypatch.setattr(pydocs, "_docs", lambda: kept)
    assert query_id not in {qrel.query_id for qrel in pydocs.qrels("dev")}
    assert query_id not in {query.query_id for query in pydocs.queries()}
    assert gone.isdisjoint(qrel.doc_id for split in SPLITS for qrel in pydocs.qrels(split))


def test_there_is_nothing_to_train_on_and_no_other_split() -> None:
    assert pydocs.qrels("train") == []
    with pytest.raises(SettingError, match="Did you mean 'dev'"):
        pydocs.qrels("devel")


def test_many_queries_share_no_content_word_with_any_answer() -> None:
    queries = pydocs.queries()
    apart = [
        query.text
        for query in queries
        if not any(stems(query.text) & stems(doc.default_text()) for doc in answers(query.query_id))
    ]
    assert len(apart) >= 0.18 * len(queries), f"{len(apart)} of {len(queries)}"


class TestPool:
    """benchmarks/pool_pydocs.py: what is printed, once graded, is added; anything else is refused."""

    @pytest.fixture
    def tool(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
        monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
        tool = importlib.import_module("pool_pydocs")
        monkeypatch.setattr(tool, "QRELS", tmp_path)
        for split in pydocs.JUDGED_SPLITS:
            tool.beir.write_qrels(tmp_path / f"{split}.tsv", SPLITS[split])
        return tool

    @pytest.fixture
    def run(self, tmp_path: Path) -> Path:
        """A run of one query: a judged doc, then all that are not judged, best first."""
        query_id = SPLITS["test"][0].query_id
        judged = {qrel.doc_id for qrel in SPLITS["test"] if qrel.query_id == query_id}
        others = [name for name in DOCS if name not in judged]
        ranked = [sorted(judged)[0], *reversed(others)]
        path = tmp_path / "run.trec"
        path.write_text("".join(f"{query_id} Q0 {doc_id} 0 {-i} x\n" for i, doc_id in enumerate(ranked)))
        return path

    def test_pairs_without_a_grade_are_printed_by_doc_id(self, tool: types.ModuleType, run: Path) -> None:
        header, *rows = tool.unjudged([run], depth=4)
        names = [row.split("\t")[1] for row in rows]
        assert header == tool.HEADER
        assert len(names) == 3
        assert names == sorted(names)

    def test_graded_pairs_are_added_to_the_split_of_their_query(
        self, tool: types.ModuleType, run: Path, tmp_path: Path
    ) -> None:
        filled = tmp_path / "filled.tsv"
        rows = list(tool.unjudged([run], depth=4))
        filled.write_text("\n".join(rows).replace("\t?\t", "\t1\t"))
        assert tool.add(filled) == 3
        added = set(tool.beir.read_qrels(tmp_path / "test.tsv")) - set(SPLITS["test"])
        assert added == {Qrel(*row.split("\t")[:2], relevance=1) for row in rows[1:]}
        assert tool.beir.read_qrels(tmp_path / "dev.tsv") == SPLITS["dev"]
        with pytest.raises(AcclimateError, match="has a grade already"):
            tool.add(filled)

    def test_a_row_without_a_grade_is_refused_by_line(self, tool: types.ModuleType, run: Path, tmp_path: Path) -> None:
        filled = tmp_path / "filled.tsv"
        filled.write_text("\n".join(tool.unjudged([run], depth=4)))
        with pytest.raises(AcclimateError, match=r"filled\.tsv:2: found grade '\?'; expected 0, 1 or 2"):
            tool.add(filled)
