"""The documentation names only what exists: commands, options, settings, make targets, links, versions."""

from __future__ import annotations

import importlib.util
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import acclimate
from acclimate import __version__
from acclimate.base.errors import AcclimateError
from acclimate.cli import adapt_command, run_commands
from acclimate.cli.main import main
from acclimate.corpus.formats import extraction
from acclimate.deploy.exports.formats import FORMATS
from acclimate.run.description import RETIRED
from acclimate.run.recipes import load_recipe
from acclimate.run.settings import resolve, settings_of
from acclimate.stages.chain import STAGES
from acclimate.stages.filter import NAMES as FILTERS

ROOT = Path(__file__).parents[1]
PAGES = [
    path
    for path in [
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
        *ROOT.glob("docs/**/*.md"),
    ]
    if path.exists()
]
HELP: dict[str, str] = {}
PUBLISHED = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["sdist"][
    "include"
]

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


def code_lines(page: Path) -> Iterator[str]:
    """Command lines: of code blocks, with continued lines joined and prompts and comments taken off, and of `code`."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", text, re.M | re.S)
    for language, block in blocks:
        if language in ("", "sh", "bash", "console", "shell"):
            for line in block.replace("\\\n", " ").splitlines():
                yield line.strip().removeprefix("$ ")
    outside = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    yield from re.findall(r"`((?:acclimate|make) [^`\n]+)`", outside)


def commands(page: Path, program: str) -> list[list[str]]:
    found: list[list[str]] = []
    for line in code_lines(page):
        try:
            words = shlex.split(line, comments=True)
        except ValueError:
            continue
        for start, word in enumerate(words):
            if word.rpartition("/")[2] == program and (start == 0 or words[start - 1] in ("&&", ";", "|", "time")):
                ends = [at for at, w in enumerate(words) if at > start and w in ("&&", ";", "|", ">", ">>", "2>")]
                found.append(words[start + 1 : ends[0] if ends else None])
    return found


def help_of(command: str, capsys) -> str:
    if command not in HELP:
        capsys.readouterr()
        code = main([*command.split(), "--help"])
        HELP[command] = capsys.readouterr().out if code == 0 else ""
    return HELP[command]


@pages
def test_every_acclimate_command_exists_with_its_options(page, capsys):
    for command, *arguments in filter(None, commands(page, "acclimate")):
        said = f"{page.name}: acclimate {command} {' '.join(arguments)}"
        if command.startswith("-"):
            assert command in ("--help", "-h", "--version"), said
            continue
        if command.isupper() or "..." in command:  # a placeholder
            continue
        shown = help_of(command, capsys)
        if " COMMAND" in shown.partition("\n")[0] and arguments:
            shown = help_of(f"{command} {arguments[0]}", capsys)
        assert shown, said
        options = {word.partition("=")[0] for word in arguments if re.match(r"--?[a-z]", word)}
        for option in options - {"--help"}:  # which every command has
            assert re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", shown), f"{said}: no {option}"
        changes = [after for word, after in zip(arguments, [*arguments[1:], ""], strict=False) if word == "--set"]
        try:
            resolve(STAGES, {}, [change for change in changes if not re.search(r"[A-Z]|\.\.\.|=value$", change)])
            for word, name in zip(arguments, [*arguments[1:], ""], strict=False):
                if word == "--recipe" and not (name.isupper() or name.endswith(".toml")):
                    load_recipe(name)
        except AcclimateError as error:
            pytest.fail(f"{said}: {error}")


@pages
def test_every_setting_that_is_named_exists_and_can_have_its_value(page):
    stages = "|".join(STAGES)
    for stage, name, value in re.findall(rf"`({stages})\.([a-z]\w*)(=[^`]*)?`", page.read_text(encoding="utf-8")):
        if name not in ("py", "jsonl", "md") and (stage, name) not in RETIRED:
            assert name in settings_of(STAGES[stage]), f"{page.name}: {stage}.{name}"
            if value:
                resolve(STAGES, {}, [f"{stage}.{name}{value}"])  # raises SettingError


@pages
def test_every_make_target_exists(page):
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    for words in commands(page, "make"):
        for word in words:
            if "=" not in word and not word.startswith("-"):
                assert word in targets, f"{page.name}: make {word}"


@pages
def test_every_link_inside_the_project_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{page.name}: {target}"
        assert file.relative_to(ROOT).parts[0] in PUBLISHED, f"{page.name}: {target} is not in the sdist"
        if anchor and file.suffix == ".md":
            headings = re.findall(r"^#+ (.*)", file.read_text(encoding="utf-8"), re.M)
            slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in slugs, f"{page.name}: {target}"


@pages
def test_every_file_of_the_project_that_is_named_exists(page):
    if page.name == "CHANGELOG.md":
        return
    for name in re.findall(r"`((?:src|docs|benchmarks|tests|examples)/[\w./-]+)`", page.read_text(encoding="utf-8")):
        assert (ROOT / name).exists(), f"{page.name}: {name}"


def test_every_kind_of_file_and_every_format_of_an_export_is_named():
    for text in (adapt_command.adapt.__doc__, acclimate.adapt.__doc__, (ROOT / "README.md").read_text()):
        assert [ending for ending in extraction.FORMATS if ending not in (text or "")] == []
    assert [name for name in FORMATS if name not in (run_commands.export.__doc__ or "")] == []


def test_every_extra_is_on_a_page_that_says_what_it_is_for():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"].keys()
    pages = "".join(page.read_text(encoding="utf-8") for page in PAGES if page.name not in ("CHANGELOG.md", "log.md"))
    named = {name for names in re.findall(r"pip install 'acclimate\[([\w,-]+)\]'", pages) for name in names.split(",")}
    assert named == extras - {"dev", "docs"}


def test_every_filter_is_on_the_page_of_filters():
    page = (ROOT / "docs" / "queries.md").read_text(encoding="utf-8").partition("## Filters")[2]
    assert [name for name in FILTERS if f"\n| `{name}` |" not in page] == []


def test_the_changelog_begins_with_this_version():
    path = ROOT / "CHANGELOG.md"
    if not path.exists():
        pytest.skip("there is no CHANGELOG.md yet")
    versions = re.findall(r"^## \[?v?(\d+\.\d+[\w.]*)", path.read_text(encoding="utf-8"), re.M)
    assert versions
    assert versions[0] == __version__


@pytest.mark.parametrize("name", ["commands.md", "settings.md"])
def test_defaults_are_values_that_people_type(name):
    page = (ROOT / "docs" / name).read_text(encoding="utf-8")
    assert re.findall(r"\| `[^`]*` \| `(<[^`]*)`", page) == []
    assert "`0`" in page


def test_what_is_written_from_the_code_is_what_the_code_says():
    path = ROOT / "docs" / "generate.py"
    spec = importlib.util.spec_from_file_location("generate", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, write in module.PAGES.items():
        assert (path.parent / name).read_text(encoding="utf-8") == write(), f"write {name} anew with: make docs"


def test_no_page_names_a_place_on_a_machine():
    for page in PAGES:
        found = re.findall(r"(?<![\w.])/(?:home|root|tmp|work|Users)/[\w./-]*", page.read_text(encoding="utf-8"))
        assert found == [], page.name
