"""A stage that keeps nothing is told as what it is, where it happens: counts, an example, and what helps."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from acclimate.errors import DataError
from acclimate.report import emptied
from acclimate.workspace import Made


def made(folder, stage, dropped, out=0, rejects=(), resumed=False):
    (folder / stage).mkdir(parents=True, exist_ok=True)
    lines = (json.dumps({"doc_id": "d1", "text": text, "reason": reason}) + "\n" for text, reason in rejects)
    (folder / stage / "rejects.jsonl").write_text("".join(lines))
    manifest = {"in": sum(dropped.values()) + out, "out": out, "dropped": dropped}
    return {stage: Made(stage, folder / stage, manifest, resumed)}


@pytest.mark.parametrize(
    ("stage", "dropped", "told"),
    [
        ("generate", {"echo": 3, "empty": 12}, ["no usable query: 12 empty, 3 echo", "rejects.jsonl"]),
        ("generate", {"unfinished reasoning": 9}, ["9 unfinished reasoning", "generate.max_new_tokens", "thinking"]),
        ("generate", {"too long for the LLM": 9}, ["generate.max_doc_tokens"]),
        ("generate", {}, ["it read 0"]),
        ("filter", {"round-trip": 5, "duplicates": 1}, ["no query passed the filters: 5 round-trip", "round_trip_k"]),
        ("mine", {"no candidates": 2}, ["no query got an example to train on: 2 no candidates"]),
        ("label", {"source not found": 2}, ["no list could be labelled"]),
    ],
)
def test_what_kept_nothing_says_so(tmp_path, stage, dropped, told):
    with pytest.raises(DataError) as raised:
        emptied.check(tmp_path, made(tmp_path, stage, dropped), stage)
    message = str(raised.value)
    assert message.startswith(f"{stage}: ")
    assert f"acclimate inspect {tmp_path}" in message
    assert "\n" not in message
    assert all(part in message for part in told), message


def test_an_example_is_of_the_commonest_reason_and_fit_to_be_shown(tmp_path):
    rejects = [("", "echo"), ("rare", "empty"), ("\x1b[31mcopied\nfrom " + "x" * 900, "echo")]
    with pytest.raises(DataError) as raised:
        emptied.check(tmp_path, made(tmp_path, "generate", {"echo": 2, "empty": 1}, rejects=rejects), "generate")
    message = str(raised.value)
    assert "such as '[31mcopied from xxx" in message
    assert "\x1b" not in message
    assert len(message) < 500 + 2 * len(str(tmp_path))


def test_what_one_setting_would_mend_is_told_once_though_others_were_good(tmp_path, capsys):
    dropped = {"unfinished reasoning": 4, "echo": 1}
    emptied.check(tmp_path, made(tmp_path, "generate", dropped, out=7), "generate")
    assert "4 unfinished reasoning: the model spent its tokens on reasoning" in capsys.readouterr().err
    emptied.check(tmp_path, made(tmp_path, "generate", dropped, out=7, resumed=True), "generate")
    emptied.check(tmp_path, made(tmp_path, "generate", {"echo": 1}, out=7), "generate")
    assert capsys.readouterr().err == ""


def test_no_query_to_choose_by_is_told_before_rerankers_learn(tmp_path, monkeypatch):
    stages = made(tmp_path, "filter", {}, out=7)
    held_out = SimpleNamespace(queries=[])
    monkeypatch.setattr("acclimate.artifacts.held_out", lambda run, made: held_out)
    with pytest.raises(DataError, match=r"none of the 7 queries that are left is held out.*sample.dev_share"):
        emptied.check_held_out(None, stages)
    held_out.queries.append("one")
    emptied.check_held_out(None, stages)
