"""What is learned of a server: once for a run, its restarts and its batch files; and what one bad answer costs."""

from __future__ import annotations

import json
import math

import pytest

pytest.importorskip("openai", reason="the openai extra is not installed")

from serving import PROMPTS, chat, echo, error, model, serving
from test_batches import CHAT, answer, requests_of, write

from acclimate.base.errors import LLMError
from acclimate.cli.main import main
from acclimate.llm import Completions, Decoding
from acclimate.llm.batches import BatchedCompletions, read_results
from acclimate.llm.server.failures import failure
from acclimate.llm.server.terms import Terms

pytestmark = pytest.mark.usefixtures("short_waits")

QUERIES = [f"what is number {n}" for n in range(24)]


def picky(request, nth):
    """Takes a model and messages, and complains of one thing at a time."""
    for name in ("logprobs", "max_tokens", "temperature", "top_p", "seed", "chat_template_kwargs"):
        if name in request:
            hint = " Use 'max_completion_tokens' instead." if name == "max_tokens" else ""
            return error(400 if len(name) % 2 else 422, f"Unsupported parameter: '{name}'.{hint}")
    return echo(request)


@pytest.mark.parametrize("status", [400, 403, 422, 500, 501])
def test_a_parameter_is_left_out_whatever_the_status_of_its_refusal(status):
    def reply(request, nth):
        return error(status, "logprobs need an option of the server") if "logprobs" in request else echo(request)

    with serving(reply) as server:
        assert [one.text for one in model(server, concurrency=1).complete(PROMPTS[:3])] == QUERIES[:3]
        assert len(server.requests) == 4


def test_what_is_refused_is_learned_once_for_a_run_and_its_restarts(tmp_path):
    with serving(picky) as server, Completions(tmp_path / "c.sqlite") as kept:
        found = kept.complete(model(server, concurrency=1, temperature=0.7, top_p=0.9), PROMPTS[:12])
        assert [one.text for one in found] == QUERIES[:12]
        assert len(server.requests) == 12 + 5
        assert kept.left_out == ["logprobs", "seed", "top_p", "temperature"]
        kept.complete(model(server, temperature=0.7), PROMPTS[:3])
    with Completions(tmp_path / "c.sqlite") as kept, serving(picky) as other:
        one = model(server)
        kept.learn(one.server, one.terms)
        assert one.terms.left_out == ("logprobs", "seed", "top_p", "temperature")
        assert model(other).terms.left_out == ()


def test_a_batch_asks_without_what_the_last_one_was_refused_for(tmp_path):
    complaints = ["'logprobs' is not supported", "Use 'max_completion_tokens', not 'max_tokens'"]
    complaints += ["no temperature with a content filter", "'max_completion_tokens' is not supported", "busy"]
    sent = []
    for said in complaints:
        with BatchedCompletions(tmp_path / "c.sqlite") as kept:
            kept.complete(CHAT.decoding_as(Decoding()), PROMPTS[:3])
            kept.write(tmp_path / "requests.jsonl")
            requests = requests_of(tmp_path / "requests.jsonl")
            sent.append(sorted(requests[0]["body"].keys() - {"model", "messages"}))
            body = {"error": {"message": said}}
            rows = [{"custom_id": r["custom_id"], "response": {"status_code": 400, "body": body}} for r in requests]
            taken = read_results(kept, write(tmp_path / "results.jsonl", rows))
            assert (taken.failed, taken.refused) == ({f"status 400: {said}": 3}, {})
        CHAT.terms.__init__()
    assert taken.left_out == ["logprobs", "temperature", "max_tokens"]
    assert sent == [
        ["logprobs", "max_tokens", "temperature"],
        ["max_tokens", "temperature"],
        ["max_completion_tokens", "temperature"],
        ["max_completion_tokens"],
        [],
    ]


