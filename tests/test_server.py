"""LLMs behind servers: a real HTTP server on this machine answers, fails, stalls and lies; no answer may be lost."""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest

pytest.importorskip("openai", reason="the openai extra is not installed")

from acclimate.base.errors import BudgetExceeded, LLMError, SettingError
from acclimate.llm import Decoding, check, load
from acclimate.llm.backends.server import ServerLLM, _retry_after
from acclimate.llm.completions import Completions
from acclimate.llm.prices import Budget, read_limits
from acclimate.llm.protocol import StreamingLLM
from acclimate.llm.server.gate import Gate, Patience

PROMPTS = [f"Document: number {n}\nQuestion:" for n in range(24)]
HASTY = Patience(retries=5, request_seconds=1.0, prompt_seconds=20)  # more than a busy machine needs for an answer


def chat(text, finish="stop", logprobs=None, **more):
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish, **more}
    if logprobs is not None:
        choice["logprobs"] = {"content": [{"token": token, "logprob": value} for token, value in logprobs]}
    return {
        "id": "1",
        "object": "chat.completion",
        "choices": [choice],
        "usage": {"prompt_tokens": 9, "completion_tokens": 3},
    }


def echo(request):
    number = request["messages"][0]["content"].split("number ")[1].split("\n")[0]
    return chat(f"what is number {number}")


class Server(ThreadingHTTPServer):
    """Answers by `reply(request, nth)`: an answer, (status, headers, text), or None for a cut line."""

    daemon_threads = True
    reply = staticmethod(lambda request, nth: echo(request))
    part, pause = 1 << 30, 0.0  # bytes of an answer at a time, and seconds between

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests, self.times, self.keys, self.paths = [], {}, [], []
        self.guard, self.now, self.most = threading.Lock(), 0, 0

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        key = json.dumps(request.get("messages") or request.get("prompt"))
        with self.server.guard:
            self.server.requests.append(request)
            self.server.keys.append(self.headers["authorization"])
            self.server.paths.append(self.path)
            nth = self.server.times[key] = self.server.times.get(key, 0) + 1
            self.server.now += 1
            self.server.most = max(self.server.most, self.server.now)
        try:
            answer = self.server.reply(request, nth)
            with self.server.guard:
                self.server.now -= 1
            if answer is None:
                self.connection.close()
                return
            status, headers, text = (200, {}, json.dumps(answer)) if isinstance(answer, dict) else answer
            body = text.encode()
            self.send_response(status)
            for name, value in {
                "content-type": "application/json",
                "content-length": str(len(body)),
                **headers,
            }.items():
                self.send_header(name, value)
            self.end_headers()
            for at in range(0, len(body), self.server.part):
                self.wfile.write(body[at : at + self.server.part])
                time.sleep(self.server.pause)
        except OSError:  # the client gave up
            pass

    def log_message(self, *_):
        pass


@contextmanager
def serving(reply=None):
    server = Server()
    if reply is not None:
        server.reply = reply
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret-key")
    monkeypatch.setattr("acclimate.llm.backends.server._FIRST_WAIT", 0.01)


def model(server, concurrency=16, patience=HASTY, **decoding):
    return ServerLLM(f"openai:tiny@{server.url}", Decoding(**decoding), concurrency=concurrency, patience=patience)


def error(status, message="no", code=None, **headers):
    return status, headers, json.dumps({"error": {"message": message, "code": code}})


