"""Helpers for tests of conversions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from acclimate.base.errors import AcclimateError
from acclimate.corpus.formats.fields import Place
from acclimate.records import Doc

HERE = Place(Path("here"))
DOCS = {doc.doc_id: doc for doc in (Doc("1", "lava erupts", "Volcano"), Doc("2", "snow creeps"), Doc("3", "deep sea"))}

quick = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


def put(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def refusal(call: Callable[[], Any]) -> str:
    with pytest.raises(AcclimateError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)
