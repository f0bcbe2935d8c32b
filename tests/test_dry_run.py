"""A dry run: what would be done and asked, stage by stage, and that nothing is."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from chain import write_corpus

from acclimate.base.files import read_json
from acclimate.cli.main import main
from acclimate.stages.chain import STAGES


@pytest.fixture
def documents(tmp_path) -> str:
    return str(write_corpus(tmp_path / "corpus.jsonl"))


@pytest.fixture
def out(tmp_path) -> str:
    return str(tmp_path / "run")


@pytest.fixture
def unfinished(documents, out, capsys) -> str:
    """A run that came no farther than its first two stages."""
    assert main(["sample", out, "--corpus", documents, "--n-docs", "5", "--min-chars", "40"]) == 0
    capsys.readouterr()
    return out


def test_a_dry_run_says_what_would_be_done_and_does_nothing(documents, out, tmp_path, capsys):
    recipe = tmp_path / "mine.toml"
    recipe.write_text("[sample]\nn_docs = 11\nmin_chars = 40\n")
    before = sorted(tmp_path.rglob("*"))
    assert (
        main(["adapt", documents, "--out", out, "--recipe", str(recipe), "--set", "sample.n_docs=9", "--dry-run"]) == 0
    )
    printed, _ = capsys.readouterr()
    assert all(stage in printed for stage in STAGES if stage != "seed")
    works_on = {line.split("  ")[0]: line for line in printed.splitlines()}
    assert " up to 9 queries " in works_on["mine"]
    assert " up to 2 queries " in works_on["evaluate"]  # a fifth is held out to measure on
    assert sorted(tmp_path.rglob("*")) == before


def test_a_dry_run_warns_of_what_a_run_would_warn_of(documents, out, capsys):
    for tokens, is_warned in ((8, True), (256, False)):
        assert main(["adapt", documents, "--out", out, "--set", f"index.max_tokens={tokens}", "--dry-run"]) == 0
        assert ("--set index.passage_words=150" in capsys.readouterr().out) == is_warned


def done(printed: str) -> list[str]:
    return [line.split()[0] for line in printed.splitlines() if line.endswith(" done")]


@pytest.mark.parametrize(
    ("again", "changes"),
    [
        ("", ()),
        ("evaluate", ("evaluate.feedback=false",)),
        ("distill evaluate", ("distill.learning_rate=0.1",)),
        ("filter steer mine train label distill evaluate", ("filter.round_trip_k=7",)),
        ("index filter steer mine train label distill evaluate", ("index.k1=1.5",)),
        ("sample generate filter steer mine train label distill evaluate", ("sample.n_docs=19",)),
    ],
)
def test_a_dry_run_of_a_finished_run_says_what_would_be_made_again(finished, run_adapt, capsys, again, changes):
    corpus = read_json(finished / "run.json")["corpus"]
    assert run_adapt(corpus, finished, "--dry-run", changes=changes) == 0
    assert done(capsys.readouterr().out) == [stage for stage in STAGES if stage not in (*again.split(), "seed")]


def test_what_a_dry_run_calls_done_is_not_made_again(copied, run_adapt, fake_llm, capsys):
    corpus, changes = read_json(copied / "run.json")["corpus"], ("evaluate.feedback=false",)
    assert run_adapt(corpus, copied, "--dry-run", changes=changes) == 0
    said = done(capsys.readouterr().out)
    assert run_adapt(corpus, copied, changes=changes) == 0
    again = capsys.readouterr().err
    assert len(said) == 9
    assert all(re.search(rf"^{stage} +made already", again, re.MULTILINE) for stage in said)


def test_a_dry_run_refuses_a_place_that_cannot_be_written(documents, out, monkeypatch, capsys):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # everything is writable for root
    assert main(["adapt", documents, "--out", out, "--dry-run"]) == 2
    assert capsys.readouterr().err == (
        f"acclimate: {Path(out).parent}: may not be written to; change its permissions, or use another folder or a "
        "copy\n"
    )


def test_a_dry_run_counts_the_calls_of_every_stage_that_asks_an_llm_and_needs_no_key_and_no_hub(documents, out, capsys):
    changes = ["generate.prompt=adapted", "sample.min_chars=40", "seed.n_docs=16", "filter.filters=judge"]
    changes += ["seed.llm=openai:gpt-4.1", "filter.llm=openai:nobody-knows"]
    changes += [f"{stage}.base=org/is-not-here" for stage in ("train", "distill")]
    sets = [part for change in changes for part in ("--set", change)]
    assert main(["adapt", documents, "--out", out, *sets, "--dry-run"]) == 0
    printed = capsys.readouterr().out
    calls = {line.split()[0]: re.findall(r"[\d,]+", line) for line in printed.splitlines() if line}
    assert calls["seed"][1] == "32"  # good and bad questions for 16 documents
    assert calls["generate"][1] == calls["filter"][1]
    assert "openai:gpt-4.1 costs at most $" in printed
    assert "price of openai:nobody-knows unknown" in printed


def test_a_dry_run_counts_every_reranker_and_student(documents, out, capsys, monkeypatch):
    monkeypatch.setattr("acclimate.report.plan._flop_per_second", lambda: 1e9)  # of a machine that is always as fast

    def times(*changes):
        sets = [
            part for change in ("sample.min_chars=40", "train.min_queries=1", *changes) for part in ("--set", change)
        ]
        assert main(["adapt", documents, "--out", out, *sets, "--dry-run"]) == 0
        return {line.split()[0]: line.split("queries")[-1] for line in capsys.readouterr().out.splitlines() if line}

    one, several = times(), times("train.rerankers=3")
    assert {stage for stage in STAGES if one.get(stage) != several.get(stage)} == {"label", "evaluate"}
    asked = times("train.rerankers=3", "label.weights=equal")
    assert {stage for stage in STAGES if asked.get(stage) != several.get(stage)} == {"label"}
    fewer = times("distill.student=static")
    assert {stage for stage in STAGES if one.get(stage) != fewer.get(stage)} == {"distill"}


def test_a_dry_run_leaves_a_begun_run_as_it_is(documents, unfinished, capsys):
    def state() -> dict[str, tuple[int, float]]:
        found = sorted(path for path in Path(unfinished).rglob("*") if path.is_file())
        return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in found}

    before = state()
    assert main(["adapt", documents, "--out", unfinished, "--dry-run"]) == 0
    assert "Nothing was run" in capsys.readouterr().out
    assert state() == before
