"""What must stay true of the house: few rooms, small files, no circle, one home for each default, names that hold."""

from __future__ import annotations

import ast
import graphlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

from acclimate.base import text
from acclimate.run.settings import settings_of
from acclimate.stages.chain import STAGES

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "acclimate"
FOLDERS = ["src", "tests", "benchmarks", "docs", "examples"]  # of what is written in Python
ROOMS = {"api", "base", "cli", "corpus", "deploy", "learn", "llm", "measure", "report", "run", "search", "stages"}
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
SAY_NOTHING = {"found", "one", "told", "made", "own", "near"}  # as names: what they hold has a noun
VERSIONS = {"__version__", "version", "self.acclimate", "manifest['versions']['acclimate']"}  # behind the name
REPEATED = {  # defaults of what is of use without a run too; a run passes its settings
    "acclimate.api.run": {"k"},  # of hits, not of what is measured
    "acclimate.cli.inpars_commands": {"keep_top_k", "min_tokens", "max_tokens"},  # the toolkit's
    "acclimate.learn.students.sparse": {"sparsity"},
    "acclimate.report.queries.statistics": {"language", "min_difference"},
    "acclimate.search.bm25": {"language", "k1", "b"},
    "acclimate.search.encoder": {"max_tokens"},
}

NEVER_ONE = {  # what f-strings write before a plural: a limit, the size of what was too large, or no whole number
    "'without' if scored else 'with'",
    "lengths[rows[0]]",
    "max((len(rows[index]) for index in batch))",
    "max(lengths, default=0)",
    "max_tokens",
    "n_read",
    "seen['first_hit_characters']",
    "self._loaded.context",
    "self.longest",
    "share",
    "side.max_tokens",
    "split",
    "tokens / kept",
    "tokens",
}


@cache
def nodes() -> dict[str, list[ast.AST]]:
    """What every module says; parsed where it is asked for, as each process of the suite reads this file."""
    return {module: [*ast.walk(ast.parse(path.read_text(encoding="utf-8")))] for module, path in MODULES.items()}


def test_the_rooms_at_the_top_are_these_few():
    tops = {module.split(".")[1] for module in MODULES if "." in module}
    assert tops - {"__main__", "records"} == ROOMS
    assert len(ROOMS) <= 12


def test_no_file_has_more_than_300_lines():
    files = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    assert {*MODULES.values(), Path(__file__)} < {*files}
    lines = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert {name: count for name, count in lines.items() if count > 300} == {}


def test_nothing_is_left_unwritten():
    """No function, and no member of a protocol that a class passes for, only says that it does nothing."""
    unwritten = [
        f"{module}:{node.lineno}"
        for module, inside in nodes().items()
        for node in inside
        if isinstance(node, ast.Name) and node.id in ("NotImplementedError", "NotImplemented")
    ]
    assert unwritten == []


def test_what_a_message_says_to_type_is_quoted_as_a_shell_needs_it():
    """By `base.text.command`: a folder may have blanks in its name."""
    page = (ROOT / "docs" / "commands.md").read_text("utf-8")
    commands = "|".join(re.findall(r"(?m)^## ([a-z-]+)", page))
    begun = re.compile(rf"\bacclimate (({commands})( [^ ;,]+)* )?$")
    unquoted = [
        f"{module}:{node.lineno}"
        for module, inside in nodes().items()
        for node in inside
        if isinstance(node, ast.JoinedStr)
        for part, after in pairwise(node.values)
        if isinstance(part, ast.Constant)
        and begun.search(str(part.value))
        and isinstance(after, ast.FormattedValue)
        and ast.unparse(after.value) not in VERSIONS
    ]
    assert "adapt" in commands
    assert unquoted == []
    texts = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "src").rglob("*.py")]
    assert [path for path in texts if re.search(r"install [a-z-]+\[", path.read_text("utf-8"))] == []  # of zsh


