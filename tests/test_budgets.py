"""Limits of tokens and cost: a run stops with 3, and goes on where it was."""

from __future__ import annotations

import json
import sqlite3

import pytest
from chain import (
    SERVED,
    CountingLLM,
    contents,
    report_of,
)

from acclimate.cli.main import main

pytestmark = pytest.mark.usefixtures("fake_llm")


@pytest.mark.slow
def test_a_token_budget_stops_with_3_and_a_higher_one_goes_on_where_it_was(
    corpus, finished, run_adapt, tmp_path, capsys, monkeypatch
):
    from acclimate.llm import completions

    monkeypatch.setattr(completions, "BATCH_PROMPTS", 4)
    out = tmp_path / "run"
    assert run_adapt(corpus, out, "--max-tokens", "600") == 3
    assert not capsys.readouterr().out
    with sqlite3.connect(out / "completions.sqlite") as rows:
        kept = rows.execute("SELECT count(*) FROM completions").fetchone()[0]
    assert 0 < kept < 36
    assert not (out / "generate" / "manifest.json").exists()
    before = CountingLLM.asked
    assert run_adapt(corpus, out, "--max-tokens", "1000000") == 0
    assert CountingLLM.asked - before == 36 - kept
    one, other = contents(finished), contents(out)
    assert one["generate/queries.jsonl"] == other["generate/queries.jsonl"]
    assert [name for name in one if one[name] != other.get(name)] == ["run.json"]  # which has the limit
    assert json.loads((out / "run.json").read_text())["max_tokens"] == ["1000000"]
    assert main(["generate", str(out), "--temperature", "0.5"]) == 0
    assert main(["adapt", str(corpus), "--out", str(out), "--max-tokens", "nonsense"]) == 2
    before = CountingLLM.asked
    assert run_adapt(corpus, out, "--max-tokens", "600") == 0  # all is answered: there is nothing to pay for
    assert CountingLLM.asked == before


def test_a_stage_s_command_goes_on_under_the_limits_of_its_run(corpus, run_adapt, tmp_path, capsys, monkeypatch):
    from acclimate.llm import completions

    monkeypatch.setattr(completions, "BATCH_PROMPTS", 4)
    out = tmp_path / "run"
    assert run_adapt(corpus, out, "--max-tokens", "600") == 3
    before = CountingLLM.asked
    for command in ("generate", "evaluate"):
        assert main([command, str(out)]) == 3
    assert CountingLLM.asked == before
    assert "--max-tokens 600" in capsys.readouterr().err


@pytest.mark.slow
def test_an_llm_behind_a_server_stops_at_its_cost_goes_on_and_leaves_no_key(
    corpus, run_adapt, tmp_path, capsys, monkeypatch
):
    pytest.importorskip("openai", reason="the openai extra is not installed")
    from serving import chat, serving

    def reply(request, nth):
        document = request["messages"][0]["content"].rpartition("Document:")[2].partition("\n")[0]
        return chat("what about " + " ".join(sorted(set(document.split()), key=len)[-3:]))

    monkeypatch.setattr("acclimate.llm.load", SERVED)
    monkeypatch.setenv("OPENAI_API_KEY", "secret-key")
    prices = tmp_path / "prices.toml"
    prices.write_text('["openai:tiny"]\nprompt = 100000\ncompletion = 0\n')  # $0.90 an answer
    out = tmp_path / "run"
    with serving(reply) as server:
        options = [corpus, out, "--set", f"generate.llm=openai:tiny@{server.url}", "--prices", str(prices)]
        assert run_adapt(*options, "--max-cost", "8") == 3
        assert "--max-cost 8" in capsys.readouterr().err
        asked = len(server.requests)
        assert 9 <= asked < 36
        assert run_adapt(*options) == 0
        assert len(server.requests) == 36
        assert run_adapt(*options) == 0
        assert len(server.requests) == 36
    generated = {stage["name"]: stage for stage in report_of(out)["stages"]}["generate"]
    assert generated["cost_usd"] == pytest.approx(36 * 0.9)
    assert all(b"secret-key" not in path.read_bytes() for path in out.rglob("*") if path.is_file())
