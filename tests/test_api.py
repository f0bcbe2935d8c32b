"""acclimate from Python: what a run can be asked, and that each function does what its command does."""

from __future__ import annotations

import json
import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from api_home import at_home

import acclimate
import acclimate.llm
from acclimate.cli.main import main
from acclimate.stages.chain import STAGES


@pytest.fixture(scope="module")
def home(tiny_encoder, tmp_path_factory):
    with at_home(tmp_path_factory.mktemp("home"), tiny_encoder) as folder:
        yield folder


@pytest.fixture
def run(home):
    return acclimate.open(home / "run")


# A run


def test_the_report_is_a_mapping_with_attributes(run, home):
    report = run.report
    assert dict(report) == json.loads((home / "run" / "report.json").read_text())
    assert report.recommended in [system.name for system in report.systems]
    assert report.systems[0].measures["nDCG@10"] == max(system.measures["nDCG@10"] for system in report.systems)
    assert {row.system for row in report.comparisons} <= {system.name for system in report.systems}
    assert str(report).startswith(f"{report.verdict} on synthetic queries alone: ")
    assert report.verdict in repr(report)


def test_the_report_s_tables_are_data_frames(run):
    report = run.report
    systems = report.to_frame()
    assert list(systems["name"]) == [system.name for system in report.systems]
    assert {"nDCG@10", "R@100", "latency_ms_p50", "index_bytes"} <= set(systems.columns)
    assert len(report.to_frame("comparisons")) == len(report["comparisons"])
    steps = report.to_frame("steps")
    assert list(steps["to"]) == [step["to"] for step in report["steps"]]
    assert {"delta", "p", "adds", "latency_ms_from", "index_bytes_to"} <= set(steps.columns)
    assert list(report.to_frame("stages")["name"]) == [stage for stage in STAGES if stage != "seed"]


def test_a_notebook_shows_the_page_in_a_frame_that_runs_nothing(run):
    for page in (run.report, run.inspect(sample=3)):
        html = page._repr_html_()
        assert html.startswith("<iframe sandbox srcdoc=")
        assert html.count("<") == 2
        assert "allow-" not in html.partition("srcdoc=")[0]


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"verdict": 1}'])
def test_a_report_that_is_none_says_what_to_type(run, home, tmp_path, content):
    shutil.copytree(home / "run", tmp_path / "run")
    (tmp_path / "run" / "report.json").write_text(content)
    with pytest.raises(acclimate.DataError, match=r"report\.json"):
        acclimate.open(tmp_path / "run").report  # noqa: B018
    (tmp_path / "run" / "report.json").unlink()
    with pytest.raises(acclimate.DataError, match="acclimate report"):
        acclimate.open(tmp_path / "run").report  # noqa: B018
    assert acclimate.open(tmp_path / "run").write_report().verdict == run.report.verdict


def test_hits_have_the_document_and_what_each_member_says(run):
    for system in run.report.systems:
        hits = run.search("molten rock below the crust", k=7, system=system.name)
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
        parts = {name for name in system.weights if name in ("bm25", "dense")} or {system.name.partition("+")[0]}
        for hit in hits:
            assert hit.doc.text
            if len(parts) == 1 and system.kind not in ("hybrid", "reranked"):
                assert hit.members == {system.name: pytest.approx(hit.score)}
        if system.kind == "reranked":
            assert ["reranker" in hit.members for hit in hits] == [True] * 5 + [False] * 2


def test_a_list_of_hits_shows_each_in_a_line_however_long_its_document():
    doc = acclimate.Doc("d1", "molten rock " * 1000, "Volcano")
    shown = repr([acclimate.Hit(doc, 1.23456, "d1", {"bm25": 1.23456})])
    assert shown.startswith("[<Hit 'd1' 1.2346 (bm25 1.2346): Volcano molten rock")
    assert len(shown) < 150


