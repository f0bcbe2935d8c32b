"""The wheel, installed alone: what is in it, and that it works where nothing else is.

The new environment sees the packages that the wheel asks for, and what those ask for, through links to the ones
installed here; no package for development is among them, and nothing is downloaded.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from chain import STAGES, report_of, write_corpus, write_labels
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from acclimate import __version__
from acclimate.base.errors import MissingExtra
from acclimate.base.models import EMBEDDED, resolve
from acclimate.base.testing import DOCS, QRELS

ROOT = Path(__file__).parents[1]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (ROOT / "README.md").exists(), reason="the wheel's description, README.md, is not here"),
]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory) -> Path:
    pytest.importorskip("hatchling", reason="the build backend is not installed")
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    (made,) = folder.iterdir()
    return made


def needed(requirements: list[str], extras: frozenset[str] = frozenset()) -> dict[str, metadata.Distribution]:
    """Every distribution that these requirements ask for, directly or not, as installed here."""
    found: dict[str, metadata.Distribution] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    left = [(text, extras) for text in requirements]
    while left:
        text, wanted = left.pop()
        requirement = Requirement(text)
        if requirement.marker and not any(requirement.marker.evaluate({"extra": e}) for e in (wanted or {""})):
            continue
        name, own = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if (name, own) in seen:
            continue
        seen.add((name, own))
        found[name] = metadata.distribution(name)
        left += [(text, own) for text in found[name].requires or []]
    return found


NEED_AN_EXTRA = ["acclimate.__main__"]  # which runs
NEED_AN_EXTRA += [f"acclimate.deploy.serving.{name}" for name in ("app", "schemas", "server", "service")]
NEED_AN_EXTRA += [f"acclimate.deploy.exports.readers.{name}" for name in ("lancedb", "qdrant")]


@pytest.fixture(scope="session")
def installed(wheel, tmp_path_factory) -> Path:
    """The bin folder of an environment with the wheel and no package for development."""
    folder = tmp_path_factory.mktemp("alone")
    with zipfile.ZipFile(wheel) as content:
        name = next(name for name in content.namelist() if name.endswith(".dist-info/METADATA"))
        asked = re.findall(r"^Requires-Dist: (.*)", content.read(name).decode(), re.M)
    distributions = needed(asked)
    assert "torch" in distributions
    assert not {"pytest", "ruff", "hypothesis", "pyright"} & set(distributions)
    carriers = [model.package for model in EMBEDDED.values()]
    for name in carriers:
        try:
            distributions[name] = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
    venv.create(folder / "env", with_pip=False)
    python = folder / "env" / "bin" / "python"
    shown = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], capture_output=True, text=True
    )
    packages = Path(shown.stdout.strip())  # where pip would put them: some libraries look at their own path
    for distribution in distributions.values():
        site = Path(str(distribution.locate_file("")))
        for top in {file.parts[0] for file in distribution.files or [] if file.parts[0] != ".."}:
            if top != "__pycache__" and not (packages / top).exists():
                (packages / top).symlink_to(site / top)
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    done = subprocess.run([*pip, str(wheel)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return python.parent


def alone(installed: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The installed command, with nothing of this process's environment that could help it."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "HF_"))}
    command = [str(installed / "acclimate"), *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=cwd, env={**env, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    )


def test_the_wheel_holds_all_that_is_read_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as content:
        names = set(content.namelist())
    there = {
        path.relative_to(ROOT / "src").as_posix()
        for path in (ROOT / "src" / "acclimate").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    own = f"acclimate-{__version__}.dist-info/"
    assert {name for name in names if not name.startswith(own)} == there
    for needed_file in (
        "acclimate/py.typed",
        "acclimate/llm/prompts/inpars.toml",
        "acclimate/run/recipes/quick.toml",
        "acclimate/corpus/pydocs/queries.jsonl",
        "acclimate/corpus/pydocs/qrels/test.tsv",
        "acclimate/report/templates/report.html.jinja",
        "acclimate/report/templates/page.css",
    ):
        assert needed_file in names
    assert own + "licenses/LICENSE" in names


def test_the_wheel_knows_its_version_and_its_command(wheel, installed, tmp_path):
    assert f"-{__version__}-" in wheel.name
    shown = alone(installed, "--version", cwd=tmp_path)
    assert (shown.returncode, shown.stdout.strip()) == (0, __version__)


def test_help_needs_no_package_for_development(installed, tmp_path):
    for arguments in (["--help"], ["adapt", "--help"], ["train", "--help"]):
        shown = alone(installed, *arguments, cwd=tmp_path)
        assert shown.returncode == 0, shown.stderr
        assert shown.stderr == ""


def test_the_packages_for_development_are_not_there(installed):
    for name in ("pytest", "hypothesis", "ruff", "hatchling"):
        tried = subprocess.run([installed / "python", "-c", f"import {name}"], capture_output=True, text=True)
        assert "ModuleNotFoundError" in tried.stderr


def test_doctor_finds_all_that_is_needed(installed, tmp_path):
    found = alone(installed, "doctor", cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    needed_lines = [line for line in found.stdout.splitlines() if "optional" not in line and "embedded:" not in line]
    assert [line for line in needed_lines if line.startswith("missing")] == []


def test_every_module_can_be_imported(installed, tmp_path):
    script = (
        "import importlib, pkgutil, acclimate\n"
        "for module in pkgutil.walk_packages(acclimate.__path__, 'acclimate.'):\n"
        f"    if module.name not in {NEED_AN_EXTRA!r}: importlib.import_module(module.name)\n"
    )
    done = subprocess.run([installed / "python", "-c", script], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.models
def test_the_chain_with_the_models_that_travel_as_packages(installed, tmp_path):
    try:
        for name in EMBEDDED:
            resolve(f"embedded:{name}")
    except MissingExtra as missing:
        pytest.skip(str(missing))
    write_corpus(tmp_path / "nature.jsonl", DOCS[:20])
    write_labels(tmp_path, QRELS[:20])
    changes = "sample.n_docs=10 sample.min_chars=40 sample.dev_share=0.5 generate.max_doc_tokens=24 "
    changes += "generate.max_new_tokens=24 index.max_tokens=40 mine.n_ways=2 train.batch_size=4 train.max_tokens=40 "
    changes += "label.n_ways=4 distill.epochs=1 distill.student=dense-query evaluate.rerank_depth=2"
    sets = [part for change in changes.split() for part in ("--set", change)]
    labels = ["--queries", "queries.jsonl", "--qrels", "qrels.tsv"]
    adapted = alone(installed, "adapt", "nature.jsonl", "--out", "run", *labels, *sets, cwd=tmp_path)
    assert adapted.returncode == 0, adapted.stderr
    report = report_of(tmp_path / "run")
    assert report["verdict_basis"] == "qrels"
    assert [stage["name"] for stage in report["stages"]] == STAGES
    measured = {system["name"]: system["measures"]["nDCG@10"] for system in report["systems"]}
    assert measured["dense"] > 0.8  # a pretrained encoder finds the one document about lava
    searched = alone(installed, "search", "run", "why does lava erupt", "--k", "1", cwd=tmp_path)
    assert "Volcano" in searched.stdout, searched.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["nature.jsonl", "qrels.tsv", "queries.jsonl", "run"]
