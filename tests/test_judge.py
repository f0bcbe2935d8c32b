"""An LLM judges a finished run: what was found first is graded, nothing twice, and what is no grade counts nothing."""

from __future__ import annotations

import json
import re
import shutil
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from chain import SERVED, fake_answers
from files_page import undocumented
from reports import VERDICTS

import acclimate
import acclimate.llm
from acclimate.base.errors import BudgetExceeded, DataError, SettingError
from acclimate.base.testing import DOCS, QRELS, QUERIES, FakeLLM
from acclimate.cli.main import main
from acclimate.corpus.formats.trec import read_run
from acclimate.llm import prompts
from acclimate.measure import graded
from acclimate.records import Completion, Qrel, Query, ScoredDoc
from acclimate.report.formatting import signed
from acclimate.report.judgment import text
from acclimate.stages import judge
from acclimate.stages.evaluate import Evaluated
from acclimate.stages.pairs import pairs_of

pytest.importorskip("torch", reason="torch is not installed")


class Expert(FakeLLM):
    """Knows what answers a query: the words that it shares with a document say so."""

    asked: ClassVar[list[str]] = []
    stops_after = None

    def complete(self, prompts):
        cls = type(self)
        if cls.stops_after is not None and len(cls.asked) >= cls.stops_after:
            raise KeyboardInterrupt
        cls.asked += prompts
        return [Completion(self.said(prompt), (-0.1,), len(prompt.split()), 1, "stop") for prompt in prompts]

    def said(self, prompt):
        query, document = re.findall(r"Query: (.*)\nDocument: (.*)\nGrade:\Z", prompt)[0]
        shared = {*re.findall(r"\w{4,}", query)} & {*re.findall(r"\w{4,}", document.lower())}
        return f" {min(3, len(shared))}"


@pytest.fixture
def people_s_queries(tmp_path):
    path = tmp_path / "queries.jsonl"
    path.write_text("".join(json.dumps({"_id": q.query_id, "text": q.text}) + "\n" for q in QUERIES[:24]))
    return path


@pytest.fixture
def expert(monkeypatch):
    """Whatever LLM is named, the expert answers; it is the class that was asked."""

    class Fresh(Expert):
        asked: ClassVar[list[str]] = []

    monkeypatch.setattr(acclimate.llm, "load", lambda name, **_: Fresh())
    return Fresh


def judged(run, queries=None, **options):
    """On the held-out synthetic queries, which were searched already, where none are given."""
    return acclimate.open(run).judge(queries=queries, n=20, progress=None, **options)


def test_everything_that_a_system_finds_first_is_graded_and_all_systems_are_measured(copied, people_s_queries, expert):
    judgment = judged(copied, people_s_queries)
    rows = [json.loads(line) for line in (copied / "judge" / "pairs.jsonl").read_text().splitlines()]
    grades = {(row["query_id"], row["doc_id"]) for row in rows if not row["control"]}
    runs = list((copied / "judge" / "runs").glob("*.trec"))
    assert len(runs) == len(judgment["systems"]) > 5
    for path in runs:
        hits = [(hit.query_id, hit.doc_id) for hit in read_run(path)]
        for query_id in {query_id for query_id, _ in hits}:
            first = [hit for hit in hits if hit[0] == query_id][:10]
            assert {*first} <= grades, path
    counts = dict.fromkeys(("nothing_relevant", "same_text", "learned", "chose"), 0)
    assert judgment["queries"] == {"count": 20, "of": 24, "split": "given", **counts}
    assert sum(row["control"] for row in rows) == 20
    assert judgment["unreadable"] == 0 and judgment["told_apart"] > 0.75 and judgment["usable"]
    assert judgment["pairs"] == len(rows) == len(expert.asked)


