"""Every block of code in the documentation runs, as far as it can here, and the site of it is whole.

Shell blocks are read by the command line itself, those of docs/tutorial.md are run (tests/test_api_names.py); Python
blocks run, TOML blocks are taken as what they are. `<!-- not run: WHY -->` before a block says that it is only read.
"""

from __future__ import annotations

import configparser
import doctest
import json
import os
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

import acclimate
from acclimate.base.testing import DOCS
from acclimate.cli.main import app
from acclimate.run.recipes import load_recipe

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").glob("**/*.md"))
ELSEWHERE = {"sql", "text", "console", "html", "js"}  # run by the tests of what they belong to, or not to be run
RUN_IN_A_RUN = {"python.md", "exports.md"}  # by tests/test_api_names.py, where there is one
SHELL = {"", "sh", "bash", "shell"}


class Block(NamedTuple):
    """A fenced block of a page."""

    page: str
    line: int
    language: str
    text: str
    not_run: str  # why, where it is only read


def blocks() -> Iterator[Block]:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in re.finditer(r"(?:^<!-- not run: (.*?) -->\n+)?^```(\w*)[^\n]*\n(.*?)^```$", text, re.M | re.S):
            line = text.count("\n", 0, match.start()) + 1
            name = page.relative_to(ROOT / "docs").as_posix()
            yield Block(name, line, match[2], match[3], match[1] or "")


BLOCKS = list(blocks())


def of(*languages: str) -> pytest.MarkDecorator:
    chosen = [block for block in BLOCKS if block.language in languages]
    return pytest.mark.parametrize("block", chosen, ids=lambda block: f"{block.page}:{block.line}")


def test_every_block_is_of_a_kind_that_is_tested():
    languages = {*SHELL, *ELSEWHERE, "python", "toml", "json", "yaml", "ini"}
    assert [(block.page, block.line, block.language) for block in BLOCKS if block.language not in languages] == []


def command_lines(block: Block) -> Iterator[list[str]]:
    """What is typed after `acclimate`, of each command of a shell block."""
    for line in block.text.replace("\\\n", " ").splitlines():
        try:
            words = shlex.split(line.removeprefix("$ "), comments=True)
        except ValueError:
            continue
        if "acclimate" in words and (words[0] == "acclimate" or words[0] in ("torchrun", "accelerate")):
            yield words[words.index("acclimate") + 1 :]


@of(*SHELL)
def test_the_command_line_takes_every_command(block):
    for words in command_lines(block):
        ends = [place for place, word in enumerate(words) if word in ("|", ">", ">>", "&&", ";", "&")]
        words = words[: ends[0]] if ends else words
        if not {"...", "COMMAND"} & set(words):
            app.parse_args(words, exit_on_error=False, print_error=False)


@of("python")
def test_python_blocks_are_python_and_run(block, tmp_path, monkeypatch):
    if ">>>" in block.text or block.not_run or block.page in RUN_IN_A_RUN:
        assert doctest.DocTestParser().get_examples(block.text) or compile(block.text, block.page, "exec")
        return
    monkeypatch.chdir(tmp_path)
    exec(compile(block.text, block.page, "exec"), {"acclimate": acclimate})


@of("toml")
def test_toml_blocks_are_recipes_or_prompts(block, tmp_path):
    path = tmp_path / "block.toml"
    path.write_text(block.text, encoding="utf-8")
    if block.not_run:
        assert block.text
    elif "{document}" in block.text:
        assert acclimate.prompt(path).stop
    else:
        assert load_recipe(str(path)).description
        assert "evaluate" in acclimate.plan(DOCS, out=tmp_path / "run", recipe=path)  # settings that fit each other


@of("ini")
def test_units_of_systemd_can_be_read(block):
    assert configparser.ConfigParser(strict=False, interpolation=None).read_string(block.text) is None


@of("json", "yaml")
def test_json_and_yaml_can_be_read(block):
    for text in block.text.splitlines() if block.language == "json" and "\n{" in block.text else [block.text]:
        assert json.loads(text) if block.language == "json" else yaml.safe_load(text)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The site, built as `make site` does: any warning is an error."""
    pytest.importorskip("mkdocs", reason="mkdocs is not installed")
    pytest.importorskip("material", reason="mkdocs-material is not installed")
    os.environ.setdefault("NO_MKDOCS_2_WARNING", "1")
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    folder = tmp_path_factory.mktemp("docs")
    for name in ("mkdocs.yml", "docs"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile
        copy(ROOT / name, folder / name)
    config = load_config(str(folder / "mkdocs.yml"), site_dir=str(folder / "site"))
    config.plugins.on_startup(command="build", dirty=False)
    build(config)
    return folder / "site"


def test_the_site_has_every_page_and_loads_nothing_from_elsewhere(site):
    pages = {page.relative_to(site).as_posix() for page in site.glob("**/index.html")}
    expected = {page.relative_to(ROOT / "docs").with_suffix("").as_posix() for page in PAGES}
    assert {page.removesuffix("/index.html").replace("index.html", "index") for page in pages} >= expected
    for page in site.glob("**/*.html"):
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|img|iframe|source)\b[^>]*\bsrc=[\"']?([^\"' >]+)", text)
        loaded += re.findall(
            r"<link\b[^>]*\brel=[\"']?(?:stylesheet|preconnect|icon)[^>]*\bhref=[\"']?([^\"' >]+)", text
        )
        assert [address for address in loaded if re.match(r"(?:https?:)?//", address)] == [], page


def test_the_site_shows_what_is_written(site):
    """No `<WORD>` of a text is lost as a tag, and no backslash of a table stands in its code."""
    known = {
        "a",
        "abbr",
        "article",
        "b",
        "br",
        "code",
        "div",
        "em",
        "h1",
        "h2",
        "h3",
        "h4",
        "hr",
        "img",
        "input",
        "label",
    }
    known |= {"li", "nav", "ol", "p", "pre", "s", "span", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul"}
    known |= {"svg", "path", "button"}
    for page in site.glob("**/index.html"):
        (text,) = re.findall(r"<article\b.*?</article>", page.read_text(encoding="utf-8"), re.S)
        assert {tag.lower() for tag in re.findall(r"<([A-Za-z][\w-]*)", text)} - known == set(), page
        cells = re.findall(r"<td\b.*?</td>", text, re.S)
        assert [cell for cell in cells if re.search(r"<code>[^<]*\\\|", cell)] == [], page


def test_every_page_stands_in_the_navigation():
    named = set(re.findall(r"^ +- ([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.M))
    assert {page.relative_to(ROOT / "docs").as_posix() for page in PAGES} == named
