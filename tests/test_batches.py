"""Batch files: what would be asked becomes lines, and their answers, in any order, are as if they had been asked."""

from __future__ import annotations

import json
import math
import random
from types import SimpleNamespace

import pytest
from chain import SERVED, report_of, write_corpus

import acclimate
from acclimate.base.errors import BatchWritten, BudgetExceeded, DataError
from acclimate.base.testing import FakeLLM
from acclimate.cli.main import main
from acclimate.llm import Completions, Decoding
from acclimate.llm.backends.server import ServerLLM
from acclimate.llm.batches import BatchedCompletions, BatchResults, read_results
from acclimate.llm.prices import Budget, read_limits
from acclimate.run.store import Store

pytestmark = pytest.mark.usefixtures("fake_llm")

PROMPTS = [f"Document: the mine number {n}\nQuestion:" for n in range(5)]
CHAT = ServerLLM("openai:tiny@http://there/v1", Decoding(max_new_tokens=9))
PLAIN = ServerLLM("openai-completions:tiny@http://there/v1", Decoding(temperature=0.7, seed=3))


def answer(request, text):
    """A line of results as a batch endpoint writes it."""
    body = {"usage": {"prompt_tokens": 7, "completion_tokens": 4}}
    if "chat" in request["url"]:
        body["choices"] = [{"message": {"content": text}, "finish_reason": "stop"}]
    else:
        body["choices"] = [{"text": f"{text}\nDocument:", "finish_reason": "length"}]
    return {"id": "x", "custom_id": request["custom_id"], "response": {"status_code": 200, "body": body}, "error": None}


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def requests_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("llm", [CHAT, PLAIN])
def test_results_in_any_order_are_what_the_llm_would_have_said(tmp_path, llm):
    with BatchedCompletions(tmp_path / "c.sqlite", "generate") as kept:
        kept.complete(llm, [*PROMPTS, PROMPTS[0]])
        assert kept.write(tmp_path / "requests.jsonl") == 5
        assert (len(kept), kept.again) == (0, 0)
    requests = requests_of(tmp_path / "requests.jsonl")
    assert {request["method"] for request in requests} == {"POST"}
    assert {request["url"] for request in requests} == {"/v1/chat/completions" if llm is CHAT else "/v1/completions"}
    by_prompt = {json.dumps(one["body"].get("messages") or one["body"]["prompt"]): one for one in requests}
    assert len(by_prompt) == len({one["custom_id"] for one in requests}) == 5
    results = [answer(one, f"what is number {at}") for at, one in enumerate(by_prompt.values())]
    random.Random(0).shuffle(results)
    with Completions(tmp_path / "c.sqlite", "generate") as kept:
        for _ in range(2):  # read twice, it is paid for once
            assert read_results(kept, write(tmp_path / "results.jsonl", results))[:2] == (5, {})
    with Completions(tmp_path / "c.sqlite", "generate") as kept:
        found = kept.complete(llm, PROMPTS)
        assert kept.usage == (0, 0, 0)
        assert kept.ledger() == {("generate", "openai:tiny"): (5, 35, 20)}
    assert [one.text for one in found] == [f"what is number {n}" for n in range(5)]
    assert {one.finish_reason for one in found} == {"stop"}


FAILURES = [  # what a line has besides custom_id, and what is said of it
    ({"response": {"status_code": 429, "body": {"error": {"message": "too busy"}}}}, "status 429: too busy"),
    ({"response": {"status_code": 502, "body": "bad gateway"}}, "status 502: bad gateway"),
    ({"response": None, "error": {"message": "gone"}}, "gone"),
    ({"response": {"body": {"error": {"message": "expired"}}}}, "expired"),
    (
        {"response": {"status_code": 200, "body": {"choices": []}}},
        "an answer without a choice: a JSON object with the keys 'choices'",
    ),
    ({"response": {"body": "hello"}}, "no JSON: 'hello'"),
    ({"response": {"body": '{"error": "late"}'}}, "late"),
    ({"result": {"type": "errored"}}, "no answer in a line with the keys 'custom_id, result'"),
    ({"response": [1]}, "a response that is no JSON object"),
    ({"response": {"status_code": math.inf}}, "status_code is inf; expected a number"),  # 1e999 in the file
]