def test_a_prompt_that_a_batch_refuses_for_good_is_not_asked_again_unless_another_line_answers_it(tmp_path):
    with BatchedCompletions(tmp_path / "c.sqlite") as kept:
        kept.complete(CHAT, PROMPTS[:3])
        first = list(kept.requests.values())
        body = {"error": {"message": "maximum context length exceeded"}}
        long = [
            {"custom_id": request["custom_id"], "response": {"status_code": status, "body": body}}
            for request, status in zip(first, (400, 200), strict=False)
        ]
        odd = [{"custom_id": "\ud800"}, {"custom_id": 7}, {}]
        taken = read_results(kept, write(tmp_path / "results.jsonl", [*long, answer(first[1], "what is it"), *odd]))
        assert (taken.kept, sum(taken.refused.values()), sum(taken.failed.values())) == (1, 2, 3)
        assert kept.ledger() == {("", "openai:tiny"): (2, 7, 4)}  # of the answer, and of a refused prompt
    with BatchedCompletions(tmp_path / "c.sqlite") as kept:
        found = kept.complete(CHAT, PROMPTS[:3])
        assert [(one.text, one.finish_reason) for one in found[:2]] == [("", "context"), ("what is it", "stop")]
        assert list(kept.requests) == [first[2]["custom_id"]]


def test_what_was_learned_is_kept_with_the_first_answer(tmp_path):
    def reply(request, nth):
        return error(400, "logprobs is not supported") if "logprobs" in request else echo(request)

    found = []

    def look(done, total, answers):
        with Completions(tmp_path / "c.sqlite") as other:  # as after a kill
            terms = Terms()
            other.learn(one.server, terms)
            found.append(terms.left_out)

    with serving(reply) as server, Completions(tmp_path / "c.sqlite") as kept:
        one = model(server, concurrency=1)
        kept.complete(one, PROMPTS[:4], on_batch=look)
    assert found == [("logprobs",)] * 4


def test_a_model_that_thinks_aloud_is_told_not_to_and_asked_again_where_no_answer_came():
    def reply(request, nth):
        if request.get("chat_template_kwargs") == {"enable_thinking": False}:
            return echo(request)
        return chat(None, "length", reasoning_content="Hm.") | {"usage": {}}

    with serving(reply) as server:
        one = model(server, concurrency=1)
        assert [found.text for found in one.complete(PROMPTS[:4])] == QUERIES[:4]
        assert len(server.requests) == 5


def test_a_server_that_cannot_be_told_not_to_think_gives_answers_that_end_in_reasoning():
    def reply(request, nth):
        if "chat_template_kwargs" in request:
            return error(400, "Unrecognized request argument supplied: chat_template_kwargs")
        text = None if "number 1\n" in request["messages"][0]["content"] else "<think>Hm.</think>\nwhat is it"
        return chat(text, "length" if text is None else "stop", reasoning="Hm.")

    with serving(reply) as server:
        found = model(server, concurrency=1).complete(PROMPTS[:4])
        assert [one.finish_reason for one in found] == ["stop", "reasoning", "stop", "stop"]
        assert len(server.requests) == 5


@pytest.mark.parametrize(
    "failure",
    [
        error(400, "This model's maximum context length is 128 tokens."),
        error(403, "Input was flagged by moderation"),
        (200, {}, json.dumps({"error": {"message": "prompt is too long: 9 tokens > 8 maximum"}})),
        chat("what is num", "error"),
        {"choices": [{"finish_reason": "stop"}]},
        (200, {}, "no JSON at all"),
    ],
)
def test_one_bad_answer_costs_one_prompt_and_no_restart(tmp_path, failure, caplog):
    caplog.set_level("INFO", "acclimate")

    def reply(request, nth):
        return failure if "number 7\n" in request["messages"][0]["content"] else echo(request)

    with serving(reply) as server, Completions(tmp_path / "c.sqlite") as kept:
        for _ in range(2):
            found = kept.complete(model(server), PROMPTS)
            assert [one.text for one in found] == [query if n != 7 else "" for n, query in enumerate(QUERIES)]
            assert found[7].finish_reason in ("context", "content_filter", "error")
        assert len(server.requests) <= 23 + 3
        assert kept.damaged() == []
    assert caplog.text.count("this prompt is left without an answer") == (found[7].finish_reason == "error")


