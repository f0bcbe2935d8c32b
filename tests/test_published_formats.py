"""Every published format goes all the way: to a run whose adapted student ranks, the same that our own files make.

One subject lies in everybody's layout (published.py; published_cases.py says what each is to us). Our own files of it
make a run of each kind; a published file that says the same must make that very run: nothing of it is made again.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import published as p
import pytest
from chain import made_again, report_of

import acclimate
from acclimate.cli.main import main
from acclimate.corpus.formats.registry import FORMATS, recognize

pytestmark = pytest.mark.usefixtures("fake_llm")
from published_cases import CASES, CONTRASTIVE, JUDGED, OURS, PLAIN, TAUGHT, TITLED


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
