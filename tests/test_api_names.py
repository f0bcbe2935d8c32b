"""The names of acclimate: which there are, and that what docstrings, pages and examples say of them runs."""

from __future__ import annotations

import ast
import doctest
import inspect
import json
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import types
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
from api_home import at_home

import acclimate
import acclimate.llm
from acclimate.base.testing import DOCS, QUERIES
from acclimate.cli.main import main
from acclimate.run.settings import settings_of
from acclimate.stages.chain import STAGES

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(scope="module")
def home(tiny_encoder, tmp_path_factory):
    with at_home(tmp_path_factory.mktemp("home"), tiny_encoder) as folder:
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

    fake = types.SimpleNamespace(
        __spec__=ModuleSpec("pyterrier", None),  # doctor looks for it
        Transformer=Transformer,
        validate=types.SimpleNamespace(query_frame=query_frame),
    )
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
    lines = text.replace("\\\n", " ").splitlines()
    commands = [shlex.split(line)[1:] for line in lines if line.startswith("acclimate adapt ")]
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
    assert run.terrier(k=4, system="hybrid")(queries.assign(score=7.0, rank=7)).equals(results)
    for other in (results, queries.drop(columns="query")):
        with pytest.raises(ValueError, match="qid"):
            run.terrier()(other)


def test_without_pyterrier_a_transformer_says_what_to_install(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyterrier", None)
    with pytest.raises(acclimate.MissingExtra, match=r"pip install 'acclimate\[terrier\]'"):
        run.terrier()


# Examples


def example(name, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")


def test_adapting_with_a_callback(home, monkeypatch, capsys):
    example("adapt.py", monkeypatch, "docs/", "run")
    shown = capsys.readouterr().out
    assert shown.startswith("NO DIFFERENCE (measured on synthetic)\n")
    assert shown.count("recommended") == 1


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


def test_retrieving_for_an_llm(home, monkeypatch, capsys):
    Path("rows.jsonl").write_text("".join(json.dumps({"_id": doc.doc_id, "text": doc.text}) + "\n" for doc in DOCS))
    example("retriever.py", monkeypatch, "rows.jsonl", "retrieved", "molten rock below the crust")
    shown = capsys.readouterr().out
    assert f"\n[1] {DOCS[0].doc_id}\n{DOCS[0].text}\n" in shown
    assert "\n[3] " in shown


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