def test_a_server_whose_answers_are_none_is_given_up_and_not_asked_for_all():
    with serving(lambda request, nth: {"choices": []}) as server:
        with pytest.raises(LLMError, match=r"answers that cannot be used: .*without a choice"):
            model(server, concurrency=1).complete(PROMPTS)
        assert len(server.requests) <= 15


DAMAGES = [
    "",
    "null",
    "{}",
    '{"text": "cut',
    "[" * 100_000,
    json.dumps({"text": "\ud83d", "logprobs": [], "prompt_tokens": 1, "completion_tokens": 1, "finish_reason": "stop"}),
    json.dumps({"text": 3, "logprobs": [], "prompt_tokens": 1, "completion_tokens": 1, "finish_reason": "stop"}),
    *(
        json.dumps(
            {"text": "a", "logprobs": [odd], "prompt_tokens": 1, "completion_tokens": 1, "finish_reason": "stop"}
        )
        for odd in (-math.inf, math.nan, "-1", None, True, 10**400, -1e308)
    ),
    *(
        json.dumps({"text": "a", "logprobs": [], "prompt_tokens": odd, "completion_tokens": 1, "finish_reason": "stop"})
        for odd in (-1, 10**25, "5", None, 1.5, True)
    ),
    json.dumps({"text": "a", "logprobs": [], "prompt_tokens": 1, "completion_tokens": 1, "finish_reason": None}),
    json.dumps({"text": "a", "logprobs": 5, "prompt_tokens": 1, "completion_tokens": 1, "finish_reason": "stop"}),
    json.dumps(
        {"text": "a", "logprobs": [], "more": 1, "prompt_tokens": 1, "completion_tokens": 1, "finish_reason": "x"}
    ),
]


def test_kept_answers_that_cannot_be_used_are_found_removed_and_asked_for_again(tmp_path, capsys):
    def damage(kept):
        keys = [key for (key,) in kept._rows.execute("SELECT key FROM completions ORDER BY key")]
        for key, payload in zip(keys, DAMAGES, strict=False):
            kept._rows.execute("UPDATE completions SET payload = ? WHERE key = ?", (payload, key))
        return len(DAMAGES)

    assert len(DAMAGES) < len(PROMPTS)
    path = tmp_path / "completions.sqlite"
    with serving() as server:
        with Completions(path) as kept:
            whole = kept.complete(model(server), PROMPTS)
            count = damage(kept)
            assert len(kept.damaged()) == count
            assert kept.complete(model(server), PROMPTS) == whole  # asked for again, and nothing else is
            assert len(server.requests) == len(PROMPTS) + count
            damage(kept)
        assert main(["cache", "verify", str(tmp_path)]) == 2
        assert f"{len(PROMPTS)} answers, {count} damaged" in capsys.readouterr().out
        assert main(["cache", "prune", str(tmp_path)]) == 0
        assert main(["cache", "verify", str(tmp_path)]) == 0
        assert f"{len(PROMPTS) - count} answer, 0 damaged" in capsys.readouterr().out
        with Completions(path) as kept:
            assert kept.complete(model(server), PROMPTS) == whole


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (400, "the prompt is too long: lower max_tokens"),
        *((status, "max_tokens are used up") for status in (401, 402, 407, 408, 409, 425, 429, 502, 503, 504)),
        (500, "cannot answer {'temperature': 0.7, 'seed': 1}"),  # the whole request
    ],
)
def test_nothing_is_learned_from_what_is_no_complaint_about_a_parameter(status, words):
    terms = Terms()
    assert not terms.learned(failure(status, words), {"temperature": 0.7, "seed": 1, "max_tokens": 64})
    assert terms == Terms()


@pytest.mark.parametrize("known", [Terms(("seed",)), Terms(limit="max_completion_tokens"), Terms(thinks=True)])
def test_what_others_have_learned_is_added(known):
    for first, second in ((known, Terms(("stop",))), (Terms(("stop",)), known)):
        both = Terms.load(first.dump())
        both.add(second)
        assert ({*both.left_out}, both.limit, both.thinks) == ({*known.left_out, "stop"}, known.limit, known.thinks)
