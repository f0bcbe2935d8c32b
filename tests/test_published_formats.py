"""Every published format goes all the way: to a run whose adapted student ranks, the same that our own files make.

One subject lies in everybody's layout (published.py). Our own files of it make a run of each kind; a published file
that says the same must make that very run: nothing of it is made again.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import published as p
import pytest
from chain import made_again, report_of

import acclimate
from acclimate.cli.main import main
from acclimate.corpus.formats.registry import FORMATS, recognize

pytestmark = pytest.mark.usefixtures("fake_llm")

TAUGHT = ("distill.student=dense-query", "distill.epochs=1", "evaluate.rerank=", "sample.dev_share=0.2")
CONTRASTIVE = (*TAUGHT, "distill.loss=contrastive")  # a student that learns from examples without scores


class Case(NamedTuple):
    """A published layout, how it is given, and which of our own files says the same."""

    write: Callable[[Path], None]
    format: str
    options: dict[str, str]  # option -> file in its folder
    like: str  # of OURS
    convert: tuple[str, ...] = ()  # before: FROM, TO and options, where adapt itself does not read it


def ours(number_of: Callable[[p.Subject], str] | None = None, *, log_probs: bool = False) -> Callable[[Path], None]:
    """Synthetic queries in our format. number_of: their ids; by default hashes of what they are."""
    from acclimate.corpus.formats import synthetic_id

    def write(folder: Path) -> None:
        rows = (
            {
                "query_id": number_of(s) if number_of else synthetic_id(str(s.number), s.query),
                "doc_id": str(s.number),
                "query": s.query,
            }
            | ({"log_probs": [-0.25, -0.5]} if log_probs else {})
            for s in p.SUBJECTS
        )
        p.put_jsonl(folder / "queries.jsonl", rows)

    return write


def examples(
    rows_of: Callable[[p.Subject], list[dict[str, object]]], number_of: Callable[[p.Subject], str] | None = None
) -> Callable[[Path], None]:
    """The same with training examples in our format. rows_of: those of a subject, without their query."""

    def write(folder: Path) -> None:
        ours(number_of)(folder)
        written = (folder / "queries.jsonl").read_text().splitlines()
        rows = (
            {"query_id": json.loads(line)["query_id"], **row}
            for line, s in zip(written, p.SUBJECTS, strict=True)
            for row in rows_of(s)
        )
        p.put_jsonl(folder / "nway.jsonl", rows)

    return write


def lists(s: p.Subject) -> list[dict[str, object]]:
    return [{"doc_ids": [str(doc.number) for doc in s.listed]}]


def scored(s: p.Subject) -> list[dict[str, object]]:
    return [{**lists(s)[0], "scores": list(p.SCORES)}]


def unsure(s: p.Subject) -> list[dict[str, object]]:
    return [{**scored(s)[0], "has_positive": False}]


def by_negative(s: p.Subject) -> list[dict[str, object]]:
    return [{"doc_ids": [str(s.number), str(doc.number)]} for doc in s.negatives]


def margins(s: p.Subject) -> list[dict[str, object]]:
    return [
        {**row, "scores": [p.SCORES[0] - score, 0.0]} for row, score in zip(by_negative(s), p.SCORES[1:], strict=True)
    ]


def number(s: p.Subject) -> str:
    return str(s.number)


def generated(s: p.Subject) -> str:
    """GPL's ids of queries."""
    return f"genQ{s.number}"


QUERIES, NWAY = {"--from-queries": "queries.jsonl"}, {"--from-nway": "nway.jsonl", "--from-queries": "queries.jsonl"}
OURS = {
    "queries": (ours(log_probs=True), QUERIES),
    "queries without log_probs": (ours(), QUERIES),
    "numbered queries": (ours(number), QUERIES),
    "GPL's queries": (ours(generated), QUERIES),
    "lists": (examples(lists), NWAY),
    "numbered lists": (examples(lists, number), NWAY),
    "GPL's lists": (examples(lists, generated), NWAY),
    "triples": (examples(by_negative), NWAY),
    "numbered triples": (examples(by_negative, number), NWAY),
    "scores": (examples(scored), NWAY),
    "numbered scores": (examples(scored, number), NWAY),
    "numbered scores, no positive": (examples(unsure, number), NWAY),
    "GPL's margins": (examples(margins, generated), NWAY),
}