def test_what_can_be_one_is_counted_in_the_singular():
    """By `base.text.counted`: no f-string and no template writes a number before the plural of what is counted."""
    calls = {
        str(argument.value)
        for inside in nodes().values()
        for node in inside
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "counted"
        for argument in node.args[1:]
        if isinstance(argument, ast.Constant)
    }
    nouns = {re.sub(" (is|was|has|are|were|have)$", "", call).split()[-1] for call in calls}
    plurals = {text.counted(2, noun).split()[1] for noun in nouns}
    begun = re.compile(rf" (?:(?!(?:all|for|of|on|or|that|encodes) )[a-z-]+ )?(?:{'|'.join(plurals)})\b")
    plural = [
        f"{module}:{node.lineno}: {ast.unparse(count.value)}{after.value}"
        for module, inside in nodes().items()
        for node in inside
        if isinstance(node, ast.JoinedStr)
        for count, after in pairwise(node.values)
        if isinstance(count, ast.FormattedValue) and isinstance(after, ast.Constant) and begun.match(str(after.value))
        if not ast.unparse(count.value).isupper() and ast.unparse(count.value) not in NEVER_ONE
    ]
    templates = [
        f"{path.name}: {found[0]}"
        for path in (PACKAGE / "report" / "templates").glob("*.jinja")
        for found in re.finditer(r"(?:count|length) }}" + begun.pattern, path.read_text("utf-8"))
    ]
    assert {"query", "document"} < nouns
    assert plural + templates == []


def imports_of(module: str) -> Iterator[str]:
    """The modules of the package that this one imports: anywhere in it, for types alone too."""
    package = module if MODULES[module].name == "__init__.py" else module.rpartition(".")[0]
    for node in nodes()[module]:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom):
            ups = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            source = ".".join([*ups, *([node.module] if node.module else [])])
            for alias in node.names:
                name = f"{source}.{alias.name}"
                if name in MODULES or source in MODULES:
                    yield name if name in MODULES else source


def test_no_circle_goes_through_files():
    arrows = {module: set(imports_of(module)) - {module} for module in MODULES}
    assert {"acclimate.base.errors", "acclimate.records"} <= set.union(*arrows.values())
    graphlib.TopologicalSorter(arrows).prepare()  # raises CycleError, which names the circle


def test_the_default_of_a_setting_is_in_one_signature():
    """No other function repeats it for a parameter of that name."""
    defaults: dict[str, set[str]] = {}
    homes = set()
    for stage in STAGES.values():
        homes.add(inspect.unwrap(stage).__module__)
        for name, parameter in settings_of(stage).items():
            if parameter.default not in (None, "", (), 0, 1):  # which say nothing of their own
                defaults.setdefault(name, set()).add(repr(parameter.default))
    assert "0.06" in defaults["teacher_temperature"]
    repeated = [
        (module, parameter.arg)
        for module in MODULES.keys() - homes
        for function in nodes()[module]
        if isinstance(function, ast.FunctionDef)
        for parameter, default in [
            *zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True),
            *zip(reversed(function.args.args), reversed(function.args.defaults), strict=False),
        ]
        if default is not None and ast.unparse(default) in defaults.get(parameter.arg, ())
    ]
    explained = {(module, name) for module, names in REPEATED.items() for name in names}
    assert set(repeated) == explained  # and whoever takes one away takes its explanation too


def names_in(inside: Iterable[ast.AST]) -> Iterator[tuple[int, str]]:
    """(line, name) of every variable, parameter, attribute, function and class."""
    for node in inside:
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            yield node.lineno, node.id
        elif isinstance(node, ast.arg | ast.keyword) and node.arg:
            yield node.lineno, node.arg
        elif isinstance(node, ast.Attribute):
            yield node.lineno, node.attr
        elif isinstance(node, ast.FunctionDef | ast.ClassDef | ast.ExceptHandler | ast.MatchAs) and node.name:
            yield node.lineno, node.name


def test_every_name_says_what_it_holds():
    tree = ast.parse("def made(own, *, near=1):\n  for one in own.found: (told := one); f(near=2)")
    assert {name for _, name in names_in(ast.walk(tree))} >= SAY_NOTHING
    silent = [
        f"{module}:{line}: {name}"
        for module, inside in nodes().items()
        for line, name in names_in(inside)
        if re.fullmatch(rf"_?({'|'.join(SAY_NOTHING)})", name)
    ]
    assert silent == []


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks").glob("*.py")), ids=lambda path: path.name)
def test_every_benchmark_can_be_imported(path, monkeypatch):
    monkeypatch.syspath_prepend(path.parent)
    spec = importlib.util.spec_from_file_location(f"benchmark_{path.stem}", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