FAULTS = {
    "too many requests": lambda request: error(429, **{"retry-after": "0.02"}),
    "a server's failure": lambda request: error(500),
    "a gateway's page": lambda request: (502, {"content-type": "text/html"}, "<h1>Bad gateway</h1>"),
    "a cut connection": lambda request: None,
    "a cut answer": lambda request: (200, {"content-length": "5000"}, '{"choices": ['),
    "broken JSON": lambda request: (200, {}, '{"choices": [{"mess'),
    "no choices": lambda request: {**echo(request), "choices": []},
    "an answer without a message": lambda request: {"choices": [{"index": 0, "finish_reason": "stop"}]},
    "a text that is none": lambda request: chat(17),
    "nothing": lambda request: (200, {}, ""),
    "an answer that broke off": lambda request: chat("what is num", finish="error"),
    "an error under status 200": lambda request: {"error": {"message": "Provider returned error", "code": 502}},
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


def test_a_slow_answer_is_given_up_and_asked_again():
    def reply(request, nth):
        if nth == 1 and "number 3\n" in request["messages"][0]["content"]:
            time.sleep(1.5)
        return echo(request)

    with serving(reply) as server:
        started = time.monotonic()
        assert len(model(server).complete(PROMPTS)) == 24
        assert 0.5 <= time.monotonic() - started < 6
        assert len(server.requests) == 25


def test_a_wait_that_the_server_asks_for_is_kept():
    times = []

    def reply(request, nth):
        times.append(time.monotonic())
        return error(429, **{"retry-after": "0.4"}) if nth == 1 else echo(request)

    with serving(reply) as server:
        model(server).complete(PROMPTS[:1])
    assert times[1] - times[0] >= 0.4


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0.4", 0.4),
        ("-3", 0.0),
        ("Wed, 21 Oct 2015 07:28:30 GMT", 30.0),  # from the response's own date
        ("Wed, 21 Oct 2015 07:27:00 GMT", 0.0),
        ("Wed, 21 Oct 99999 07:28:00 GMT", None),
        ("nan", None),
        ("soon", None),
        ("", None),
    ],
)
def test_a_wait_is_told_in_seconds_or_as_a_date(value, seconds):
    headers = {"retry-after": value, "date": "Wed, 21 Oct 2015 07:28:00 GMT"}
    assert _retry_after(SimpleNamespace(headers=headers)) == seconds


def test_a_wait_until_a_date_counts_from_now_where_the_response_has_none():
    headers = {"retry-after": formatdate(time.time() + 60, usegmt=True)}
    assert 50 < _retry_after(SimpleNamespace(headers=headers)) <= 60


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
    for _ in range(16 * 8):
        gate.enter()
        gate.leave(answered=True)
    assert gate._most == 16


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
        kept.guard = lambda left: budget.check(kept.ledger(), left)
        with pytest.raises(BudgetExceeded):
            kept.complete(model(server, concurrency=2), PROMPTS)
        paid = len(server.requests)
        assert 9 <= paid < 24
        for _ in range(2):
            with pytest.raises(BudgetExceeded, match=f"with {24 - paid} prompts left"):
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
        ((301, {"location": "/v1/elsewhere"}, ""), "redirects to /v1/elsewhere"),
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
        with pytest.raises(LLMError, match=r"failed 6 times, last with: .*down.*the same command goes on"):
            model(server, concurrency=1).complete(PROMPTS[:3])
        assert len(server.requests) == 6


def test_an_answer_that_drips_on_and_on_is_given_up_in_time():
    started = time.monotonic()
    with serving() as server:
        server.part, server.pause = 1, 0.05  # a byte is soon enough for the client; the answer would take 10 seconds
        with pytest.raises(LLMError, match=r"not read in 0.3 seconds"):
            ServerLLM(f"openai:tiny@{server.url}", patience=Patience(1, 0.3, 20)).complete(PROMPTS[:1])
    assert time.monotonic() - started < 5


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


def test_log_probabilities_are_those_of_the_query_alone():
    tokens = [("\n", -9.0), ("what", -0.5), (" now", -0.25), ("\n", -3.0), ("more", -4.0)]
    with serving(lambda request, nth: chat("\nwhat now\nmore", logprobs=tokens)) as server:
        (found,) = model(server).complete(PROMPTS[:1])
        assert found == ("what now", (-0.5, -0.25), 9, 3, "stop")
        assert server.requests[0]["logprobs"] is True


def test_a_server_without_log_probabilities_is_asked_without():
    def reply(request, nth):
        return error(400, "logprobs are not supported") if "logprobs" in request else echo(request)

    with serving(reply) as server:
        one = model(server, concurrency=1)
        assert [found.logprobs for found in one.complete(PROMPTS[:3])] == [(), (), ()]
        assert len(server.requests) == 4


def test_a_server_that_wants_another_name_for_the_limit_gets_it():
    def reply(request, nth):
        return error(400, "use max_completion_tokens instead") if "max_tokens" in request else echo(request)

    with serving(reply) as server:
        model(server, max_new_tokens=7).complete(PROMPTS[:1])
        assert server.requests[-1]["max_completion_tokens"] == 7