def nway(write, form, file, like, queries="", **more) -> Case:
    return Case(write, form, {"--from-nway": file} | ({"--from-queries": queries} if queries else {}), like, **more)


def written(write, form, file, like, **more) -> Case:
    return Case(write, form, {"--from-queries": file}, like, **more)


CASES = [
    written(p.inpars_v1, "inpars-v1", "queries.jsonl", "queries"),
    written(p.inpars_v2, "inpars", "queries.jsonl", "queries"),
    written(p.inpars_plus, "inpars", "queries_Llama-3.1-8B_CoT_filtered_all.jsonl", "queries without log_probs"),
    written(p.synthetic, "synthetic", "queries.jsonl", "queries"),
    written(p.beir_train, "beir", ".", "numbered queries"),
    written(p.gpl_queries, "gpl", ".", "GPL's queries"),
    written(p.gpl_queries, "queries", "qgen-queries.jsonl", "GPL's queries"),
    written(p.udapdr, "qas", "qas.jsonl", "numbered queries"),
    written(p.llama_index, "llama-index", "dataset.json", "numbered queries"),
    nway(p.nway, "nway", "nway.jsonl", "numbered scores", "queries.tsv"),
    nway(p.colbert_triples, "colbert", ".", "numbered triples"),
    nway(p.colbert_triples, "colbert-triples", "triples.json", "numbered triples", "queries.tsv"),
    nway(p.colbert_examples, "colbert", ".", "numbered scores"),
    nway(p.colbert_examples, "colbert-examples", "examples.json", "numbered scores", "queries.tsv"),
    nway(p.colbert_scores, "colbert-scores", "distillation_scores.json", "numbered scores, no positive", "queries.tsv"),
    nway(p.udapdr_results, "udapdr-results", "results.tsv", "numbered scores", "questions.tsv"),
    nway(p.triples_ids, "triples-ids", "triples.tsv", "numbered triples", "queries.tsv"),
    nway(p.tuples_ids, "triples-ids", "tuples.tsv", "numbered lists", "queries.tsv"),
    nway(p.tuples_ids, "tuples-ids", "nway.jsonl", "numbered lists", "queries.tsv",
         convert=("tuples.tsv", "nway.jsonl", "--from", "tuples-ids")),
    nway(p.gpl_negatives, "gpl-negatives", "hard-negatives.jsonl", "GPL's lists", "qgen-queries.jsonl"),
    nway(p.gpl_training, "gpl-training", "gpl-training-data.tsv", "GPL's margins", "qgen-queries.jsonl"),
    nway(p.pylate, "pylate", ".", "numbered scores"),
    nway(p.pylate_train, "pylate-train", "train.parquet", "numbered scores", "queries.tsv"),
    nway(p.tevatron, "tevatron", "train.jsonl", "numbered lists"),
    nway(p.tevatron_v1, "tevatron-v1", "train.jsonl", "numbered lists"),
    nway(p.nemo, "nemo", ".", "numbered lists"),
    nway(p.nemo, "nemo", "train.json", "numbered lists"),
    nway(p.triples, "triples", "triples.tsv", "triples"),
    nway(p.triples_raw, "triples", "triples.train.tsv", "triples"),
    nway(p.triples_raw, "triples-raw", "triples.tsv", "triples",
         convert=("triples.train.tsv", "triples.tsv", "--from", "triples-raw", "--to", "triples")),
    nway(p.pairs, "pairs", "pairs.tsv", "lists"),
    nway(p.columns, "columns", "train", "lists"),
    nway(p.columns_jsonl, "columns", "train.jsonl", "lists"),
    nway(p.columns_csv, "columns", "train.csv", "lists"),
    nway(p.triplets, "columns", "triplets", "triples"),
    nway(p.columns_scores, "columns-scores", "train.parquet", "scores"),
    nway(p.columns_pairs, "columns-pairs", "pairs", "lists"),
    nway(p.columns_lists, "columns-lists", "lists.parquet", "scores"),
    nway(p.flag_embedding, "flagembedding", "train.jsonl", "scores"),
    nway(p.nemo_inline, "nemo-inline", "train.jsonl", "lists"),
    nway(p.nixietune, "nixietune", "train.jsonl", "lists"),
    nway(p.cohere, "cohere", "train.jsonl", "lists"),
    nway(p.ms_swift, "ms-swift", "train.jsonl", "lists"),
]  # fmt: skip