def test_what_failed_is_counted_and_asked_for_again(tmp_path):
    prompts = [f"{prompt} {n}" for n in range(2) for prompt in PROMPTS]
    with BatchedCompletions(tmp_path / "c.sqlite") as kept:
        kept.complete(CHAT, prompts)
        ids = [*kept.requests]
        rows = [{"custom_id": key, **row} for key, (row, _) in zip(ids, FAILURES, strict=False)]
        rows += [answer(request, "what is it") for request in [*kept.requests.values()][len(FAILURES) :]]
        path = write(tmp_path / "results.jsonl", rows)
        path.write_text(f'{path.read_text()} \n\n[7]\n{{"cust')  # a blank line is none, and the last one was cut
        taken = read_results(kept, path)
        assert taken.kept == len(ids) - len(FAILURES)
        messages = [*(said for _, said in FAILURES), *["a line that is no JSON object"] * 2]
        assert taken.failed == {said: messages.count(said) for said in messages}
    with BatchedCompletions(tmp_path / "c.sqlite") as kept:
        texts = [completion.text for completion in kept.complete(CHAT, prompts)]
        assert texts == [""] * len(FAILURES) + ["what is it"] * taken.kept
        assert [*kept.requests] == ids[: len(FAILURES)]


def test_a_body_may_be_text_or_left_out(tmp_path):
    with BatchedCompletions(tmp_path / "c.sqlite") as kept:
        kept.complete(CHAT, PROMPTS[:3])
        rows = [answer(one, "what is it") for one in kept.requests.values()]
        rows[0]["response"]["body"] = json.dumps(rows[0]["response"]["body"])
        rows[1]["response"] = rows[1]["response"]["body"]
        rows[2]["response"]["body"] = f"data: {json.dumps(rows[2]['response']['body'])}\n\ndata: [DONE]\n"
        assert read_results(kept, write(tmp_path / "results.jsonl", rows))[:2] == (3, {})


def test_results_of_another_run_are_counted_and_a_file_of_nothing_else_refused(tmp_path):
    with BatchedCompletions(tmp_path / "c.sqlite") as kept:
        kept.complete(CHAT, PROMPTS[:1])
        rows = [answer(one, "what is it") for one in kept.requests.values()]
        strange = {**rows[0], "custom_id": "elsewhere"}
        taken = read_results(kept, write(tmp_path / "results.jsonl", [strange, *rows]))
        assert taken[:2] == (1, {"custom_id is not of this run": 1})
        with pytest.raises(DataError, match=r"results.jsonl: no line .*; are these its results\?$"):
            read_results(kept, write(tmp_path / "results.jsonl", [strange]))
        (tmp_path / "page.html").write_text("<html>\n<body>Service unavailable</body>\n")
        with pytest.raises(DataError, match="no line is a JSON object by itself; are these its results"):
            read_results(kept, tmp_path / "page.html")


def test_what_an_earlier_batch_asked_is_counted(tmp_path):
    for again in (0, 5):
        with BatchedCompletions(tmp_path / "c.sqlite") as kept:
            kept.complete(CHAT, PROMPTS)
            assert (len(kept.requests), kept.again) == (5, again)


def test_an_llm_on_this_machine_is_asked_as_ever(tmp_path):
    with BatchedCompletions(tmp_path / "c.sqlite") as kept:
        told = []
        completions = kept.complete(FakeLLM(), PROMPTS, on_batch=lambda *batch: told.append(batch))
        assert all(completion.text for completion in completions)
        assert told == [(5, 5, completions)]
        assert (len(kept), kept.requests) == (5, {})