@pytest.mark.parametrize(
    ("text", "finish", "query", "why"),
    [
        ("Here is a query:\n\nwhat now", "stop", "Here is a query:\n\nwhat now", "stop"),
        ("what now, and then", "length", "what now, and then", "length"),
        ("what now\nand then", "length", "what now", "stop"),
        (None, "content_filter", "", "content_filter"),
        ("", "stop", "", "stop"),
    ],
)
def test_what_a_chat_says_becomes_one_line(text, finish, query, why):
    with serving(lambda request, nth: chat(text, finish)) as server:
        (found,) = model(server).complete(PROMPTS[:1])
        assert (found.text, found.finish_reason) == (query, why)


def test_text_completion_sends_the_prompt_as_it_is_and_its_stops():
    def reply(request, nth):
        token_logprobs = {"tokens": [" what", " now", "\n"], "token_logprobs": [-1.0, None, -2.0]}
        choice = {"index": 0, "text": " what now\nQ", "finish_reason": "stop", "logprobs": token_logprobs}
        return {"choices": [choice], "usage": None}

    with serving(reply) as server:
        one = ServerLLM(f"openai-completions:tiny@{server.url}", patience=HASTY)
        (found,) = one.complete(PROMPTS[:1])
        assert (found.text, found.logprobs) == (" what now", ())  # not of all of its tokens
        assert found.prompt_tokens > 0
        assert server.paths == ["/v1/completions"]
        assert server.requests[0]["prompt"] == PROMPTS[0]
        assert server.requests[0]["stop"] == ["\n"]


def test_a_seed_for_each_prompt_when_sampling_and_none_else():
    with serving() as server:
        model(server, temperature=0.7, seed=3).complete(PROMPTS[:3])
        model(server, temperature=0.7, seed=3).complete(PROMPTS[2::-1])
        model(server).complete(PROMPTS[:1])
        by_prompt = {}
        for request in server.requests[:6]:
            by_prompt.setdefault(request["messages"][0]["content"], set()).add(request["seed"])
        assert [len(seeds) for seeds in by_prompt.values()] == [1, 1, 1]
        assert len(set.union(*by_prompt.values())) == 3
        assert "seed" not in server.requests[6]


def test_the_key_goes_to_the_server_and_nowhere_else(tmp_path):
    with serving() as server, Completions(tmp_path / "c.sqlite") as kept:
        one = model(server)
        kept.complete(one, PROMPTS[:2])
        assert set(server.keys) == {"Bearer secret-key"}
        assert "secret" not in one.fingerprint + one.name + repr(vars(one))
    assert all(b"secret-key" not in path.read_bytes() for path in tmp_path.iterdir())


def test_names_addresses_and_fingerprints(monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://elsewhere:1/v1/")
    assert ServerLLM("openai:a/b:free").url == "http://elsewhere:1/v1"
    assert ServerLLM("openai:a/b:free").model == "a/b:free"
    there = ServerLLM("openai:m@http://there:2/v1")
    assert (there.model, there.url, there.name) == ("m", "http://there:2/v1", "openai:m")
    changed = [
        ServerLLM("openai:m@http://here:2/v1"),
        ServerLLM("openai-completions:m@http://there:2/v1"),
        ServerLLM("openai:m@http://there:2/v1", Decoding(temperature=0.5)),
        ServerLLM("openai:m@http://there:2/v1", Decoding(max_new_tokens=9)),
    ]
    assert len({one.fingerprint for one in (there, *changed)}) == 5
    assert isinstance(there, StreamingLLM)
    assert isinstance(load("openai:m@http://there:2/v1"), ServerLLM)


@pytest.mark.parametrize("name", ["openai:", "openai:m@ftp://x", "openai:a b"])
def test_a_name_that_is_none_is_refused(name):
    with pytest.raises(SettingError, match="expected openai:MODEL"):
        load(name)


def test_a_secret_in_an_address_is_refused_and_not_repeated():
    with pytest.raises(SettingError, match="OPENAI_API_KEY") as raised:
        ServerLLM("openai:m@http://user:hunter2@there/v1")
    assert "hunter2" not in str(raised.value)


def test_openai_itself_needs_a_key(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(SettingError, match="needs a key in OPENAI_API_KEY"):
        check("openai:gpt-4.1-mini")


def test_documents_are_cut_at_words():
    one = ServerLLM("openai:m@http://there/v1")
    assert one.cut("some words here", 100) == "some words here"
    assert one.cut("some words here", 3) == "some words"
    assert one.cut("x" * 50, 2) == "x" * 8
