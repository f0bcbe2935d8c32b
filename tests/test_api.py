"""acclimate from Python: its names, their examples, and that each function does what its command does."""

from __future__ import annotations

import ast
import doctest
import inspect
import json
import pickle
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import acclimate
import acclimate.llm
from acclimate.base.testing import DOCS, QUERIES, FakeLLM
from acclimate.cli.main import main
from acclimate.run.settings import Layer, Recipe, settings_of
from acclimate.stages.chain import STAGES

EXAMPLES = Path(__file__).parents[1] / "examples"
TINY = {
    "sample": {"n_docs": 500, "dev_share": 0.3, "min_chars": 40},  # as the examples say
    "index": {"max_tokens": 48},
    "generate": {"max_doc_tokens": 30},
    "mine": {"n_ways": 3},
    "train": {"batch_size": 4, "max_tokens": 48},
    "label": {"n_ways": 8},
    "distill": {"epochs": 1},
    "evaluate": {"rerank_depth": 5},
}


@pytest.fixture(scope="module")
def home(tiny_encoder, tmp_path_factory):
    """A folder with `docs/` and the finished `run` of it, in which the recipe `quick` is a tiny one."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "docs").mkdir()
    for doc in DOCS:
        name = doc.title.lower().replace(" ", "-")
        (folder / "docs" / f"{name}.md").write_text(f"# {doc.title}\n\n{doc.text}\n", encoding="utf-8")
    tiny = {stage: dict(settings) for stage, settings in TINY.items()}
    for stage, setting in (("generate", "llm"), ("train", "base"), ("distill", "base")):
        tiny[stage][setting] = str(tiny_encoder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(acclimate.llm, "load", lambda name, **_: FakeLLM())
        for module in ("adapt", "stages"):
            patch.setattr(
                f"acclimate.api.{module}.load_recipe", lambda name: Recipe(name, "", "", (Layer(name, tiny),))
            )
        patch.chdir(folder)
        acclimate.adapt("docs/", out="run", progress=None)
        yield folder


@pytest.fixture
def run(home):
    return acclimate.open(home / "run")


@pytest.fixture
def pyterrier(monkeypatch):
    """As much of PyTerrier as a transformer needs, where it is not installed."""

    class Transformer:
        def transform(self, frame): ...

        def __call__(self, frame):
            return self.transform(frame)

        def search(self, query, qid="1"):
            import pandas

            return self.transform(pandas.DataFrame([[qid, query]], columns=["qid", "query"]))

    def query_frame(frame, extra_columns):
        if not {"qid", *extra_columns} <= set(frame.columns) or "docno" in frame:
            raise ValueError(frame.columns)

    fake = types.SimpleNamespace(Transformer=Transformer, validate=types.SimpleNamespace(query_frame=query_frame))
    monkeypatch.setitem(sys.modules, "pyterrier", fake)


# The names


def test_every_public_name_is_there_and_no_other():
    assert sorted(acclimate.__all__) == sorted(acclimate._HOME_OF)
    assert acclimate.__all__ == sorted(acclimate.__all__)
    assert dir(acclimate) == sorted([*acclimate.__all__, "__version__"])
    for name in acclimate.__all__:
        assert getattr(acclimate, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        getattr(acclimate, "nothing")  # noqa: B009 (a name that type checkers know is not there)


def test_an_editor_sees_the_names_where_they_come_from():
    tree = ast.parse(Path(acclimate.__file__).read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module != "typing"]
    seen = {
        name.name: node.module
        for node in imports
        for name in node.names
        if name.name not in ("import_module", "__version__")
    }
    assert seen == acclimate._HOME_OF


def test_no_public_name_is_that_of_a_room():
    rooms = {path.stem for path in Path(acclimate.__file__).parent.iterdir()}
    assert rooms.isdisjoint(acclimate.__all__)


def test_importing_is_quick_and_silent_and_loads_nothing():
    code = (
        "import logging, sys, time; before = set(sys.modules); start = time.perf_counter(); import acclimate\n"
        "seconds = time.perf_counter() - start; ours = {n for n in sys.modules if n.startswith('acclimate.')}\n"
        "ours -= {'acclimate.base', 'acclimate.base.version'}\n"
        "print(seconds < 0.3, ours, 'cyclopts' in sys.modules, logging.root.handlers)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("True set() False []\n", "")


def test_functions_are_used_without_torch_until_a_model_is_needed():
    code = (
        "import sys, acclimate; [getattr(acclimate, name) for name in acclimate.__all__]\n"
        "print([name for name in ('torch', 'transformers', 'cyclopts', 'pandas', 'tqdm') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


@pytest.mark.parametrize("name", acclimate.__all__)
def test_every_name_has_an_example_that_runs(name, home, pyterrier):
    names = {"acclimate": acclimate, "Path": Path}
    found = doctest.DocTestFinder().find(getattr(acclimate, name), name, module=False, globs=names)  # of methods, too
    examples = [example for example in found if example.examples]
    assert name in [example.name for example in examples], f"{name} has no example"
    for example in examples:
        said: list[str] = []
        result = doctest.DocTestRunner(verbose=False).run(example, out=said.append)
        assert result.failed == 0, "".join(said)


def test_the_page_on_python_is_true(home, tmp_path, monkeypatch):
    shutil.copytree(home / "docs", tmp_path / "docs")
    shutil.copytree(home / "run", tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    page = EXAMPLES.parent / "docs" / "python.md"
    assert doctest.testfile(str(page), module_relative=False).failed == 0


def test_the_tutorial_can_be_typed_as_it_stands(home, tmp_path, monkeypatch, capsys):
    shutil.copytree(home, tmp_path / "home")
    monkeypatch.chdir(tmp_path / "home")
    text = (EXAMPLES.parent / "docs" / "tutorial.md").read_text(encoding="utf-8")
    typed = [line for block in re.findall(r"^```\n(.*?)^```", text, re.M | re.S) for line in block.splitlines()]
    commands = [shlex.split(line)[1:] for line in typed if line.startswith("acclimate ")]
    assert len(commands) >= 6
    for words in commands:
        assert main(words) == 0, words
        assert capsys.readouterr().out, words


def test_what_the_page_on_engines_says_in_python_is_true(home, tmp_path, monkeypatch, capsys):
    shutil.copytree(home / "run", tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    assert main(["export", "run", "sqlite"]) == 0
    capsys.readouterr()
    text = (EXAMPLES.parent / "docs" / "exports.md").read_text(encoding="utf-8")
    for block in re.findall(r"^```python\n(.*?)^```", text, re.M | re.S):
        exec(compile(block, "exports.md", "exec"), {})
    assert "volcano.md" in capsys.readouterr().out


@pytest.mark.parametrize("page", ["labels", "query-log", "languages", "long-documents"])
def test_what_how_to_pages_say_could_begin(page, home, tmp_path, monkeypatch, capsys):
    shutil.copytree(home / "docs", tmp_path / "docs")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    (tmp_path / "searches.csv").write_text("search term,count\nwhy does lava erupt,7\n")
    text = (EXAMPLES.parent / "docs" / "how-to" / f"{page}.md").read_text(encoding="utf-8")
    for language, name in (("json", "queries.jsonl"), ("text", "qrels.tsv")):
        for block in re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S):
            (tmp_path / name).write_text(block)
    commands = [shlex.split(line)[1:] for line in text.splitlines() if line.startswith("acclimate adapt ")]
    assert commands
    for words in commands:
        assert main([*words, "--dry-run"]) == 0, capsys.readouterr().err


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_s_function_has_the_stage_s_settings(stage):
    function = getattr(acclimate, stage)
    parameters = inspect.signature(function).parameters
    for setting in settings_of(STAGES[stage]).values():
        assert parameters[setting.name].default == setting.default
        assert f"\n{setting.name}\n    {setting.help}" in function.__doc__


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
    html = run.report._repr_html_()
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


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda run: run.search(" "), "QUERY is empty"),
        (lambda run: run.search(None), "QUERY is None"),
        (lambda run: run(["ab"]), "'ab' is no query; expected pairs"),
        (lambda run: run([1]), "1 is no query"),
        (lambda run: run({"1": None}), "None. is no query"),
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


# PyTerrier


def test_a_transformer_keeps_pyterrier_s_contract(run, pyterrier):
    import pandas

    queries = pandas.DataFrame(
        [["2", "lava and ash", "x"], ["1", "zzz", "y"], ["3", "camel", "z"]], columns=["qid", "query", "more"]
    )
    results = run.terrier(k=4, system="hybrid")(queries)
    assert {"qid", "query", "more", "docno", "score", "rank"} == set(results.columns)
    for qid, rows in results.groupby("qid"):
        assert list(rows["rank"]) == list(range(len(rows)))
        assert list(rows["score"]) == sorted(rows["score"], reverse=True)
        text = queries.set_index("qid")["query"][qid]
        assert list(rows["docno"]) == [hit.document_id for hit in run.search(text, 4, "hybrid")]
    assert run.terrier()(queries.head(0)).empty
    for other in (results, queries.drop(columns="query")):
        with pytest.raises(ValueError, match="qid"):
            run.terrier()(other)


def test_without_pyterrier_a_transformer_says_what_to_install(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyterrier", None)
    with pytest.raises(acclimate.MissingExtra, match=r"pip install 'acclimate\[terrier\]'"):
        run.terrier()


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
    assert printed(capsys, "search", "run", "lava and ash", "-k", 2) == "".join(
        f"{hit}\n" for hit in run.search("lava and ash", 2)
    )
    assert main(["search", "run", "烧水壶", "--system", "bm25"]) == 0
    captured = capsys.readouterr()
    assert not captured.out
    assert captured.err.endswith("acclimate: no document has a word of the query\n")
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


@pytest.mark.parametrize("seed", [-1, "x", 1.5])
def test_a_seed_that_is_none(home, seed):
    with pytest.raises(acclimate.SettingError, match=r"seed is .*; expected a whole number"):
        acclimate.adapt("docs/", out="wrong", seed=seed)


@pytest.mark.parametrize("wrong", [{"sample": -1}, {"sample": "x"}, {"seed": 1.5}, {"prompt": 3}, {"reason": "nope"}])
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


# Examples


def example(name, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")


def test_adapting_with_a_callback(home, monkeypatch, capsys):
    example("adapt.py", monkeypatch, "docs/", "run")
    shown = capsys.readouterr().out
    assert shown.startswith("NO DIFFERENCE (measured on synthetic)\n")
    assert shown.count("serve this") == 1


def test_measuring_with_other_measures(home, monkeypatch, capsys):
    names = [f"{doc.title.lower().replace(' ', '-')}.md" for doc in DOCS]
    Path("queries.jsonl").write_text(
        "".join(json.dumps({"_id": query.query_id, "text": query.text}) + "\n" for query in QUERIES[:8])
    )
    Path("qrels.tsv").write_text(
        "query-id\tcorpus-id\tscore\n"
        + "".join(f"{query.query_id}\t{name}\t1\n" for query, name in zip(QUERIES[:8], names, strict=False))
    )
    example("measure.py", monkeypatch, "run", "queries.jsonl", "qrels.tsv")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(acclimate.open("run").report.systems)
    assert all("nDCG@10 " in line and "P@5 0." in line for line in lines)


def test_a_run_in_pyterrier(home, pyterrier, monkeypatch, capsys):
    example("terrier.py", monkeypatch, "run", "lava and ash")
    assert capsys.readouterr().out.count("volcano.md") == 2


def test_the_notebook_runs_from_its_first_cell_to_its_last(home):
    """Its code in one namespace, with other documents; what a cell ends with is shown as in a notebook."""
    notebook = json.loads((EXAMPLES / "quickstart.ipynb").read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert cells[0]["metadata"]["tags"] == ["parameters"]
    namespace: dict[str, object] = {}
    exec("".join(cells[0]["source"]), namespace)
    namespace |= {"corpus": "docs/", "settings": {}, "query": "lava and ash"}
    shown = []
    for cell in cells[1:]:
        assert cell["outputs"] == []
        *body, last = ast.parse("".join(cell["source"])).body
        exec(compile(ast.Module(body, []), "quickstart.ipynb", "exec"), namespace)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), "quickstart.ipynb", "eval"), namespace)
            shown.append(value._repr_html_() if hasattr(value, "_repr_html_") else repr(value))
        else:
            exec(compile(ast.Module([last], []), "quickstart.ipynb", "exec"), namespace)
    assert shown[0].startswith("<iframe sandbox")
    assert "volcano.md" in shown[-2]
    assert "nDCG@10: " in shown[-1]
