"""Public functions without a whole run: what they pass on, what they refuse, and what they leave in place."""

from __future__ import annotations

import inspect
import json
import logging
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import acclimate
from acclimate.api import adapt, reproduce, rerank, serve, stages, status
from acclimate.base.errors import DataError, SettingError
from acclimate.run.settings import Layer, Recipe


def test_recipes_that_differ_in_their_seed_differ_and_only_a_paper_names_a_student():
    quick = acclimate.recipe("quick")
    assert [str(each) for each in quick.differences(replace(quick, seed=3))] == ["run.seed: 0 | 3"]
    assert quick.differences(replace(quick, seed=0)) == []
    assert "run.seed = 0" in str(replace(quick, seed=0)) and "run.seed" not in str(replace(quick, seed=None))
    assert str(replace(quick, name="run", description="")).startswith("# run\n")  # a run's recipe has none
    assert quick.headline is None
    students = {**quick.settings, "distill": {**quick.settings["distill"], "student": ("static",)}}
    assert replace(quick, paper="a paper", settings=students).headline == "static:adapted"


@pytest.fixture
def documents(tmp_path):
    (tmp_path / "corpus.jsonl").write_text(json.dumps({"_id": "d", "text": "lava is hot"}) + "\n")
    return tmp_path / "corpus.jsonl"


def test_a_reranked_run_has_the_tag_asked_for_and_nothing_half_done_stays(documents, tmp_path, monkeypatch):
    monkeypatch.setattr(rerank.named, "check_is_reranker", lambda name: None)
    monkeypatch.setattr(rerank.named, "load_reranker", lambda *_, **__: None)
    monkeypatch.setattr(rerank, "CachedScorer", lambda *_: None)
    monkeypatch.setattr(rerank, "rerank_run", lambda hits, *_, **__: hits)
    run, queries, out = tmp_path / "run.trec", tmp_path / "queries.jsonl", tmp_path / "out.trec"
    run.write_text("q Q0 d 1 2.0 before\n")
    queries.write_text('{"_id": "q", "text": "how hot"}\n')
    for tag, expected in ((None, "a-model"), ("mine", "mine")):
        acclimate.rerank(run, "a-model", out, corpus=documents, queries=queries, tag=tag, progress=None)
        assert out.read_text().split()[-1] == expected
    assert not (tmp_path / "out.trec.partial").exists()
    queries.write_text('{"_id": "q", "text": "how hot"}\n' * 2)
    for stays in (False, True):
        (tmp_path / "out.trec.partial").mkdir() if stays else None
        with pytest.raises(DataError, match="'q' appears twice"):
            acclimate.rerank(run, "a-model", out, corpus=documents, queries=queries, progress=None)
        assert (tmp_path / "out.trec.partial").exists() == stays


@pytest.mark.parametrize("seed", [None, 0, 7])
@pytest.mark.parametrize("function", [adapt.adapt, adapt.plan])
def test_each_argument_reaches_its_place(function, seed, monkeypatch, tmp_path):
    reached: dict[str, Any] = {}
    workspace = SimpleNamespace(folder=tmp_path)

    def reaches(name, result=None):
        def call(*values, **named):
            reached[name] = (*values, named)
            return result

        return call

    def stop(*_, **__):
        raise KeyError

    recipe = Recipe("mine", "", "", (Layer("mine", {"index": {"k1": 1.7}}),), seed=3)
    provided = SimpleNamespace(changes={"mine": {"n_ways": 5}})
    monkeypatch.setattr(adapt, "load_recipe", {"mine": recipe}.get)
    monkeypatch.setattr(adapt, "Provided", SimpleNamespace(of=reaches("provided", provided)))
    monkeypatch.setattr(adapt, "new_run", reaches("run", SimpleNamespace(workspace=workspace)))
    monkeypatch.setattr(adapt, "limit", reaches("limits"))
    monkeypatch.setattr(adapt, "run_until", reaches("work"))
    monkeypatch.setattr(adapt.ray_cluster.Executor, "parse", reaches("work"))
    monkeypatch.setattr(adapt, "refuse_read_only", stop)
    files = {name: name for name in "queries qrels log from_queries from_nway first_stage reranker".split()}
    limits = {"max_cost": 1.5, "max_tokens": 9, "prices": "prices.toml", "batch": "batch.jsonl"}
    changes: dict[str, Any] = {"settings": {"train": {"epochs": 9}}, "sample": {"n_docs": 11}}
    with suppress(KeyError):
        function("docs", out="out", recipe="mine", seed=seed, executor="ray", **files, **limits, **changes)
    assert reached.pop("provided") == (files,)
    *places, settings, named = reached.pop("run")
    assert places == [Path("out"), "docs"]
    assert (settings["train"]["epochs"], settings["sample"]["n_docs"]) == (9, 11)
    assert (settings["index"]["k1"], settings["mine"]["n_ways"]) == (1.7, 5)
    assert (named["recipe"], named["seed"]) == ("mine", 3 if seed is None else seed)
    assert named["provided"] is provided
    assert reached.pop("limits")[1:] == (*limits.values(), {})
    assert "ray" in (*reached["work"], *reached.pop("work")[-1].values())
    assert not reached


