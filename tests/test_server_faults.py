"""Servers that fail, stall and lie: a real one on this machine does so, and no answer is lost or paid for twice."""

from __future__ import annotations

import threading
import time

import pytest

pytest.importorskip("openai", reason="the openai extra is not installed")

from serving import PROMPTS, chat, echo, error, model, serving

from acclimate.base.errors import BudgetExceeded, LLMError
from acclimate.llm import Decoding
from acclimate.llm.backends.server import ServerLLM
from acclimate.llm.completions import Completions
from acclimate.llm.prices import Budget, read_limits
from acclimate.llm.server.gate import Gate, Patience

pytestmark = pytest.mark.usefixtures("short_waits")


FAULTS = {
    "too many requests": lambda request: error(429, **{"retry-after": "0.02"}),
    "a server's failure": lambda request: error(500),
    "a gateway's page": lambda request: (502, {"content-type": "text/html"}, "<h1>Bad gateway</h1>"),
    "a busy gateway's page": lambda request: (429, {"content-type": "text/html"}, "<h1>Slow down</h1>"),
    "a cut connection": lambda request: None,
    "a cut answer": lambda request: (200, {"content-length": "5000"}, '{"choices": ['),
    "broken JSON": lambda request: (200, {}, '{"choices": [{"mess'),
    "no choices": lambda request: {**echo(request), "choices": []},
    "an answer without a message": lambda request: {"choices": [{"index": 0, "finish_reason": "stop"}]},
    "a text that is none": lambda request: chat(17),
    "nothing": lambda request: (200, {}, ""),
    "an answer that broke off": lambda request: chat("what is num", finish="error"),
    "an error under status 200": lambda request: {"error": {"message": "Provider returned error", "code": 502}},
    "an error beside an answer": lambda request: (
        chat("") | {"error": {"message": "Provider returned error", "code": 502}}
    ),
    "a model being loaded": lambda request: error(503, "Loading model"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_may_pass_is_asked_again_and_nothing_twice_without_need(fault):
    fails = {0, 7, 23}

    def reply(request, nth):
        number = int(request["messages"][0]["content"].split("number ")[1].split("\n")[0])
        return FAULTS[fault](request) if number in fails and nth <= 2 else echo(request)

    with serving(reply) as server:
        found = model(server).complete(PROMPTS)
        assert [one.text for one in found] == [f"what is number {n}" for n in range(24)]
        assert len(server.requests) == 24 + 2 * len(fails)


def test_what_was_given_to_one_address_goes_to_no_other():
    with serving() as elsewhere:
        answer = (308, {"location": f"{elsewhere.url}/chat/completions"}, "")
        with (
            serving(lambda request, nth: answer) as server,
            pytest.raises(LLMError, match=f"redirects to {elsewhere.url}"),
        ):
            model(server).complete(PROMPTS[:1])
        assert elsewhere.requests == []


def test_no_more_requests_at_once_than_allowed():
    def reply(request, nth):
        time.sleep(0.02)
        return echo(request)

    with serving(reply) as server:
        model(server, concurrency=5).complete(PROMPTS)
        assert 2 <= server.most <= 5


def test_what_a_server_does_not_take_is_left_out_for_good_by_all_threads_and_decodings():
    """All first requests are under way when the first complaint comes."""
    together = threading.Barrier(8, timeout=5)

    def reply(request, nth):
        if "logprobs" in request or "max_tokens" in request:
            if len(server.requests) <= 8:
                together.wait()
            return error(400, "no logprobs here" if "logprobs" in request else "use max_completion_tokens instead")
        return echo(request)

    with serving(reply) as server:
        one = model(server, concurrency=8)
        assert [answer.text for answer in one.complete(PROMPTS)] == [f"what is number {n}" for n in range(24)]
        asked = len(server.requests)
        one.decoding_as(Decoding(temperature=0.5)).complete(PROMPTS)
        assert len(server.requests) == asked + 24


def test_a_prompt_that_is_refused_for_good_stops_no_other():
    def reply(request, nth):
        refused = "number 7\n" in request["messages"][0]["content"]
        return error(400, "against the rules", code="content_filter") if refused else echo(request)

    with serving(reply) as server:
        found = model(server).complete(PROMPTS)
        assert [at for at, one in enumerate(found) if one.finish_reason == "content_filter"] == [7]
        assert found[7].text == ""


def test_a_gate_narrows_once_for_many_and_widens_again():
    gate = Gate(16)
    seen = [gate.enter() for _ in range(16)]
    for one in seen:
        gate.narrow(one)
        gate.leave(answered=False)
    assert gate._most == 8
    gate.narrow(8)
    gate.narrow(16)  # a request that started before
    assert gate._most == 4
    for _ in range(16 * 20):
        gate.enter()
        gate.leave(answered=True)
    assert gate._most == 16  # and never wider than at first
    for _ in range(9):
        gate.narrow(gate._most)
    assert gate._most == 1


@pytest.mark.parametrize("usage", [{"prompt_tokens": "5", "completion_tokens": None}, "much", {"prompt_tokens": -3}])
def test_accounts_that_are_no_numbers_lose_no_answer(tmp_path, usage):
    with (
        serving(lambda request, nth: {**echo(request), "usage": usage}) as server,
        Completions(tmp_path / "c.sqlite") as kept,
    ):
        assert [one.text for one in kept.complete(model(server), PROMPTS[:1])] == ["what is number 0"]
        assert kept.ledger()["", "openai:tiny"].prompt_tokens > 0


def test_what_was_under_way_when_somebody_interrupts_is_kept(tmp_path, interruptible):
    import signal

    me = threading.get_ident()
    all_under_way = threading.Barrier(4, lambda: signal.pthread_kill(me, signal.SIGINT), timeout=5)

    def reply(request, nth):
        all_under_way.wait()
        time.sleep(0.3)
        return echo(request)

    with serving(reply) as server, Completions(tmp_path / "c.sqlite") as kept:
        with pytest.raises(KeyboardInterrupt):
            kept.complete(model(server, concurrency=4), PROMPTS)
        assert (len(server.requests), len(kept)) == (4, 4)


def test_a_limit_pays_for_nothing_once_it_is_reached_and_stops_nothing_that_is_paid_for(tmp_path):
    with serving() as server, Completions(tmp_path / "c.sqlite") as kept:
        budget = Budget(read_limits(["100"], []))

        def check(left):
            time.sleep(0.1)
            budget.check(kept.ledger(), "", left)

        kept.guard = check
        with pytest.raises(BudgetExceeded):
            kept.complete(model(server, concurrency=2), PROMPTS)
        paid = len(server.requests)
        assert 9 <= paid <= 9 + 2 * 2  # however long whoever counts takes
        for _ in range(2):
            with pytest.raises(BudgetExceeded, match=f"with {24 - paid} prompts? left"):
                kept.complete(model(server), PROMPTS)
        assert len(server.requests) == paid
        first = [request["messages"][0]["content"] for request in server.requests]
        assert len(kept.complete(model(server), first)) == paid


@pytest.mark.slow
def test_a_server_that_works_at_one_request_a_time_is_asked_for_fewer():
    """Sixteen at once would wait longer than a request may take, again and again."""
    one_at_a_time = threading.Lock()

    def reply(request, nth):
        with one_at_a_time:
            time.sleep(0.1)
        return echo(request)

    with serving(reply) as server:
        found = model(server, patience=Patience(retries=5, request_seconds=0.8, prompt_seconds=60)).complete(PROMPTS)
        assert [one.text for one in found] == [f"what is number {n}" for n in range(24)]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (error(401, "bad key"), "OPENAI_API_KEY"),
        (error(404, "no such model"), "no such model"),
        (error(400, "nonsense"), "nonsense"),
        (error(429, "pay first", code="insufficient_quota"), "quota"),
        (error(402, "top up"), "top up.*no credit"),
        ({"error": {"message": "Insufficient credits", "code": 402}}, "Insufficient credits"),
        ({"error": "model 'x' not found"}, "not found.*model's name"),
        ({"detail": "Model not found"}, "not found.*model's name"),
        ({"errors": [{"message": "nothing here"}]}, "nothing here"),
        ({"object": "error", "message": "The model does not exist", "code": 404}, "status 404.*model's name"),
        ({"error": "Unexpected endpoint or method. (POST /chat/completions)"}, "Unexpected endpoint.*/v1"),
        ((404, {}, '{"detail": "Not Found"}'), "Not Found.*/v1"),
        ((200, {"content-type": "text/html"}, "<html><title>Log in</title>"), "a page for people.*'Log in'.*/v1"),
        ((404, {"content-type": "text/html"}, "<h1>Not here</h1>"), "status 404.*'Not here'.*/v1"),
        *(
            ((status, {"location": "/v1/elsewhere"}, ""), "redirects to /v1/elsewhere")
            for status in (301, 302, 307, 308)
        ),
        (error(429, "slow down", **{"retry-after": "7200"}), "slow down, and asks to wait 7,200 seconds"),
        (error(403, "your key may not use this"), "OPENAI_API_KEY"),
    ],
)
def test_what_will_not_pass_stops_at_once_with_a_reason(answer, said):
    with serving(lambda request, nth: answer) as server:
        with pytest.raises(LLMError, match=said) as raised:
            model(server, concurrency=2).complete(PROMPTS)
        assert len(server.requests) <= 4
        assert "secret-key" not in str(raised.value)