def test_what_is_printed_of_a_batch_adds_up(monkeypatch, capsys):
    taken = BatchResults(1, {"busy": 1_200, "odd": 1}, {"odd": 1}, ["seed", "stop"])
    monkeypatch.setattr(acclimate, "Answers", lambda _: SimpleNamespace(fill=lambda _: taken))
    assert main(["cache", "fill", "run", "results.jsonl"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "1 answer taken in, 1,202 failed",
        "  1,200: busy",
        "  1: odd",
        "  1: odd",
        "1 of them is refused for good: their documents are passed over.",
        "What failed is asked for again by the next batch, without seed and stop.",
    ]
    taken = BatchResults(0, {"busy": 2}, {}, [])
    assert main(["cache", "fill", "run", "results.jsonl"]) == 2
    assert capsys.readouterr().err == "acclimate: results.jsonl: none of these results is an answer\n"


@pytest.mark.parametrize("llm", [CHAT, FakeLLM()])
def test_a_limit_that_is_reached_holds_for_a_batch_as_for_any_run(tmp_path, llm):
    file = tmp_path / "requests.jsonl"
    store = Store(tmp_path, Budget(read_limits(["generate=60"], [])), file)
    with store.completions("generate") as kept:
        kept.complete(FakeLLM(), PROMPTS)
    said = "have used 60 tokens of --max-tokens generate=60, with 2 prompts left"
    with pytest.raises(BudgetExceeded, match=said), store.completions("generate") as kept:
        kept.complete(llm, ["another", "and one more", "another"])
    assert not file.exists()
    said = r"^filter: 1 request is in .*requests.jsonl; get .* cache fill"
    with pytest.raises(BatchWritten, match=said), store.completions("filter") as kept:
        kept.complete(CHAT, ["another"])
    assert len(requests_of(file)) == 1


def test_only_a_run_with_an_llm_behind_a_server_has_a_batch(run_adapt, tmp_path, capsys):
    corpus = write_corpus(tmp_path / "nature.jsonl")
    assert run_adapt(corpus, tmp_path / "run", "--batch", str(tmp_path / "requests.jsonl")) == 2
    assert "takes no batch files" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_by_batches_is_the_run_that_asked(run_adapt, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("acclimate.llm.load", SERVED)
    corpus, out = write_corpus(tmp_path / "nature.jsonl"), tmp_path / "run"
    changes = ("generate.llm=openai:tiny", "generate.prompt=adapted", "seed.llm=openai:tiny", "seed.n_docs=10")
    changes += ("seed.n_prompts=2", "seed.prompt=inpars", "distill.student=dense-query", "distill.epochs=1")
    for _ in range(3):  # good questions, bad questions, queries
        assert run_adapt(corpus, out, "--batch", str(tmp_path / "requests.jsonl"), changes=changes) == 0
        assert "acclimate cache fill" in capsys.readouterr().err
        rows = []
        for request in requests_of(tmp_path / "requests.jsonl"):
            prompt = request["body"]["messages"][0]["content"]
            document = prompt.rpartition("Document:")[2].partition("\n")[0]
            longest = sorted(set(document.split()), key=len)
            text = f"{longest[-1]} then" if prompt.endswith("Bad Question:") else "what about " + " ".join(longest[-3:])
            rows.append(answer(request, text))
        assert main(["cache", "fill", str(out), str(write(tmp_path / "results.jsonl", rows))]) == 0
        assert f"{len(rows)} answers taken in, 0 failed" in capsys.readouterr().out
    monkeypatch.setenv("OPENAI_API_KEY", "none is needed: nobody is asked")
    assert run_adapt(corpus, out, changes=changes) == 0
    stages = {stage["name"]: stage for stage in report_of(out)["stages"]}
    assert stages["seed"]["out"] == 6
    assert stages["generate"]["out"] > 30
