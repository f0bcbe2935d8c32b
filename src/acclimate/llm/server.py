"""An LLM behind an OpenAI-compatible server: OpenAI, vLLM, Ollama, llama.cpp's server, OpenRouter and their like.

`openai:MODEL` asks the address in OPENAI_BASE_URL (OpenAI's own when there is none), `openai:MODEL@http://host:port/v1`
that one; `openai-completions:` in place of `openai:` sends the prompt as a text to go on with, not as a chat message,
which is what models without chat training need. The key is OPENAI_API_KEY; it is sent to the server and goes nowhere
else. Requests go out together and their answers come as they come; what may pass (too many requests, a server's
failure, a cut connection, an answer that is none) is asked again, later and later.
"""

from __future__ import annotations

import os
import random
import re
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

from acclimate.errors import LLMError, MissingExtra, SettingError
from acclimate.files import fingerprint
from acclimate.llm import wire
from acclimate.llm.decoding import Decoding, characters_of, cut_at
from acclimate.records import Completion

_NAME = re.compile(r"openai(?P<completions>-completions)?:(?P<model>(?:(?!://)\S)+?)(?:@(?P<url>https?://\S+))?")
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0  # seconds
_ANSWERS_TO_WIDEN = 16
_REFUSALS = ("content_filter", "content_policy_violation", "context_length_exceeded")


class _Again(Exception):
    """A failure that may pass. `after`: seconds that the server asked to wait; `was_late`: it ran out of time."""

    def __init__(self, reason: str, after: float | None = None, *, was_late: bool = False) -> None:
        super().__init__(reason)
        self.after, self.was_late = after, was_late


class Patience(NamedTuple):
    """How long to go on asking."""

    retries: int = 8
    request_seconds: float = 120.0  # for one request
    prompt_seconds: float = 900.0  # for one prompt, waiting included


