"""A stage that keeps nothing is told as what it is, where it happens: counts, an example, and what helps."""

from __future__ import annotations

import json
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from acclimate.base.errors import DataError
from acclimate.base.text import command
from acclimate.corpus.judged_queries import JudgedQueries
from acclimate.run.output import StageOutput
from acclimate.stages import sizes
from acclimate.stages.filter import Filtered
from acclimate.stages.generate import Generated
from acclimate.stages.label import Labeled
from acclimate.stages.mine import Mined

KINDS = {kind.stage: kind for kind in (Generated, Filtered, Mined, Labeled)}


def output(folder, stage, dropped, out=0, rejects=(), resumed=False) -> StageOutput:
    (folder / stage).mkdir(parents=True, exist_ok=True)
    lines = (json.dumps({"doc_id": "d1", "text": text, "reason": reason}) + "\n" for text, reason in rejects)
    (folder / stage / "rejects.jsonl").write_text("".join(lines))
    manifest = {"in": sum(dropped.values()) + out, "out": out, "dropped": dropped}
    return KINDS[stage](folder / stage, manifest, resumed)


@pytest.mark.parametrize(
    ("stage", "dropped", "told"),
    [
        ("generate", {"echo": 3, "empty": 12}, ["no usable query: 12 empty, 3 echo", "rejects.jsonl"]),
        ("generate", {"unfinished reasoning": 9}, ["9 unfinished reasoning", "generate.max_new_tokens", "thinking"]),
        ("generate", {"echo": 9, "too short": 2}, ["9 echo, 2 too short; try another generate.prompt"]),
        ("generate", {"too long for the LLM": 9}, ["generate.max_doc_tokens"]),
        ("generate", {}, ["it read 0"]),
        ("filter", {"round-trip": 5, "duplicates": 1}, ["no query passed the filters: 5 round-trip", "round_trip_k"]),
        ("mine", {"no candidates": 2}, ["no query got an example to train on: 2 no candidates"]),
        ("label", {"source not found": 2}, ["no list could be labelled"]),
    ],
)
def test_what_kept_nothing_says_so(tmp_path, stage, dropped, told):
    with pytest.raises(DataError) as raised:
        output(tmp_path, stage, dropped).check_kept()
    message = str(raised.value)
    assert message.startswith(f"{stage}: ")
    assert command("inspect", tmp_path) in message
    assert "\n" not in message
    assert all(part in message for part in told), message


def test_an_example_is_of_the_commonest_reason_and_fit_to_be_shown(tmp_path):
    rejects = [("", "echo"), ("rare", "empty"), ("\x1b[31mcopied\nfrom " + "x" * 900, "echo")]
    with pytest.raises(DataError) as raised:
        output(tmp_path, "generate", {"echo": 2, "empty": 1}, rejects=rejects).check_kept()
    message = str(raised.value)
    assert "such as '[31mcopied from xxx" in message
    assert "\x1b" not in message
    assert len(message) < 500 + 2 * len(str(tmp_path))


def test_what_one_setting_would_mend_is_told_once_though_others_were_good(tmp_path, caplog):
    dropped = {"unfinished reasoning": 4, "echo": 1}
    output(tmp_path, "generate", dropped, out=7).check_kept()
    assert "4 unfinished reasoning: the model spent its tokens on reasoning" in caplog.text
    caplog.clear()
    output(tmp_path, "generate", dropped, out=7, resumed=True).check_kept()
    output(tmp_path, "generate", {"echo": 1}, out=7).check_kept()
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("lacks", "test_share", "told"),
    [
        ("train", 0.2, "none to learn from, where 5 documents"),
        ("dev", 0.2, "none to choose on, where 5 documents"),
        ("test", 0.2, "none to measure on, where 5 documents"),
        ("test", 0.0, ""),  # labelled queries measure
        ("", 0.2, ""),
    ],
)
def test_no_query_for_one_of_their_uses_is_told_before_any_training(lacks, test_share, told, tmp_path):
    sides = ("train", "dev", "test")
    sampled = SimpleNamespace(splits={f"{side}{number}": side for side in sides for number in range(5)})
    filtered = SimpleNamespace(
        queries=["query"] * 2,
        sides=lambda sampled: {side: [] if side == lacks else ["query"] for side in sides},
        folder=tmp_path / "filter",
        manifest={"dropped": {"round-trip": 8}},
    )
    labels = SimpleNamespace(test_share=test_share, choosing=JudgedQueries("dev", ["one", "other"], []))
    run = SimpleNamespace(
        input=SimpleNamespace(labels=labels, provided_queries=None), settings={"sample": {"n_docs": 15}}
    )
    with pytest.raises(DataError, match=told) if told else nullcontext():
        sizes.check_sides(run, sampled, filtered)