def test_a_server_that_never_recovers_is_given_up():
    with serving(lambda request, nth: error(503, "down")) as server:
        with pytest.raises(LLMError, match=r"failed 6 times, last with: .*down.*run the same command again"):
            model(server, concurrency=1).complete(PROMPTS[:3])
        assert len(server.requests) == 6


def test_a_prompt_on_which_a_server_fails_is_given_up_alone_where_others_are_answered():
    """As a local server does on a text that its model cannot read; running the command again would not help."""

    patience = Patience(retries=2, request_seconds=1.0)

    def replying(status):
        def reply(request, nth):
            if "number 3\n" in str(request["messages"][0]["content"]):
                return error(status, "broken")
            time.sleep(0.02)  # so that others are answered after the first failure
            return echo(request)

        return serving(reply)

    with replying(500) as server:
        answers = model(server, patience=patience).complete(PROMPTS[:5])
        assert [answer.finish_reason for answer in answers] == ["stop", "stop", "stop", "error", "stop"]
        with pytest.raises(LLMError, match=r"failed 3 times, last with: .*broken"):  # nobody else is answered
            model(server, patience=patience).complete(PROMPTS[3:4])
    with replying(503) as server, pytest.raises(LLMError, match=r"failed 3 times, last with: .*broken"):  # it is busy
        model(server, patience=patience).complete(PROMPTS[:5])