@pytest.mark.parametrize("corpus", ["docs", None])
def test_a_stage_s_function_begins_a_run_or_goes_on_with_one(corpus, monkeypatch, tmp_path):
    reached: dict[str, Any] = {}

    def reaches(name):
        def call(*values, **named):
            reached[name] = (*values, named)
            return name

        return call

    for name in ("new_run", "resume_run", "run_until"):
        monkeypatch.setattr(stages, name, reaches(name))
    stages.sample(tmp_path / "run", corpus=corpus, executor="ray", n_docs=11)
    options = {"until": "sample", "progress": "auto", "executor": "ray", "corpus": corpus}
    assert reached.pop("run_until") == ("new_run" if corpus else "resume_run", options)
    if corpus:
        folder, name, settings, options = reached.pop("new_run")
        assert (folder, name, settings["sample"]["n_docs"]) == (tmp_path / "run", "docs", 11)
        assert options == {"recipe": "quick", "seed": 0}
        assert settings["mine"] == acclimate.recipe("quick").settings["mine"]
    else:
        assert reached.pop("resume_run") == (tmp_path / "run", {"sample": {"n_docs": 11}}, {})
    assert not reached
    assert stages.SUMMARIES["sample"] == str(inspect.getdoc(stages.sample)).splitlines()[0]
    assert all(summary.endswith(".") for summary in stages.SUMMARIES.values())


def test_a_reproduction_runs_each_seed_in_its_folder_with_all_published_measures(tmp_path, monkeypatch):
    told: list[dict[str, Any]] = []

    def adapt(collection, **options):
        told.append({"collection": collection, **options})
        figures = {"nDCG@10": options["seed"] / 10, **dict.fromkeys(options["settings"]["evaluate"]["measures"], 0.1)}
        figures["nDCG@10"] = options["seed"] / 10
        headline = acclimate.recipe("inpars-v2").headline
        return SimpleNamespace(report=SimpleNamespace(systems=[SimpleNamespace(name=headline, measures=figures)]))

    monkeypatch.setattr(reproduce, "adapt", adapt)
    made = acclimate.reproduce("inpars-v2", out=tmp_path, collections="beir/scifact", seeds=(3, 5))
    assert made.rows[0].reached == {3: 0.3, 5: 0.5} and made.rows[0].mean == 0.4
    assert [(each["seed"], each["recipe"], each["out"].name) for each in told] == [
        (3, "inpars-v2", "seed-3"),
        (5, "inpars-v2", "seed-5"),
    ]
    measures = {figures.measure for figures in acclimate.published("inpars-v2")}
    assert all(measures <= {*each["settings"]["evaluate"]["measures"]} for each in told)
    assert json.loads((tmp_path / "reproduction.json").read_text())["rows"][0]["reached"] == {"3": 0.3, "5": 0.5}


def test_a_stage_that_is_made_again_works_and_a_damaged_one_is_missing(tmp_path, monkeypatch):
    manifest = {"in": 9, "out": 7, "seconds": 1.5}
    monkeypatch.setattr(status.Workspace, "manifest", lambda self, stage: manifest)
    assert status._stage(status.Workspace(tmp_path), "index", works=False) == ("index", "made", 9, 7, 1.5)
    assert status._stage(status.Workspace(tmp_path), "index", works=True).state == "works"

    def damaged(self, stage):
        raise DataError("damaged")

    monkeypatch.setattr(status.Workspace, "manifest", damaged)
    assert [status._stage(status.Workspace(tmp_path), "index", works=works).state for works in (False, True)] == [
        "missing",
        "works",
    ]


@pytest.mark.parametrize(
    ("host", "key", "hosts", "warns"),
    [
        ("127.0.0.2", None, ("localhost", "127.0.0.1", "::1", "127.0.0.2", "mine.example"), ""),
        ("0.0.0.0", None, ("mine.example",), "without a key anyone can read"),
        ("0.0.0.0", "a key", ("mine.example",), "is reachable from other machines"),
    ],
)
@pytest.mark.parametrize("allowed", [("mine.example",), "mine.example"])
def test_this_machine_is_known_by_all_its_names_and_others_are_warned_of(
    host, key, hosts, warns, allowed, monkeypatch, caplog
):
    server = pytest.importorskip("acclimate.deploy.serving.server", reason="the serve extra is not installed")
    told: dict[str, Any] = {}
    listener: Any = nullcontext()
    listener.getsockname = lambda: (host, 4321)
    monkeypatch.setattr(server, "bound", lambda host, port: listener)
    monkeypatch.setattr(server, "run", lambda app, listener, limits: told.update(app=app))
    monkeypatch.setattr(serve, "application", lambda folder, **options: options)
    with caplog.at_level(logging.INFO, "acclimate"):
        serve.serve("run", host=host, port=0, api_key=key, allowed_hosts=allowed)
    assert tuple(told["app"]["allowed_hosts"]) == hosts and told["app"]["api_key"] == key
    said = "\n".join(record.getMessage() for record in caplog.records)
    assert f"running on http://{host}:4321;" in said
    assert warns in said if warns else "reachable" not in said
    assert ("without a key" in said) == ("without a key" in warns)
    with pytest.raises(SettingError, match="port"):
        serve.serve("run", port=65_536)