# How documents are given: a layout, its file in the folder, and where adapt itself does not read it, what it becomes.
TITLED = [
    (p.beir, "documents", "corpus.jsonl", ""),
    (p.beir, "beir", ".", ""),
    (p.gpl_queries, "gpl", ".", ""),
    (p.trec_docs, "trec-docs", "disk.sgml", ""),
    (p.hub_corpus, "documents", "corpus", "new.jsonl"),
    (p.saved_corpus, "documents", "corpus", "new.jsonl"),
]
PLAIN = [  # whose title is in the text
    (p.inpars_corpus, "documents", "corpus.csv", ""),
    (p.tevatron_corpus, "documents", "corpus.jsonl", ""),
    (p.collection, "documents-tsv", "collection.tsv", ""),
    (p.colbert_triples, "colbert", ".", ""),
    (p.pylate, "documents", "documents.parquet", ""),
    (p.pylate, "pylate", ".", "new.jsonl"),
    (p.nemo, "nemo", ".", "new.jsonl"),
    (p.llama_index, "llama-index", "dataset.json", "new.jsonl"),
]
# How judged queries and what a search engine found for them are given.
JUDGED = [
    (p.judged, ("--queries", "queries.jsonl", "--qrels", "qrels/test.tsv"), ("queries", "qrels"), "trec-run"),
    (p.trec, ("--queries", "topics.tsv", "--qrels", "qrels.txt"), ("queries-tsv", "trec-qrels"), "colbert-ranking"),
    (p.trec_topics, ("--queries", "topics.301-306", "--qrels", "qrels.txt"), ("trec-topics", "trec-qrels"), "trec-run"),
]


@pytest.fixture(scope="session")
def beir(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("published")
    p.beir(folder)
    return folder


@pytest.fixture(scope="session")
def plain(tmp_path_factory) -> Path:
    """The documents whose title is in the text, as ours."""
    path = tmp_path_factory.mktemp("plain") / "corpus.jsonl"
    p.put_jsonl(path, ({"_id": str(s.number), "text": s.default_text} for s in p.SUBJECTS))
    return path


@pytest.fixture(scope="session")
def run_of(beir, run_adapt, tmp_path_factory) -> Callable[[str], Path]:
    """The run that our own files of a kind make, made when it is first asked for."""
    runs: dict[str, Path] = {}

    def run(like: str, corpus: Path = beir, *more: str) -> Path:
        if (like, corpus, more) not in runs:
            folder, (write, options) = tmp_path_factory.mktemp("ours"), OURS[like]
            write(folder)
            assert run_adapt(corpus, folder / "run", *given(folder, options), *more, changes=taught(like)) == 0
            runs[like, corpus, more] = folder / "run"
        return runs[like, corpus, more]

    return run


def given(folder: Path, options: dict[str, str]) -> list[str]:
    return [part for option, name in options.items() for part in (option, str(folder / name))]


def taught(like: str) -> tuple[str, ...]:
    """Settings with which a student learns from what was given."""
    return CONTRASTIVE if "lists" in like or "triples" in like else TAUGHT


def check_finished(run: Path, **recorded: str) -> None:
    """It says what was given, and its adapted student ranks."""
    description = json.loads((run / "run.json").read_text())
    assert {name: description[name] for name in recorded} == recorded
    hits = acclimate.open(run).search("why does lava erupt", k=3, system="dense:adapted")
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert len({hit.document_id for hit in hits} & {str(s.number) for s in p.SUBJECTS}) == 3


def convert(folder: Path, source: str, target: str, *options: str) -> None:
    assert main(["convert", str(folder / source), str(folder / target), *options]) == 0


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.write.__name__}-{case.format}")
def test_a_published_file_makes_the_run_that_ours_makes(case, beir, run_of, run_adapt, tmp_path):
    case.write(tmp_path)
    first = next(iter(case.options.values()))
    if case.convert:
        assert case.convert[3] == case.format
        convert(tmp_path, *case.convert)
    else:
        assert recognize(tmp_path / first).name == case.format
    run = tmp_path / "run"
    shutil.copytree(run_of(case.like), run)
    assert run_adapt(beir, run, *given(tmp_path, case.options), changes=taught(case.like)) == 0
    assert made_again(run) == []
    check_finished(run, **{option[2:].replace("-", "_"): str(tmp_path / f) for option, f in case.options.items()})


