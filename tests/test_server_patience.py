"""An LLM behind a server: what its decodings share, how long it waits and for how often, and which failure is told."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("openai", reason="the openai extra is not installed")

from serving import HASTY, PROMPTS, echo, error, model, serving

from acclimate.base.errors import LLMError
from acclimate.llm import Decoding
from acclimate.llm.backends.server import ServerLLM
from acclimate.llm.server.address import parse
from acclimate.llm.server.client import client
from acclimate.llm.server.gate import Patience, Retry
from acclimate.records import Completion

AT = "@http://there:2/v1"
ANSWER = Completion("yes", (), 1, 1, "stop")


def test_what_is_learned_of_a_server_and_how_it_is_asked_holds_for_all_decodings():
    llm = ServerLLM(f"openai:m{AT},http://more:3/v1", concurrency=3, patience=HASTY)
    other = llm.decoding_as(Decoding(temperature=0.5))
    assert (other.concurrency, other.patience, other.server) == (6, HASTY, llm.server)
    for shared in ("terms", "_gate", "_unusable", "_fleet"):
        assert getattr(other, shared) is getattr(llm, shared)


def test_terms_are_of_one_model_at_one_address_asked_in_one_way_and_answers_of_one_version_of_it():
    apart = [f"openai:m{AT}", f"openai:n{AT}", f"openai-completions:m{AT}", "openai:m@http://here:2/v1"]
    assert len({ServerLLM(name).server for name in apart}) == 4
    versions = [f"openai:m{AT}", f"openai:m{AT}?api-version=1", f"openai:m{AT}?api-version=2"]
    assert len({ServerLLM(name).fingerprint for name in versions}) == 3


def test_connecting_takes_no_longer_than_a_request_may_and_only_we_ask_again(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret-key")
    made = client("m", parse(f"openai:m{AT}"), 7.5)
    assert (made.timeout, made.max_retries) == (7.5, 0)


class Failing(ServerLLM):
    """Fails with these in turn, then answers; `waits` has the seconds waited."""

    def __init__(self, *failures: Retry, patience: Patience) -> None:
        super().__init__(f"openai:m{AT}", patience=patience)
        self.failures, self.waits, self.left, self.narrowed = [*failures], list[float](), list[bool](), list[int]()
        leave, narrow = (lambda answered: self.left.append(answered)), self.narrowed.append
        self._gate: Any = SimpleNamespace(enter=lambda: 7, leave=leave, narrow=narrow, answers=0)

    def asked(self) -> Completion | None:
        stop: Any = SimpleNamespace(is_set=lambda: False, set=lambda: None, wait=self.waits.append)
        return self._ask("?", stop)

    def _request(self, prompt: str) -> Completion:
        if self.failures:
            raise self.failures.pop(0)
        return ANSWER


def test_an_outage_is_told_once_and_again_after_an_answer(caplog):
    caplog.set_level("INFO", "acclimate")
    llm = Failing(*[Retry("busy")] * 2, patience=Patience(20, 1, 1000))
    assert llm.asked() == ANSWER
    assert caplog.text == ""
    for n_told in (1, 2):
        llm.failures = [Retry("busy")] * 9
        assert llm.asked() == ANSWER
        assert caplog.text.count("openai:m at http://there:2/v1: busy; trying again") == n_told


def test_delays_double_up_to_a_limit_and_a_longer_one_that_is_asked_for_is_kept(monkeypatch):
    llm = Failing(*(Retry("busy") for _ in range(9)), Retry("busy", 99.0), patience=Patience(10, 1, 1000))
    assert llm.asked() == ANSWER
    ceilings = [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    assert all(ceiling / 2 <= wait <= ceiling for wait, ceiling in zip(llm.waits[:9], ceilings, strict=True))
    assert llm.waits[9] == 99
    assert llm.left == [False] * 10 + [True]


@pytest.mark.parametrize(
    ("patience", "failure", "asked", "said"),
    [
        (Patience(2, 1, 1000), Retry("busy"), 3, "failed 3 times, last with: busy; its"),
        (Patience(99, 1, 60), Retry("busy", 25.0), 3, "failed 3 times"),  # waits count
        (Patience(99, 1, 60), Retry("busy", 61.0), 1, "failed 1 time, last with: busy, and asks to wait 61 seconds"),
    ],
)
def test_retries_and_seconds_per_prompt_are_limits(patience, failure, asked, said):
    llm = Failing(*[failure] * 99, patience=patience)
    with pytest.raises(LLMError, match=said):
        llm.asked()
    assert (len(llm.left), len(llm.waits)) == (asked, asked - 1)


def test_what_fails_for_a_while_is_no_unusable_answer_and_only_what_is_late_asks_for_fewer():
    late, broken = Retry("late", was_late=True), Retry("broken", was_unusable=True)
    llm = Failing(Retry("busy"), late, broken, Retry("busy"), broken, patience=Patience(99, 1, 1000))
    assert (llm.asked(), llm.narrowed) == (ANSWER, [7])
    llm.failures = [broken, Retry("busy"), broken, broken]
    assert (llm.asked() or ANSWER).finish_reason == "error"
    assert not llm.failures


@pytest.mark.usefixtures("short_waits")
def test_prompts_without_usable_answers_stop_the_rest_only_if_in_a_row():
    def reply(request, nth):
        return {"choices": []} if "number 1" in request["messages"][0]["content"] else echo(request)

    prompts = [PROMPTS[at] for at in (10, 0, 11, 12, 2, 13, 14, 15, 3, 16, 17)]
    with serving(reply) as server:
        answers = model(server, concurrency=1).complete(prompts)
    assert [answer.finish_reason for answer in answers].count("error") == 8


@pytest.mark.usefixtures("short_waits")
def test_of_several_failures_the_first_is_told():
    together = threading.Barrier(2, timeout=5)

    def reply(request, nth):
        together.wait()
        is_first = "number 0\n" in request["messages"][0]["content"]
        time.sleep(0.0 if is_first else 0.2)
        return error(401, "the first one" if is_first else "another")

    with serving(reply) as server, pytest.raises(LLMError, match="the first one"):
        model(server, concurrency=2).complete(PROMPTS[:2])


@pytest.mark.usefixtures("short_waits")
def test_who_reads_no_further_leaves_no_thread_that_waits():
    before = {*threading.enumerate()}
    with serving() as server:
        answers = model(server, concurrency=2).answers(PROMPTS)
        next(answers)
        answers.close()  # type: ignore[attr-defined]
        deadline = time.monotonic() + 5
        asking = lambda: [each for each in threading.enumerate() if "ThreadPool" in each.name and each not in before]  # noqa: E731
        while asking() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert asking() == []
        assert len(server.requests) <= 8


@pytest.mark.usefixtures("short_waits")
@pytest.mark.parametrize("kind", ["openai", "openai-completions"])
def test_an_answer_without_text_is_asked_for_again_only_if_it_is_asked_for_otherwise(kind):
    blank = {"text": "  ", "message": {"content": "  "}, "finish_reason": "length"}
    with serving(lambda request, nth: {"choices": [blank]} if nth < 9 else error(400, "too often")) as server:
        (answer,) = ServerLLM(f"{kind}:tiny@{server.url}", patience=HASTY).complete(PROMPTS[:1])
        assert not answer.text.strip()
        assert len(server.requests) == (2 if kind == "openai" else 1)