class _Gate:
    """Lets so many in at once. A small server works at one request a time, and those that wait for it must not run out
    of time: one that did narrows the gate, and answers widen it again."""

    def __init__(self, most: int) -> None:
        self._widest = self._most = most
        self._inside = self._answers = 0
        self._changed = threading.Condition()

    def enter(self) -> int:
        """Wait until there is room. Returns how many the gate let in at that time."""
        with self._changed:
            self._changed.wait_for(lambda: self._inside < self._most)
            self._inside += 1
            return self._most

    def leave(self, *, answered: bool) -> None:
        with self._changed:
            self._inside -= 1
            self._answers += answered
            if answered and self._answers % _ANSWERS_TO_WIDEN == 0:
                self._most = min(self._widest, self._most + 1)
            self._changed.notify_all()

    def narrow(self, seen: int) -> None:
        """Let in half as many, unless somebody who came in with us has said so."""
        with self._changed:
            if self._most == seen:
                self._most = max(1, seen // 2)


@dataclass
class _Terms:
    """What a server turned out to take; all threads, and all decodings of an LLM, share what one has learned."""

    logprobs: bool = True
    limit: str = "max_tokens"

    def learned(self, complaint: str, sent: _Terms) -> bool:
        """True when the complaint names something that was sent and can be done without, which it is from now on."""
        if sent.logprobs and "logprob" in complaint:
            self.logprobs = False
            return True
        if sent.limit == "max_tokens" and "max_completion_tokens" in complaint:
            self.limit = "max_completion_tokens"
            return True
        return False


class ServerLLM:
    """Implements `acclimate.records.StreamingLLM`.

    Raises SettingError for a name that is none, MissingExtra without the `openai` package.
    """

    def __init__(
        self,
        name: str,
        decoding: Decoding = Decoding(),  # noqa: B008 (immutable)
        *,
        concurrency: int = 16,
        patience: Patience = Patience(),  # noqa: B008 (immutable)
    ) -> None:
        match = _NAME.fullmatch(name)
        if match is None:
            raise SettingError(
                f"{name!r}: expected openai:MODEL or openai:MODEL@http://host:port/v1, with openai-completions: in "
                "place of openai: for a model that is no chat model"
            )
        self._name = name
        self.model = match["model"]
        self.chats = match["completions"] is None
        self.url = (match["url"] or os.environ.get("OPENAI_BASE_URL") or "https://api.openai.com/v1").rstrip("/")
        if "@" in self.url.partition("://")[2].partition("/")[0] or "?" in self.url:
            raise SettingError(f"openai:{self.model}: an address with a secret in it; put the key into OPENAI_API_KEY")
        self.decoding = replace(decoding, chat=self.chats)
        self.concurrency, self.patience = concurrency, patience
        self._terms = _Terms()
        self._gate = _Gate(concurrency)
        self._asks_no_more = threading.Event()

    @property
    def name(self) -> str:
        """What its price is found by."""
        return f"openai:{self.model}"

    @property
    def fingerprint(self) -> str:
        """Of model, address and decoding parameters; what a server changes behind a model's name does not show."""
        return fingerprint("server", self.url, self.model, self.decoding.fingerprint)

    def decoding_as(self, decoding: Decoding) -> ServerLLM:
        other = ServerLLM(self._name, decoding, concurrency=self.concurrency, patience=self.patience)
        other._terms, other._gate = self._terms, self._gate
        return other

    def cut(self, text: str, max_tokens: int) -> str:
        """The start of `text` in about `max_tokens` tokens: to the end of a sentence or a word."""
        return cut_at(text, max(1, characters_of(text, max_tokens)))

    def complete(self, prompts: Sequence[str]) -> list[Completion]:
        """One completion per prompt, in order. Raises LLMError when one could not be had."""
        found = dict(self.answers(prompts))
        return [found[at] for at in range(len(prompts))]

    def answers(self, prompts: Sequence[str]) -> Iterator[tuple[int, Completion]]:
        """(place, completion) as they come; the first failure is raised after what was under way has come."""
        self.check()
        stop = self._asks_no_more = threading.Event()  # of this call: what an earlier one stopped stays stopped
        failure: BaseException | None = None
        pool = ThreadPoolExecutor(max(1, min(self.concurrency, len(prompts))))
        try:
            asked: dict[Future[Completion | None], int] = {
                pool.submit(self._ask, p, stop): at for at, p in enumerate(prompts)
            }
            coming = as_completed(asked)
            while asked:
                try:
                    future = next(coming)
                except KeyboardInterrupt as error:  # what is under way was paid for
                    failure = error
                    stop.set()
                    coming = as_completed(asked)
                    continue
                at, error = asked.pop(future), future.exception()
                if error is not None:
                    failure = failure or error
                    stop.set()
                elif (completion := future.result()) is not None:
                    yield at, completion
        finally:
            stop.set()
            pool.shutdown(wait=False)
        if failure is not None:
            raise failure

    def stop_asking(self) -> None:
        """Send no more requests; what is under way still comes."""
        self._asks_no_more.set()

    def check(self) -> None:
        """Raises MissingExtra without the client, SettingError without a key where one is needed."""
        self._client  # noqa: B018 (made once, before threads ask for it)

    @cached_property
    def _client(self) -> Any:
        try:
            import openai
        except ImportError:
            raise MissingExtra(self.name, "pip install acclimate[openai]") from None
        key = os.environ.get("OPENAI_API_KEY")
        if not key and self.url.startswith("https://api.openai.com"):
            raise SettingError(
                f"{self.name} needs a key in OPENAI_API_KEY, or an address: {self.name}@http://host:port/v1"
            )
        return openai.OpenAI(
            api_key=key or "none", base_url=self.url, max_retries=0, timeout=self.patience.request_seconds
        )

    def _ask(self, prompt: str, stop: threading.Event) -> Completion | None:
        """One completion, however often it takes; None once nothing is asked any more. Raises LLMError."""
        spent, failures = 0.0, 0  # seconds with this prompt; those before the gate do not count
        while not stop.is_set():
            seen = self._gate.enter()
            started, answer = time.monotonic(), None
            try:
                answer = None if stop.is_set() else self._request(prompt)
                return answer
            except _Again as error:
                failed, after = str(error), error.after
                if error.was_late:
                    self._gate.narrow(seen)
            except BaseException:
                stop.set()
                raise
            finally:
                self._gate.leave(answered=answer is not None)
            failures += 1
            wait = min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** (failures - 1)) * random.uniform(0.5, 1.0)
            wait = max(wait, after or 0.0)
            spent += time.monotonic() - started + wait
            if failures > self.patience.retries or spent > self.patience.prompt_seconds:
                stop.set()
                raise LLMError(
                    f"{self.name} at {self.url} failed {failures} times, last with: {failed}; what it answered is "
                    "kept, and the same command goes on"
                )
            stop.wait(wait)
        return None

    def _request(self, prompt: str) -> Completion:
        import openai

        sent = replace(self._terms)
        body = wire.request(self.model, prompt, self.decoding, logprobs=sent.logprobs, limit=sent.limit)
        ask = self._client.chat.completions if self.chats else self._client.completions
        try:
            answer = ask.create(**body)
        except openai.BadRequestError as error:
            if self._terms.learned(str(error), sent):
                return self._request(prompt)
            if getattr(error, "code", None) in _REFUSALS:  # of this prompt, for good; the others may be answered
                return Completion("", (), 0, 0, "content_filter")
            raise LLMError(f"{self.name} at {self.url} refused the request: {_brief(error)}") from None
        except openai.APITimeoutError as error:
            raise _Again(_brief(error), was_late=True) from None
        except openai.RateLimitError as error:
            if getattr(error, "code", None) == "insufficient_quota":
                raise LLMError(f"{self.name}: the account's quota is used up; what it answered is kept") from None
            raise _Again(_brief(error), _retry_after(error)) from None
        except openai.APIStatusError as error:
            if error.status_code in (408, 409, 425) or error.status_code >= 500:
                raise _Again(_brief(error), _retry_after(error)) from None
            hint = " (is OPENAI_API_KEY right?)" if error.status_code in (401, 403) else ""
            raise LLMError(f"{self.name} at {self.url}: {_brief(error)}{hint}") from None
        except (openai.APIError, ValueError) as error:  # no connection, a cut one, an answer that is not JSON
            raise _Again(_brief(error)) from None
        try:
            return wire.completion(prompt, answer.to_dict(warnings=False), self.decoding)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise _Again(_brief(error)) from None


def _retry_after(error: Any) -> float | None:
    """Seconds that a server asked to wait; dates and nonsense are passed over."""
    try:
        return max(0.0, float(error.response.headers.get("retry-after", "")))
    except ValueError:
        return None


def _brief(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