def test_a_run_is_a_callable_from_queries_to_scored_documents(run):
    queries = {"b": "lava and ash", "a": "camel with a hump"}
    scored = run(queries, k=3, system="hybrid")
    assert scored == run([acclimate.Query("b", "lava and ash"), ("a", "camel with a hump")], k=3, system="hybrid")
    assert list(dict.fromkeys(hit.query_id for hit in scored)) == ["b", "a"]
    assert [hit.doc_id for hit in scored[:3]] == [
        hit.document_id for hit in run.search("lava and ash", 3, system="hybrid")
    ]
    assert run({}) == []
    assert [hit.query_id for hit in run({7: "lava and ash"}, k=1)] == ["7"]


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda run: run.search(" "), "QUERY is empty"),
        (lambda run: run.search(None), "QUERY is None"),
        (lambda run: run.search("lava", filters=0), "filters is 0"),
        (lambda run: run.search("lava", system=np.array([1, 2])), "no system named array"),
        (lambda run: run.excerpts("lava", None), "hits is None"),
        (lambda run: run.excerpts("lava", ["volcano.md"]), "expected what a search returned"),
        (lambda run: run.export(["sqlite"]), "no format to export named"),
        (lambda run: run(["ab"]), "'ab' is not a query; expected pairs"),
        (lambda run: run([1]), "1 is not a query"),
        (lambda run: run({"1": None}), "None. is not a query"),
        (lambda run: run([{"id": "1", "text": "lava"}]), "^{'id': '1', 'text': 'lava'} is not a query"),
        (lambda run: run([{"1", "lava"}]), "is not a query"),
        (lambda run: run(None), "queries is None; expected pairs"),
        (lambda run: run({"7": " "}), "query '7' is empty"),
        (lambda run: run([(["1"], "lava")]), r"the id of query 'lava' is \['1'\]; expected text"),
        (lambda run: run({True: "lava"}), "the id of query 'lava' is True"),
        (lambda run: run([("1", "lava"), (1, "ash")]), "query '1' appears twice, the second time as query 2"),
        (lambda run: run({"1": "lava \ud800"}), "query '1' has half a surrogate pair"),
        (lambda run: run.search("lava \ud800"), "QUERY has half a surrogate pair"),
        (lambda run: run.report.to_frame("system"), "Did you mean 'systems'"),
        (lambda run: run.search("x", k=0), "k is 0; expected a whole number: 1 to 100,000"),
        (lambda run: run.search("x", system="bm52"), "Did you mean 'bm25'"),
        (lambda run: run({"1": "x"}, system="bm25:adapted"), "no system named"),
        (lambda run: run.inspect(prompt="nothing"), "nothing"),
    ],
)
def test_what_a_run_cannot_be_asked_is_said(run, ask, message):
    with pytest.raises(acclimate.AcclimateError, match=message):
        ask(run)


def test_an_unfinished_run_says_how_to_go_on(home, tmp_path):
    unfinished = acclimate.sample(tmp_path / "run", corpus="docs/", progress=None)
    assert repr(unfinished) == f"Run({str(tmp_path / 'run')!r})"
    for ask in (lambda: unfinished.report, lambda: unfinished.search("x"), unfinished.curve, unfinished.inspect):
        with pytest.raises(acclimate.DataError, match="go on with: acclimate"):
            ask()
    with pytest.raises(acclimate.DataError, match="no run here"):
        acclimate.open(tmp_path)


# The command line is its twin


def printed(capsys, *arguments):
    assert main([str(argument) for argument in arguments]) == 0
    return capsys.readouterr().out


def test_the_same_run_comes_of_the_command_and_of_the_function(home, run, tmp_path, capsys):
    shown = printed(capsys, "adapt", "docs/", "--out", tmp_path / "typed")
    assert shown.startswith(f"{run.report.verdict} on synthetic queries alone: ")
    for stage in STAGES:
        if stage != "seed":
            manifests = [
                json.loads((folder / stage / "manifest.json").read_text())
                for folder in (run.folder, tmp_path / "typed")
            ]
            assert manifests[0]["checksum"] == manifests[1]["checksum"], stage


