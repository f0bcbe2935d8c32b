"""Documents that a program has in memory: a run of them is that of the file that they would be in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import pytest
from chain import SMALL, tiny_models

import acclimate
from acclimate.base.testing import DOCS
from acclimate.corpus import collections
from acclimate.corpus.documents import Corpus
from acclimate.run import in_memory

LOOP: dict[str, Any] = {}
LOOP["itself"] = LOOP


@pytest.fixture
def settings(tiny_encoder) -> list[str]:
    return [*SMALL, *tiny_models(tiny_encoder)]


def rows_of(path: Path) -> Iterator[dict[str, str]]:
    return map(json.loads, path.read_text().splitlines())


def checksums(run: Path) -> dict[str, str]:
    """Of what each stage left; the index also notes the name of a file that is hashed with its source."""
    manifests = {path.parent.name: json.loads(path.read_text()) for path in run.glob("*/manifest.json")}
    return {name: manifest["checksum"] for name, manifest in manifests.items() if name not in ("index", "evaluate")}


@pytest.mark.usefixtures("fake_llm")
def test_a_run_of_documents_in_memory_is_that_of_their_file_and_goes_on(
    corpus, finished, settings, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    acclimate.adapt(rows_of(corpus), out="run", settings=settings, progress=None)
    run = acclimate.open(tmp_path / "run")
    assert checksums(tmp_path / "run") == checksums(finished)
    assert run.search("lava and ash", 3) == acclimate.open(finished).search("lava and ash", 3)

    again = [acclimate.Doc(row["_id"], row["text"], row["title"]) for row in rows_of(corpus)]
    resumed = acclimate.adapt(again, out="run", settings=settings, progress=None)
    assert all(stage["resumed"] for stage in resumed.report["stages"])
    assert "done" in acclimate.plan(again, out=tmp_path / "run", settings=settings)
    assert acclimate.sample(run, corpus=again, progress=None).folder == run.folder

    run.update([{"_id": "new", "text": "The xylophone.", "year": 2026}], progress=None)
    (hit,) = run.search("xylophone", 1)
    assert (hit.document_id, hit.fields) == ("new", {"year": 2026})
    assert "added 0 · changed 0 · removed 1" in run.plan_update(again, all=True)

    (elsewhere := tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(elsewhere)
    again[0] = again[0]._replace(text="Basalt.")
    (tmp_path / "run" / "corpus" / "documents.jsonl").unlink()
    acclimate.index(run, corpus=again, progress=None)
    assert [*rows_of(tmp_path / "run" / "corpus" / "documents.jsonl")] == [doc._asdict() for doc in again]
    assert not [*elsewhere.iterdir()]
    kept = json.loads((tmp_path / "run" / "index" / "manifest.json").read_text())["notes"]["kept"]["documents"]
    assert Corpus.open(tmp_path / "run" / "corpus" / kept)[again[0].doc_id].text == "Basalt."


def test_a_plan_and_a_mistake_leave_nothing(settings, tmp_path):
    assert "40 documents" in acclimate.plan(DOCS, out=tmp_path / "run", settings=settings)
    for documents, message in (
        (["lava"], "document 1 is 'lava'; expected acclimate.Doc, or a dict with _id and text"),
        ([*DOCS, ("d99", "lava")], "document 41 is .*; expected acclimate.Doc"),
        ([*DOCS, {"text": "lava"}], r"documents\.jsonl:41: no document id"),
        ([*DOCS, DOCS[0]], r"documents\.jsonl:41: id 'd00' appears twice, first in line 1"),
        ([{"_id": "1", "text": "\ud800"}], r"documents\.jsonl:1: 'text' has half a surrogate pair"),
        ([{"_id": "1", "text": None}], r"documents\.jsonl:1: 'text' is null"),
        ([], "no documents"),
        (b"docs", "corpus is b'docs'; expected a path"),
        (3, "corpus is 3; expected a path"),
    ):
        with pytest.raises(acclimate.AcclimateError, match=message):
            acclimate.adapt(documents, out=tmp_path / "run", settings=settings, progress=None)
        assert not [*tmp_path.iterdir()]


def test_values_that_json_lacks_are_as_it_has_them(tmp_path):
    row = {
        "_id": np.int64(7), "text": "lava", "title": np.nan, "day": date(2026, 11, 29), "n": np.float32(0.5),
        "nan": np.nan, "tags": np.array(["a", "b"]), "both": {"x": (1, True)}, "none": None, "NA": pd.NA, "NaT": pd.NaT,
    }  # fmt: skip
    name = in_memory.name_of([row], tmp_path)
    in_memory.write([row], name)
    corpus = collections.load(name, tmp_path).corpus
    assert dict(corpus) == {"7": acclimate.Doc("7", "lava")}
    assert corpus.fields_of("7") == {"both.x": [1, True], "day": "2026-11-29", "n": 0.5, "tags": ["a", "b"]}


ODD = [Decimal("1.5"), UUID(int=7), {"a"}, b"lava", object(), [1, (b"x",)], 10**5000, LOOP]


@pytest.mark.parametrize("value", ODD, ids=lambda value: type(value).__name__)
def test_what_json_cannot_hold_is_refused_and_not_left_out(value, tmp_path):
    """A database gives decimals and UUIDs: they once became null, as if they were missing."""
    for name in ("_id", "price"):
        row = {"_id": "7", "text": "lava", name: value}
        with pytest.raises(acclimate.SettingError, match=rf"^document 1(: {name} is .*expected text| cannot)"):
            in_memory.write([row], in_memory.name_of([row], tmp_path))