@pytest.mark.parametrize(
    ("write", "form", "file", "target"), TITLED + PLAIN, ids=lambda value: getattr(value, "__name__", None)
)
def test_published_documents_make_the_run_that_ours_make(
    write, form, file, target, beir, plain, run_of, run_adapt, tmp_path, capsys
):
    write(tmp_path / "theirs")
    corpus, out = tmp_path / "theirs" / file, tmp_path / "run"
    assert recognize(corpus).name == form
    queries, (write_queries, _) = tmp_path / "queries.jsonl", OURS["queries"]
    write_queries(tmp_path)
    if target:
        assert run_adapt(corpus, out, "--from-queries", str(queries), changes=TAUGHT) == 2
        command = capsys.readouterr().err.rpartition("acclimate convert ")[2].split()  # which the error names
        corpus = tmp_path / command[1].replace("NEW", "new")
        assert main(["convert", command[0], str(corpus), *command[2:]]) == 0
    shutil.copytree(run_of("queries", plain if (write, form, file, target) in PLAIN else beir), out)
    assert run_adapt(corpus, out, "--from-queries", str(queries), changes=TAUGHT) == 0
    assert made_again(out) == []
    check_finished(out, corpus=str(corpus))


@pytest.mark.parametrize(("write", "options", "forms", "ranking"), JUDGED, ids=["beir", "trec", "topics"])
def test_published_judgments_and_runs_measure_as_ours_do(write, options, forms, ranking, beir, run_adapt, tmp_path):
    write(tmp_path)
    p.trec_run(tmp_path)
    p.colbert_ranking(tmp_path)
    run = tmp_path / {"trec-run": "run.txt", "colbert-ranking": "ranking.tsv"}[ranking]
    assert recognize(run).name == ranking
    for name, form in zip(options[1::2], forms, strict=True):
        assert recognize(tmp_path / name).name == form
    judged = [option if option.startswith("--") else str(tmp_path / option) for option in options]
    OURS["queries"][0](tmp_path / "ours")
    out = tmp_path / "run"
    start = ("--from-queries", str(tmp_path / "ours" / "queries.jsonl"), "--first-stage", str(run))
    assert run_adapt(beir, out, *judged, *start, changes=TAUGHT) == 0
    report = report_of(out)
    assert report["verdict_basis"] == "qrels"
    systems = {system["name"]: system["measures"] for system in report["systems"]}
    assert systems["first-stage"]["RR@10"] == 1
    check_finished(out, queries=judged[1], qrels=judged[3], first_stage=str(run))


@pytest.mark.parametrize("kind", ["search", "forum"])
def test_a_folder_of_lotte_brings_the_queries_that_measure(kind, run_adapt, tmp_path):
    p.lotte(tmp_path / "lotte")
    assert recognize(tmp_path / "lotte").name == "lotte"
    OURS["queries"][0](tmp_path)
    corpus, out = str(tmp_path / "lotte" / kind), tmp_path / "run"
    assert run_adapt(corpus, out, "--from-queries", str(tmp_path / "queries.jsonl"), changes=TAUGHT) == 0
    assert report_of(out)["queries"] | {"count": 12, "of": 12, "split": "test"} == report_of(out)["queries"]
    check_finished(out, corpus=corpus)


def test_no_format_is_without_a_fixture():
    forms = {case.format for case in CASES} | {form for _, form, _, _ in TITLED + PLAIN}
    forms |= {form for _, _, given, ranking in JUDGED for form in (*given, ranking)} | {"lotte"}
    assert forms == {form.name for form in FORMATS}


def test_given_scores_that_stay_as_they_are_are_logits(run_of, tmp_path):
    shutil.copytree(run_of("numbered scores"), tmp_path / "run")
    assert main(["label", str(tmp_path / "run"), "--normalize", "none"]) == 0
    notes = json.loads((tmp_path / "run" / "label" / "manifest.json").read_text())["notes"]
    shares = [math.exp(score) / sum(map(math.exp, p.SCORES)) for score in p.SCORES]
    entropy = -sum(share * math.log(share) for share in shares) / math.log(len(shares))
    assert notes["target_entropy"] == pytest.approx(entropy, abs=1e-3)