def test_commands_print_what_functions_return(home, run, capsys):
    hits = run.search("lava and ash", 2)
    assert printed(capsys, "search", "run", "lava and ash", "-k", 2) == "".join(
        f"{hit.lines(part)}\n" for hit, part in zip(hits, run.excerpts("lava and ash", hits), strict=True)
    )
    long = hits[0]._replace(doc=hits[0].doc._replace(text=f"{'nothing here ' * 50}but lava"))
    assert run.excerpts("lava and ash", [long])[0].endswith(" nothing here but lava")
    lines = printed(capsys, "search", "run", "lava and ash", "--json").splitlines()
    assert [json.loads(line) for line in lines] == [hit.as_dict() for hit in run.search("lava and ash")]
    assert printed(capsys, "search", "run", "烧水壶", "--system", "bm25", "--json") == ""
    assert main(["search", "run", "烧水壶", "--system", "bm25"]) == 0
    captured = capsys.readouterr()
    assert not captured.out
    assert captured.err.endswith("acclimate: no document contains a word of the query\n")
    where = ("--where", "doc_id^=vol", "--where", "doc_id<w")
    (line,) = printed(capsys, "search", "run", "lava and ash", *where, "--json").splitlines()
    assert json.loads(line)["doc_id"] == "volcano.md"
    assert main(["search", "run", "lava", "--where", "doc_id=x", "--system", "bm25"]) == 0
    assert capsys.readouterr().err.endswith("acclimate: no document with these fields fits the query\n")
    assert printed(capsys, "inspect", "run", "--sample", 3) == (
        f"{acclimate.open('run').inspect(sample=3)}\nPage: run/queries.html\n"
    )
    assert printed(capsys, "report", "run").startswith(f"{run.report}\n")
    assert printed(capsys, "doctor") == "".join(f"{check}\n" for check in acclimate.doctor())
    files = [Path("run/evaluate/qrels.trec"), *(Path(f"run/evaluate/runs/{name}.trec") for name in ("dense", "bm25"))]
    assert printed(capsys, "compare", *files) == f"{acclimate.compare(*files)}\n"
    assert printed(capsys, "cache", "verify", "run") == f"{len(run.answers)} answers, 0 damaged\n"
    assert "made already" in (main(["mine", "run"]), capsys.readouterr().err)[1]
    assert "\nround-trip" in printed(capsys, "filter", "run")


def test_a_plan_is_what_a_dry_run_prints(home, capsys):
    typed = printed(capsys, "adapt", "docs/", "--out", "planned", "--dry-run")
    planned = acclimate.plan("docs/", out="planned")
    assert [line.split()[0] for line in typed.splitlines() if line] == [
        line.split()[0] for line in planned.splitlines() if line
    ]
    assert not Path("planned").exists()


@pytest.mark.parametrize(
    ("wrong", "typed"),
    [
        ({"sample": {"n_doc": 5}}, ["--set", "sample.n_doc=5"]),
        ({"samples": {"n_docs": 5}}, ["--set", "samples.n_docs=5"]),
        ({"sample": {"n_docs": "many"}}, ["--set", "sample.n_docs=many"]),
        ({"train": {"epochs": -1}}, ["--set", "train.epochs=-1"]),
        ({"queries": "queries.jsonl"}, ["--queries", "queries.jsonl"]),
        ({"max_cost": {"generate": "much"}}, ["--max-cost", "generate=much"]),
        ({"max_tokens": -3}, ["--max-tokens=-3"]),
        ({"recipe": "quick", "prices": "nowhere.toml"}, ["--prices", "nowhere.toml"]),
    ],
)
def test_a_mistake_is_the_same_mistake_in_both(home, capsys, wrong, typed):
    with pytest.raises(acclimate.AcclimateError) as caught:
        acclimate.adapt("docs/", out="wrong", progress=None, **wrong)
    assert main(["adapt", "docs/", "--out", "wrong", *typed]) == 2
    assert capsys.readouterr().err == f"acclimate: {caught.value}\n"
    assert not Path("wrong").exists()


