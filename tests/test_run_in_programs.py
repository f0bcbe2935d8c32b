"""A run in somebody's program: what hits carry, searches of some documents only, and runs that change meanwhile."""

from __future__ import annotations

import json
import shutil
from datetime import date
from pathlib import Path

import numpy as np
import pytest

import acclimate
from acclimate.base.testing import DOCS
from acclimate.stages.runs import StagesChanged

YEARS = {doc.doc_id: 2000 + number % 4 for number, doc in enumerate(DOCS)}


@pytest.fixture(scope="module")
def with_fields(finished, tmp_path_factory) -> acclimate.Run:
    """A run whose documents have other fields."""
    folder = tmp_path_factory.mktemp("fields")
    shutil.copytree(finished, folder / "run")
    rows = [
        {"_id": doc.doc_id, "title": doc.title, "text": doc.text, "year": year, "metadata": {"day": f"{year}-11-29"}}
        for doc, year in zip(DOCS, YEARS.values(), strict=True)
    ]
    (folder / "rich.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = acclimate.open(folder / "run")
    run.update(folder / "rich.jsonl", progress=None)
    return run


def test_hits_have_the_other_fields_of_their_documents(with_fields):
    hits = with_fields.search("lava and ash", k=40, system="dense")
    assert len(hits) == len(DOCS)
    for hit in hits:
        year = YEARS[hit.document_id]
        assert hit.fields == hit.as_dict()["fields"] == {"year": year, "day": f"{year}-11-29"}


@pytest.mark.parametrize("system", ["bm25", "hybrid", "hybrid+reranker"])
@pytest.mark.parametrize(
    ("filters", "years"),
    [
        ({}, {2000, 2001, 2002, 2003}),
        ({"year": 2001}, {2001}),
        ({"year": (2001, np.int64(2002))}, {2001, 2002}),
        ({"day": {"gte": date(2002, 1, 1)}, "year": {"lt": 2003}}, {2002}),
        ({"year": []}, set()),
    ],
)
def test_a_search_of_some_documents_finds_what_passes_in_the_order_of_all(with_fields, system, filters, years):
    everything = [hit.document_id for hit in with_fields.search("lava and ash", 40, "bm25")]
    hits = with_fields.search("lava and ash", k=40, system=system, filters=filters)
    assert {YEARS[hit.document_id] for hit in hits} <= years
    if system == "bm25":
        assert [hit.document_id for hit in hits] == [doc_id for doc_id in everything if YEARS[doc_id] in years]
    else:
        assert len(hits) == sum(year in years for year in YEARS.values())


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"yaer": 2001}, "no field named 'yaer'. Did you mean 'year'? There are: day, doc_id, title, year"),
        ({"year": {"gt": 1, "les": 3}}, "no condition on year named 'les'"),
        ({"year": {"gte": [2001]}}, "filters: year is [2001]; expected a text, finite number"),
        ({"year": None}, "filters: year is None; expected"),
        ({"year": {"prefix": 20}}, "filters: year is 20; expected"),
        ({"year": [[1]]}, "filters: year is [[1]]; expected"),
        ([("year", 1)], "filters is [('year', 1)]; expected a dict"),
    ],
)
def test_filters_that_are_none_are_refused(with_fields, filters, message):
    with pytest.raises(acclimate.SettingError) as error:
        with_fields.search("lava", filters=filters)
    assert str(error.value).startswith(message)


@pytest.fixture
def newdocs(tmp_path) -> Path:
    path = tmp_path / "new.jsonl"
    path.write_text(json.dumps({"_id": "new", "text": "The xylophone is an instrument."}) + "\n")
    return path


def ids(run: acclimate.Run, text: str) -> list[str]:
    return [hit.document_id for hit in run.search(text, system="bm25")]


def test_an_open_run_searches_what_another_process_added(copied, newdocs):
    run, another = acclimate.open(copied), acclimate.open(copied)
    assert ids(run, "xylophone") == []
    another.update(newdocs, progress=None)
    assert ids(run, "xylophone") == ids(another, "xylophone") == ["new"]


def test_an_update_that_cannot_be_opened_yet_leaves_an_open_run_as_it_was(copied, newdocs, monkeypatch):
    run = acclimate.open(copied)
    before = ids(run, "lava")
    acclimate.open(copied).update(newdocs, progress=None)

    def rebuilt(folder):
        raise StagesChanged(folder)

    with monkeypatch.context() as patch:
        patch.setattr("acclimate.deploy.latest.open_latest", rebuilt)
        assert (ids(run, "lava"), ids(run, "xylophone")) == (before, [])
        with pytest.raises(acclimate.DataError, match="being rebuilt"):
            ids(acclimate.open(copied), "lava")
    assert ids(run, "xylophone") == ["new"]


def test_a_run_stands_for_its_folder(finished):
    run = acclimate.open(finished)
    assert acclimate.open(run).folder == finished
    assert acclimate.status(run) == acclimate.status(finished)
    assert Path(run, "report.json").is_file()


@pytest.mark.parametrize("progress", [False, True, 3, "bar"])
def test_progress_that_cannot_be_called_is_refused_before_anything_is_made(progress, finished, tmp_path):
    with pytest.raises(acclimate.SettingError, match=r"^progress is .*; expected a callable, None or 'auto'"):
        acclimate.index(tmp_path / "run", corpus=finished / "corpus", progress=progress)
    assert not (tmp_path / "run").exists()


def test_limits_of_another_type_and_options_that_cannot_be_are_refused(finished):
    pytest.importorskip("fastapi")
    with pytest.raises(acclimate.SettingError, match=r"limits is {'max_k': 3}; expected acclimate\.Limits"):
        acclimate.open(finished).asgi(limits={"max_k": 3})
    with pytest.raises(acclimate.SettingError, match=r"reload_seconds is -1\.0; expected a number"):
        acclimate.open(finished).asgi(reload_seconds=-1)
    for key in ("", " "):  # else anybody could read
        with pytest.raises(acclimate.SettingError, match=r"the key .* is empty"):
            acclimate.open(finished).asgi(api_key=key)


@pytest.mark.parametrize(
    ("name", "kind", "loader"),
    [
        ("students", "dense", "SentenceTransformer"),
        ("students", "static", "SentenceTransformer"),
        ("students", "sparse", "SparseEncoder"),
        ("finished", "late-interaction", "MultiVectorEncoder"),
    ],
)
def test_sentence_transformers_gives_the_scores_of_a_run(name, kind, loader, request):
    """As docs/python.md says of each folder."""
    import sentence_transformers

    run = acclimate.open(request.getfixturevalue(name))
    model = getattr(sentence_transformers, loader)(str(run.folder / "distill" / kind), device="cpu")
    text = "molten rock below the crust"
    hits = run.search(text, k=5, system=f"{kind}:adapted")
    query, documents = model.encode_query([text]), model.encode_document([hit.doc.default_text() for hit in hits])
    scores = model.similarity(query, documents)[0] / (len(query[0]) if kind == "late-interaction" else 1)
    assert hits
    assert scores.tolist() == pytest.approx([hit.score for hit in hits], rel=0.02, abs=0.1)  # of bfloat16