def test_nobody_listening_is_an_error_that_names_the_address():
    with serving() as server:
        name = f"openai:tiny@{server.url}"
    with pytest.raises(LLMError, match=r"127\.0\.0\.1.*failed 2 times"):
        ServerLLM(name, patience=Patience(retries=1, request_seconds=1)).complete(PROMPTS[:1])


def test_answers_before_a_failure_are_kept_and_not_asked_again(tmp_path):
    broken = True

    def reply(request, nth):
        if broken and "number 20\n" in request["messages"][0]["content"]:
            time.sleep(0.2)
            return error(401)
        return echo(request)

    with serving(reply) as server, Completions(tmp_path / "c.sqlite") as kept:
        with pytest.raises(LLMError):
            kept.complete(model(server, concurrency=4), PROMPTS)
        had = len(kept)
        assert 20 <= had < 24
        broken = False
        asked = len(server.requests)
        answers = kept.complete(model(server), PROMPTS)
        assert [one.text for one in answers] == [f"what is number {n}" for n in range(24)]
        assert len(server.requests) - asked == 24 - had
        assert kept.ledger() == {("", "openai:tiny"): (24, 24 * 9, 24 * 3)}


def test_a_budget_stops_the_asking_and_loses_no_answer(tmp_path):
    def reply(request, nth):
        time.sleep(0.02)
        return echo(request)

    def stop(done, total, fresh):
        if done >= 5:
            raise BudgetExceeded("enough")

    with serving(reply) as server, Completions(tmp_path / "c.sqlite") as kept:
        with pytest.raises(BudgetExceeded):
            kept.complete(model(server, concurrency=3), PROMPTS, on_batch=stop)
        assert 5 <= len(kept) == len(server.requests) <= 5 + 2 * 3
        seen = []
        kept.complete(model(server), PROMPTS, on_batch=lambda done, total, fresh: seen.append((done, total)))
        assert seen[-1] == (24, 24)
        assert [done for done, _ in seen] == sorted({done for done, _ in seen})