def test_what_is_no_path_is_never_taken_for_the_name_of_one(run, tmp_path):
    """Nor is it shown whole: a message with a hundred rows in it would help nobody."""
    rows = [{"_id": str(n), "text": "lava"} for n in range(100)]
    for name, call in (
        ("corpus", lambda: acclimate.adapt(3, out=tmp_path / "run")),
        ("out", lambda: acclimate.adapt("docs/", out=None)),
        ("out", lambda: run.export("sqlite", 3)),
        ("out", lambda: run.feedback(3)),
        ("recipe", lambda: acclimate.plan("docs/", out=tmp_path / "run", recipe=rows)),
        ("log", lambda: acclimate.adapt("docs/", out=tmp_path / "run", log=rows)),
        ("prices", lambda: acclimate.adapt("docs/", out=tmp_path / "run", prices=rows)),
        ("folder", lambda: acclimate.open(rows)),
        ("newdocs", lambda: run.update(3)),
        ("remove", lambda: run.update(remove=["1"])),
        ("llm", lambda: run.judge(llm=3)),
        ("corpus", lambda: acclimate.rerank("a.trec", "model", tmp_path / "b.trec", corpus=rows)),
        ("model", lambda: acclimate.rerank("a.trec", rows, tmp_path / "b.trec", corpus="docs")),
        ("source", lambda: acclimate.convert_model(rows, tmp_path / "model")),
    ):
        with pytest.raises(acclimate.SettingError, match=f"^{name} is .*; expected a path$") as error:
            call()
        assert len(str(error.value)) < 300
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("seed", [-1, "x", 1.5, {"n_docs": 5}])
def test_a_seed_that_is_none(home, seed):
    with pytest.raises(acclimate.SettingError, match=r"^seed is .*(; expected a whole number|settings={'seed': {'n_)"):
        acclimate.adapt("docs/", out="wrong", seed=seed)


@pytest.mark.parametrize("wrong", [{"sample": -1}, {"sample": "x"}, {"seed": 1.5}, {"prompt": 3}, {"reason": ["nope"]}])
def test_what_an_inspection_cannot_be_asked_for(run, wrong):
    with pytest.raises(acclimate.SettingError, match=r"; expected a whole number|^no (prompt|reason) named"):
        run.inspect(**wrong)


def test_threads_may_share_a_run_and_processes_get_its_folder(run):
    def ids(text, of=run):
        return [hit.document_id for hit in of.search(text, k=3, system="dense")]

    texts = [f"lava {word}" for word in "ice moon storm bread chess piano river desert".split()]
    alone = [ids(text) for text in texts]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(ids, texts * 5)) == alone * 5
    assert ids(texts[0], pickle.loads(pickle.dumps(run))) == alone[0]


def test_progress_is_told_stage_by_stage_and_nothing_is_printed(home, tmp_path, capsys):
    calls = []
    acclimate.generate(tmp_path / "run", corpus="docs/", progress=lambda *call: calls.append(call))
    assert list(dict.fromkeys(stage for stage, *_ in calls)) == ["index", "generate"]
    assert all(0 <= done <= total and unit for _, done, total, unit in calls)
    assert capsys.readouterr() == ("", "")


def test_what_a_callback_raises_ends_the_run_and_it_goes_on_later(home, tmp_path):
    class Enough(Exception):
        pass

    def stop(stage, done, total, unit):
        if stage == "generate":
            raise Enough

    with pytest.raises(Enough):
        acclimate.generate(tmp_path / "run", corpus="docs/", progress=stop)
    assert acclimate.generate(tmp_path / "run", progress=None).inspect().path.exists()