def test_the_report_rests_on_the_grades_and_says_so(copied, people_s_queries, expert, monkeypatch, caplog):
    before = acclimate.open(copied).report
    assert before.verdict_basis == "synthetic"
    assert str(before).startswith(f"{before.verdict} on synthetic queries alone: ")
    assert "Nobody asked these queries" in before["verdict_note"]
    judgment = judged(copied, people_s_queries, llm=before["models"]["llm"])
    report = acclimate.open(copied).report
    assert (report.verdict, report.verdict_basis) == (judgment["verdict"], "judge")
    assert {system["name"]: system["measures"] for system in report["systems"]} == {
        system["name"]: system["measures"] for system in judgment["systems"]
    }
    assert str(report).startswith(f"{report.verdict} by an LLM's grades: ")
    assert "There are no human grades" in report.verdict_note
    assert report["queries"]["count"] == 20 and "given queries" in " ".join(str(report).split())
    assert judgment["also_in"] == ["generate"]
    own = f"{judgment['llm']} was also used in generate, and an LLM favors its own output."
    assert f"{own[:-1]}; --llm names another" in caplog.text  # before it is asked
    assert own in report.warnings and own in " ".join(str(judgment).split())
    assert "by an LLM&#39;s grades" in (copied / "report.html").read_text()
    notes = {"split": "synthetic", "approximate_recall": {"dense": 0.5}}  # of the systems, whatever measured them
    monkeypatch.setattr(Evaluated, "notes", notes, raising=False)
    again = acclimate.open(copied).write_report()
    assert again.verdict_basis == "judge" and any("finds 50.0% of the" in warning for warning in again.warnings)


def test_a_killed_command_asks_nothing_twice_and_comes_to_the_same(copied, expert, tmp_path):
    whole = tmp_path / "whole"
    shutil.copytree(copied, whole)
    judged(whole)
    n_asked, names = len(expert.asked), ("pairs.jsonl", "qrels.trec", "queries.jsonl", "examples.jsonl")
    expert.asked.clear()
    expert.stops_after = n_asked // 2
    with pytest.raises(KeyboardInterrupt):
        judged(copied)
    assert not (copied / "judge" / "manifest.json").exists()
    assert acclimate.open(copied).report.verdict_basis == "synthetic"
    expert.stops_after = None
    judged(copied)
    assert len(expert.asked) == n_asked
    for name in names:
        assert (copied / "judge" / name).read_bytes() == (whole / "judge" / name).read_bytes()
    judged(copied)  # made already
    assert len(expert.asked) == n_asked


def test_an_answer_that_is_no_grade_is_counted_and_left_out(copied, expert):
    plain = judged(copied)
    expert.said = lambda self, prompt: (
        Expert.said(self, prompt) if "the" not in prompt.partition("Grade: 0")[2] else "I cannot say."
    )
    judgment = judged(copied, prompt="grade")
    rows = [json.loads(line) for line in (copied / "judge" / "pairs.jsonl").read_text().splitlines()]
    silent = [row for row in rows if row["grade"] is None]
    assert len(silent) == judgment["unreadable"] > 0 and {row["answer"] for row in silent} == {"I cannot say."}
    qrels = (copied / "judge" / "qrels.trec").read_text().splitlines()
    assert len(qrels) == len(rows) - len(silent) - sum(row["control"] and row["grade"] is not None for row in rows)
    manifest = json.loads((copied / "judge" / "manifest.json").read_text())
    assert manifest["dropped"] == {"no grade in the answer": manifest["in"] - manifest["out"]} != {}
    assert (manifest["in"], manifest["out"]) == (len(rows), len(rows) - len(silent))
    assert plain["unreadable"] == 0 and "were not a grade" in " ".join(str(judgment).split())


