"""Queries that somebody wrote, read for a corpus: what of them is used, and which documents share a side."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from acclimate.base.errors import DataError
from acclimate.corpus.formats import read_nway
from acclimate.corpus.near_duplicates import groups_of
from acclimate.corpus.provided_queries import FILES, ProvidedQueries
from acclimate.corpus.query_log import LoggedQuery, QueryLog
from acclimate.corpus.sides import sides_of
from acclimate.records import Doc, NWay, PromptExample, Query, SyntheticQuery
from acclimate.run.input import Input
from acclimate.run.provided import Provided
from acclimate.search.members import Ids
from acclimate.stages import provided

CORPUS = {
    doc.doc_id: doc
    for doc in (
        Doc("1", "Salt keeps fish from spoiling for many months at sea.", "Salt"),
        Doc("2", "Lava is molten rock that flows from a volcano."),
        Doc("01", "Bees dance to tell each other where flowers are."),
    )
}


def put(path: Path, *rows) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


FORMATS = {
    "ours": [{"query_id": "a", "doc_id": "1", "query": "why salt fish"}],
    "InPars v1": [{"doc_id": "1", "doc_text": "Salt", "question": "\nwhy salt fish ", "log_probs": -0.5}],
    "InPars v2": [{"doc_id": "1", "text": "x", "query": "why salt fish", "log_probs": [-0.5], "fewshot_examples": []}],
}


@pytest.mark.parametrize("rows", FORMATS.values(), ids=FORMATS)
def test_published_files_give_the_same_query(rows, tmp_path):
    (query,) = ProvidedQueries.of_queries(put(tmp_path / "file.jsonl", *rows), CORPUS).queries
    assert (query.doc_id, query.text) == ("1", "why salt fish")


@pytest.mark.parametrize("name", ["qrels/train.tsv", "qrels.tsv"])
@pytest.mark.parametrize("prefix", ["", "qgen-"])
def test_a_folder_of_queries_with_judgments_gives_them(prefix, name, tmp_path):
    put(
        tmp_path / f"{prefix}queries.jsonl", {"_id": "q", "text": "why salt fish"}, {"_id": "r", "text": "what is lava"}
    )
    put(
        tmp_path / "corpus.jsonl",
        *({"_id": doc.doc_id, "title": doc.title, "text": doc.text} for doc in CORPUS.values()),
    )
    qrels = tmp_path / f"{prefix}{name}"
    qrels.parent.mkdir(exist_ok=True)
    qrels.write_text("query-id\tcorpus-id\tscore\nq\t1\t1\nr\t2\t1\n")
    for path in (tmp_path, tmp_path / f"{prefix}queries.jsonl"):
        queries = ProvidedQueries.of_queries(path, CORPUS).queries
        assert [(query.query_id, query.doc_id) for query in queries] == [("q", "1"), ("r", "2")]


def test_ids_are_text_and_only_equal_ones_meet(tmp_path):
    rows = [{"query_id": f"q{doc_id}", "doc_id": doc_id, "query": f"what of {doc_id}"} for doc_id in ("1", "01", "001")]
    start = ProvidedQueries.of_queries(put(tmp_path / "file.jsonl", *rows), CORPUS)
    assert [query.doc_id for query in start.queries] == ["1", "01"]
    assert start.dropped == {"unknown document": 1}


def test_what_is_kept_is_read_back_the_same(tmp_path):
    rows = [
        {"query_id": "a", "doc_id": "1", "query": "why salt fish", "log_probs": [-0.5, -1.0], "prompt": "mine"},
        {"query_id": "b", "doc_id": "1", "query": " why salt fish"},
        {"query_id": "c", "doc_id": "2", "query": "what is\u2028lava", "text": "another text"},
        {"query_id": "d", "doc_id": "2", "query": "why salt fish"},  # of another document
    ]
    start = ProvidedQueries.of_queries(put(tmp_path / "file.jsonl", *rows), CORPUS)
    assert (start.dropped, start.n_other_texts) == ({"same query twice": 1}, 1)
    assert [query.query_id for query in start.queries] == ["a", "c", "d"]
    others = [{"queries": start.queries[1:]}, {"examples": [NWay("a", ("1", "2"))]}, {"dropped": {}}]
    others += [{"n_other_texts": 2}, {"queries": [start.queries[0]._replace(logprob=-9.0), *start.queries[1:]]}]
    assert len({start.fingerprint, *(replace(start, **other).fingerprint for other in others)}) == 6
    start.write(tmp_path)
    assert ProvidedQueries.read(tmp_path.joinpath, has_examples=False).fingerprint == start.fingerprint


def test_queries_of_other_documents_alone_are_refused_with_both_kinds_of_ids(tmp_path):
    file = put(tmp_path / "file.jsonl", {"doc_id": "MED-1", "query": "why salt fish"})
    with pytest.raises(DataError, match=r"'MED-1' is not in the corpus, .* would know '1', '2', '01'"):
        ProvidedQueries.of_queries(file, CORPUS)


def test_a_file_of_nothing_but_blank_queries_is_said_to_be_one(tmp_path):
    rows = [{"doc_id": "1", "query": blank} for blank in ("", "  ", None)]
    with pytest.raises(DataError, match="has no query; lines left out without a query: 3"):
        ProvidedQueries.of_queries(put(tmp_path / "file.jsonl", *rows), CORPUS)


def test_a_query_for_a_document_that_was_split_is_for_the_passage_that_it_asks_of(tmp_path):
    corpus = {"1#0": Doc("1#0", "It begins with salt."), "1#1": Doc("1#1", "It ends with lava and ash.")}
    rows = [{"doc_id": "1", "query": "lava and ash", "text": "all of it"}, {"doc_id": "1", "query": "of neither"}]
    start = ProvidedQueries.of_queries(put(tmp_path / "file.jsonl", *rows), corpus, {"1#0": "1", "1#1": "1"})
    assert [query.doc_id for query in start.queries] == ["1#1", "1#0"]
    assert start.n_other_texts == 0


def test_the_first_positive_of_a_query_is_its_source(tmp_path):
    queries = put(tmp_path / "queries.jsonl", {"_id": "q", "text": "why salt fish"})
    rows = [{"query_id": "q", "doc_ids": ["1", "2"]}, {"query_id": "q", "doc_ids": ["01", "2"]}]
    start = ProvidedQueries.of_examples(put(tmp_path / "nway.jsonl", *rows), CORPUS, queries)
    assert [(query.query_id, query.doc_id) for query in start.queries] == [("q", "1")]
    assert [example.doc_ids for example in start.examples] == [("1", "2"), ("01", "2")]


@pytest.mark.parametrize(
    ("example", "said"),
    [
        (
            {"doc_ids": ["1"], "scores": [1.0]},
            "each training example has one document; expected a positive and negatives",
        ),
        (
            {"doc_ids": ["1", "2"], "has_positive": False},
            "query 'q': 'has_positive' is false, and there are no scores to learn from either",
        ),
    ],
)
def test_lists_that_say_nothing_are_refused_before_anything_is_made_of_them(example, said, tmp_path):
    queries = put(tmp_path / "queries.jsonl", {"_id": "q", "text": "why salt fish"})
    path = put(tmp_path / "nway.jsonl", {"query_id": "q", **example})
    with pytest.raises(DataError, match=said):
        ProvidedQueries.of_examples(path, CORPUS, queries)


def test_documents_that_nearly_are_each_other_and_passages_of_one_are_of_one_group():
    text = "the quick brown fox jumps over the lazy dog and runs far away into the deep dark forest"
    corpus = {
        doc.doc_id: doc
        for doc in (
            Doc("a", text), Doc("b", f"{text} today"), Doc("c#0", "what is said first"), Doc("c#1", "and what then"),
            Doc("d", "of nobody else"), Doc("e", "judged with d for one query"),
        )
    }  # fmt: skip
    groups = groups_of(corpus, corpus, 0.8, parents={"c#0": "c", "c#1": "c"}, together=[("d", "e")])
    assert groups == {"a": "a", "b": "a", "c#0": "c", "c#1": "c", "d": "d", "e": "d"}
    apart = groups_of(["a", "b"], corpus, 1, parents={}, together=[])
    assert apart == {"a": "a", "b": "b"}


def test_a_side_that_chance_left_without_documents_gets_those_nearest_to_the_middle_of_its_share():
    draws = {"a": 0.07, "b": 0.08, "c": 0.21, "d": 0.4, "e": 0.9}
    sides = dict.fromkeys("ab", "dev") | {"c": "test"} | dict.fromkeys("de", "train")  # c is nearest to 0.15
    assert sides_of(draws, dev_share=0.1, test_share=0.1) == sides


def run_with(
    *, choosing="to choose", measuring="to measure", shown="shown", doc_id="s", corpus=None, parents=None
) -> Any:
    """A run of which no more is there than what decides which of the provided queries may be trained on."""
    judged = (SimpleNamespace(queries=[Query(text, text)]) for text in (choosing, measuring))
    return SimpleNamespace(
        seed=0,
        settings={"sample": {"examples": "a file", "n_examples": 3}},
        input=SimpleNamespace(
            labels=SimpleNamespace(**dict(zip(("choosing", "measuring"), judged, strict=True))),
            pairs=lambda _: [PromptExample("x", doc_id, shown, "what the source says")],
            corpus=corpus,
            parents=parents,
        ),
    )


def test_what_is_judged_or_shown_is_not_trained_on_and_counted():
    texts = {
        "s": "what the source says",
        "copy": "What  the SOURCE says",
        "s#1": "a part of it",
        "a": "else",
        "b": "more",
    }
    run = run_with(corpus={name: Doc(name, text) for name, text in texts.items()}, parents={"s#1": "s"})
    asked = [("To  choose", "a"), ("to measure", "a"), ("SHOWN", "a"), *(("what", name) for name in texts)]
    queries = [SyntheticQuery(str(number), text, doc_id, 0.0) for number, (text, doc_id) in enumerate(asked)]
    kept, dropped = provided._usable(run, cast(Any, SimpleNamespace(queries=queries, dropped={"blank": 2})))
    assert [query.doc_id for query in kept] == ["a", "b"]
    assert dropped == {"blank": 2, provided.JUDGED: 2, provided.SHOWN: 4}


def test_what_decides_which_queries_are_trained_on_is_an_input():
    given: Any = SimpleNamespace(fingerprint="file")
    made = [
        provided._inputs(run_with(**changed), given)
        for changed in ({}, {}, {"choosing": "x"}, {"measuring": "x"}, {"shown": "x"}, {"doc_id": "x"})
    ]
    made.append(provided._inputs(run_with(), cast(Any, SimpleNamespace(fingerprint="another"))))
    assert made[0] == made[1]
    assert len({str(inputs) for inputs in made}) == 6


def test_a_judged_query_of_the_log_is_no_unjudged_one_whichever_split_judges_it():
    source = Input("name", "source", Provided(), Path())
    source.labels = run_with().input.labels
    source.log = QueryLog([LoggedQuery(text, text, 1) for text in ("To choose", "to  measure", "to teach")])
    assert [query.text for query in source.unjudged_log.queries] == ["to teach"]


def test_examples_of_queries_that_were_dropped_and_of_one_document_are_left_out_and_counted():
    queries = [SyntheticQuery(name, "?", "a", 0.0) for name in "xy"]
    examples = [NWay("x", ("a", "b")), NWay("y", ("a",)), NWay("dropped", ("a", "b"))]
    assert provided._of_queries(examples, queries) == (examples[:1], {"query is left out": 1, "one document": 1})
    assert provided._of_queries(examples[:1], queries) == (examples[:1], {})


def test_what_an_earlier_command_was_given_is_not_kept_for_one_that_was_given_nothing(tmp_path):
    source = Input("name", "source", Provided(), tmp_path)
    source.collection = cast(Any, SimpleNamespace(queries=[Query("q", "text")], qrels={}))
    for name in ("log.jsonl", "first-stage.trec", *FILES):
        for path in (tmp_path / name, tmp_path / f"{name}.sha256"):
            path.write_text("of an earlier command")
    source.keep()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["queries.jsonl", "queries.jsonl.sha256"]


def test_provided_lists_stay_whole_and_those_of_dev_queries_are_held_out(tmp_path):
    """`label.windows` cuts the lists that are scored here: provided ones are what somebody decided they are."""
    documents = [f"d{number}" for number in range(6)]
    scores = {"a": (5.0, 4.0, 3.0, 2.0, 1.0, 0.0), "b": (3.0, 5.0, 4.0, 2.0, 1.0, 0.0), "c": (1.0, 2.0, 3.0)}
    examples = [NWay(name, tuple(documents[: len(each)]), each) for name, each in scores.items()]
    examples += [NWay("log", ("d1", "d2"), (9.0, 1.0), has_positive=False), NWay("test", ("d0", "d1"), (1.0, 0.0))]
    examples.append(NWay("b", ("d5", "d4"), (2.0, 1.0)))  # a query may have several lists, each with its own positive
    queries = {name: SyntheticQuery(name, f"what is {name}", "d0", 0.0) for name in ("a", "b", "c", "log", "test")}
    sides = {"train": [queries["a"], queries["c"]], "dev": [queries["b"], queries["log"]], "test": [queries["test"]]}
    rules = {"normalize": "min-max", "windows": 2, "source_within": 0, "drop_lowest": 0.0}
    rules |= {"false_negatives": "keep", "false_negative_share": 0.95}
    said: dict[str, Any] = {}

    def make(_, work, *, reads, **__):
        said.update(account=work(tmp_path, None), reads=reads)

    given = ProvidedQueries([*queries.values()], examples)
    inputs = SimpleNamespace(provided_queries=given, has_rated_examples=True, corpus=SimpleNamespace(fingerprint=""))
    brought = SimpleNamespace(brings_queries=True, from_nway="lists", reranker=None)
    base = SimpleNamespace(ids=Ids(documents, {"d0": "long", "d1": "long"}))  # lists may be of passages
    run = SimpleNamespace(input=inputs, provided=brought, settings={"label": rules}, base=base, make=make)
    other = SimpleNamespace(name="other", fingerprint="", sides=lambda sampled: sides)
    provided.labeled(cast(Any, run), cast(Any, other), cast(Any, other))
    train, dev = ([*read_nway(tmp_path / f"{side}.jsonl")] for side in ("train", "dev"))
    assert [(example.query_id, example.doc_ids) for example in train] == [
        ("a", ("d0", "d1", "d2", "d3", "d4", "d5")),
        ("c", ("d0", "d2", "d1")),
    ]
    assert [(example.query_id, example.doc_ids[0], len(example.doc_ids)) for example in dev] == [
        ("b", "d0", 6),
        ("log", "d1", 2),
        ("b", "d5", 2),
    ]
    account = said["account"]
    assert (account.read, account.kept, account.dropped) == (6, 5, {"query is left out": 1})
    (teacher,) = account.notes["teachers"]
    assert teacher["nDCG@10"] == 0.75  # of b: third, and first; nobody knows what answers a query of a log
    assert "windows" not in said["reads"]


def test_an_example_without_an_id_is_of_the_document_with_its_text_if_there_is_one(tmp_path):
    """So that no query is written for it, and its document is not searched as if nothing had shown it."""
    rows = [{"_id": name, "text": f"The text of {name}."} for name in "ab"]
    (tmp_path / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    shown = [
        {"query": "of b", "document": " The text of b.\n"},
        {"query": "of nothing here", "document": "Another text."},
        {"query": "of a", "doc_id": "a"},
    ]
    (tmp_path / "examples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in shown))
    of = Input("x", str(tmp_path / "corpus.jsonl"), Provided(), tmp_path / "corpus")
    assert [pair.doc_id for pair in of.pairs(str(tmp_path / "examples.jsonl"))] == ["b", "", "a"]


def test_an_empty_run_of_a_first_stage_is_refused(tmp_path):
    (tmp_path / "first.trec").write_text("\n")
    with pytest.raises(DataError, match=r"first\.trec: is empty; expected a TREC run"):
        Input("x", "", Provided(first_stage=str(tmp_path / "first.trec")), tmp_path).check()