def test_what_has_no_grade_is_taken_out_of_a_ranking_and_not_taken_for_a_0():
    run = [ScoredDoc("q", doc_id, -rank) for rank, doc_id in enumerate("abcd")]
    whole = graded.values_of(run, [Qrel("q", "a", 0), Qrel("q", "b", 3), Qrel("q", "c", 1)])
    hole = graded.values_of(run, [Qrel("q", "b", 3), Qrel("q", "c", 1)])
    assert hole["nDCG@10"]["q"] == 1.0 > whole["nDCG@10"]["q"]
    assert (whole["RR@10"]["q"], hole["RR@10"]["q"]) == (0.5, 1.0)  # of grade 2 and 3
    assert graded.values_of(run, [Qrel("q", "a", 1)])["Success@5"] == {"q": 0.0}


@pytest.mark.parametrize(
    ("told_apart", "unreadable", "usable"), [(0.7, 5, True), (0.69, 0, False), (1.0, 6, False), (0.5, 9, False)]
)
def test_a_judge_tells_found_from_drawn_and_mostly_gives_grades(told_apart, unreadable, usable):
    assert judge._is_usable(told_apart, unreadable, 10) == usable


def test_a_control_is_drawn_by_seed_from_what_was_not_found():
    documents, queries = {f"d{n:02}": None for n in range(30)}, [Query(f"q{n}", "?") for n in range(20)]
    pool = {query.query_id: ["d03", "d07"] for query in queries}
    drawn = []
    for seed in (0, 0, 1):
        run: Any = SimpleNamespace(seed=seed, input=SimpleNamespace(documents=documents))
        pairs = list(pairs_of(run, queries, pool))
        assert [pair.doc_id for pair in pairs if not pair.is_control] == ["d03", "d07"] * 20
        drawn.append([pair.doc_id for pair in pairs if pair.is_control])
    assert drawn[0] == drawn[1] != drawn[2] and len(drawn[0]) == 20
    assert len({*drawn[0]}) > 5 and not {"d03", "d07"} & {*drawn[0]}
    assert not any(pair.is_control for pair in pairs_of(run, queries, {key: [*documents] for key in pool}))


@pytest.mark.parametrize(
    ("answer", "said"), [("No idea.", "no readable grade"), ("0", "pairs 0; there is nothing to measure on")]
)
def test_an_llm_without_grades_is_refused(copied, expert, answer, said, monkeypatch):
    monkeypatch.setattr(judge, "PROBE_PAIRS", 5)
    expert.said = lambda self, prompt: answer
    with pytest.raises(SettingError, match=said):
        judged(copied)
    assert not (copied / "judge" / "manifest.json").exists()
    assert (len(expert.asked) == 5) == (answer == "No idea.")


def test_an_llm_that_does_not_tell_found_from_drawn_decides_nothing(copied, expert):
    expert.said = lambda self, prompt: str(len(prompt) % 4)
    judgment = judged(copied)
    lines = " ".join(str(judgment).split())
    assert not judgment["usable"] and "cannot judge these documents: it hardly distinguishes" in lines
    assert "grades: " not in lines and "no verdict" in repr(judgment)  # as a verdict has it
    report = acclimate.open(copied).report
    assert any("cannot judge these documents" in warning for warning in report.warnings)
    assert report.verdict_basis == "synthetic" and report["judge"]["usable"] is False


def test_people_s_grades_say_how_far_to_trust_the_llm_and_correct_it(copied, people_s_queries, expert, tmp_path):
    path = tmp_path / "grades.tsv"
    by_people = [
        Qrel(query.query_id, doc.doc_id, int(doc.doc_id == qrel.doc_id))
        for query, qrel in zip(QUERIES[:12], QRELS, strict=False)
        for doc in DOCS
    ]
    path.write_text("".join(f"{qrel.query_id} 0 {qrel.doc_id} {qrel.relevance}\n" for qrel in by_people))
    judgment = judged(copied, people_s_queries, grades=path)
    agreed = judgment["agreement"]
    assert agreed["queries"] == 12 and agreed["binary"] and 0 < agreed["weighted"]["kappa"] <= 1
    rows = {row["system"]: row for row in judgment["prediction_powered"]}
    assert rows.keys() == {system["name"] for system in judgment["systems"]}
    for row in rows.values():
        assert (row["people_queries"], row["judged_queries"]) == (12, 8)
        assert row["ci95"][0] <= row["mean"] <= row["ci95"][1]
    printed = " ".join(str(judgment).split())
    differences = [row["difference"] for row in rows.values() if "difference" in row]
    assert differences and all(" ".join(map(signed, each["ci95"])) in printed for each in differences)
    assert "Prediction-powered: human grades" in printed and "Cohen's kappa" in printed
    assert undocumented(copied) == set()
    assert judgment["judge_verdict"] in VERDICTS
    for verdict in VERDICTS:
        printed = " ".join(text({**judgment, "judge_verdict": verdict}).split())
        assert ("human grades do not confirm it" in printed) == (verdict != judgment["verdict"])


def test_without_queries_of_people_the_held_out_synthetic_ones_are_judged(copied, expert):
    judgment = acclimate.open(copied).judge(n=20, progress=None)
    assert judgment["queries"]["split"] == "synthetic"
    assert not (copied / "judge" / "runs").exists()  # they were searched already
    assert "Scores on such queries are usually too high" in " ".join(str(acclimate.open(copied).report).split())


def test_a_budget_ends_it_and_what_was_answered_is_kept(copied, expert):
    with pytest.raises(BudgetExceeded):
        judged(copied, max_tokens={"judge": 50})
    assert expert.asked
    n_asked = len(expert.asked)
    judged(copied)
    assert len(set(expert.asked)) == len(expert.asked) > n_asked


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"llm": "openai:gpt-4o"}, "OPENAI_API_KEY"),
        ({"llm": "nowhere/no-model"}, "nowhere/no-model"),
        ({"prompt": "umbrella"}, "no prompt of a judge"),
        ({"log": "log.txt", "queries": "queries.jsonl"}, "give one of them"),
        ({"depth": 5}, "10 to 100"),
    ],
)
def test_what_cannot_be_is_refused_before_work_begins(copied, options, said, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with fake_answers(), pytest.raises(acclimate.AcclimateError, match=said):
        judged(copied, **options)
    assert not (copied / "judge").exists()


def test_grades_of_other_queries_are_refused(copied, people_s_queries, expert, tmp_path):
    (tmp_path / "grades").write_text("other 0 d01 1\n")
    with pytest.raises(DataError, match="none of its queries, such as 'other', is among those to judge on"):
        judged(copied, people_s_queries, grades=tmp_path / "grades")
    (tmp_path / "grades").write_text("q00 0 d999 1\n")
    with pytest.raises(DataError, match=r"document 'd999' is graded here.*remove the lines"):
        judged(copied, people_s_queries, grades=tmp_path / "grades")


def test_the_command_is_its_twin(copied, expert, capsys):
    assert main(["judge", str(copied), "--n", "20"]) == 0
    out = capsys.readouterr().out
    assert "by an LLM's grades: " in out and str(copied / "judge" / "pairs.jsonl") in out
    assert main(["judge", str(copied), "--n", "7"]) == 2
    assert "20 to 200" in capsys.readouterr().err


def test_the_prompt_asks_for_the_four_grades_and_goes_around_any_text():
    prompt = prompts.judge("relevance")
    assert all(f"\n{grade}: " in prompt.instruction for grade in range(4))
    assert prompt.render("a {query} in braces", "{document}").endswith(
        "Query: {document}\nDocument: a {query} in braces\nGrade:"
    )


def test_an_empty_name_of_an_llm_is_not_that_of_another(finished, monkeypatch):
    monkeypatch.setattr("acclimate.llm.load", SERVED)
    with pytest.raises(acclimate.SettingError, match=r"^no model at ''"):
        acclimate.open(finished).judge(llm="", progress=None)
