"""An LLM behind an OpenAI-compatible server: OpenAI, vLLM, Ollama, llama.cpp's server, OpenRouter and their like.

`openai:MODEL` asks the address in OPENAI_BASE_URL (OpenAI's own when there is none), `openai:MODEL@http://host:port/v1`
that one, or several by commas (`server/fleet.py`); `openai-completions:` in place of `openai:` sends the prompt as a
text to go on with, not as a chat message, which is what models without chat training need. The key is OPENAI_API_KEY;
it is sent to the server and goes nowhere else. Requests go out together and their answers come as they come. What a
failure means says one table (`server/failures.py`): what may pass is asked again, later and later, what is wrong with
one prompt costs that prompt, and what will not pass is told at once.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import replace
from functools import cached_property
from typing import Any

from acclimate.base.digests import fingerprint
from acclimate.base.errors import LLMError
from acclimate.llm.decoding import Decoding
from acclimate.llm.lengths import characters_in, cut_at
from acclimate.llm.server import wire
from acclimate.llm.server.address import parse
from acclimate.llm.server.client import client, read
from acclimate.llm.server.failures import (
    Failure,
    Means,
    cause,
    connection_failure,
    failure,
    one_line,
    page_title,
    retry_after,
)
from acclimate.llm.server.fleet import Fleet
from acclimate.llm.server.gate import Gate, Patience
from acclimate.llm.server.terms import Terms
from acclimate.records import Completion

_UNREAD = 2  # answers for each request at once that wait for whoever counts what they cost, at most
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0  # seconds
_ERRORS = ("errors", "detail", "msg")  # beside "error", the names of an error under a status that is none
_UNUSABLE_TRIES = 3  # for a prompt whose answers cannot be used
_UNUSABLE_PROMPTS = 5  # in a row: it is not the prompts


class _Retry(Exception):
    """A failure that may pass. `after`: seconds that the server asked to wait; `was_late`: it ran out of time;
    `was_unusable`: it answered, and there is no answer in it."""

    def __init__(
        self, reason: str, after: float | None = None, *, was_late: bool = False, was_unusable: bool = False
    ) -> None:
        super().__init__(reason)
        self.after, self.was_late, self.was_unusable = after, was_late, was_unusable


class ServerLLM:
    """Implements `acclimate.llm.StreamingLLM`.

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
        self._name = name
        self.address = parse(name)
        self.model, self.url = self.address.model, self.address.url
        self.decoding = replace(decoding, chat=self.address.chats)
        self._fleet = Fleet([self.url, *self.address.more_urls])
        self.concurrency, self.patience = concurrency * len(self._fleet.urls), patience
        self.terms = Terms()  # shared by all decodings of this LLM, as the next two are
        self._gate = Gate(self.concurrency)
        self._unusable: list[str] = []  # prompts in a row, why they got no answer
        self._asks_no_more = threading.Event()

    @property
    def name(self) -> str:
        """What its price is found by."""
        return f"openai:{self.model}"

    @property
    def server(self) -> str:
        """What its terms are kept by."""
        return fingerprint("server", self.url, self.model, self.address.chats)

    @property
    def fingerprint(self) -> str:
        """Of model, address and decoding parameters; what a server changes behind a model's name does not show."""
        where = f"{self.url}?{self.address.query}" if self.address.query else self.url
        return fingerprint("server", where, self.model, self.decoding.fingerprint)

    def decoding_as(self, decoding: Decoding) -> ServerLLM:
        """The same server's model, decoding so; what was learned of it is shared."""
        llm = ServerLLM(self._name, decoding, patience=self.patience)
        llm.concurrency = self.concurrency
        llm.terms, llm._gate, llm._unusable, llm._fleet = self.terms, self._gate, self._unusable, self._fleet
        return llm

    def cut(self, text: str, max_tokens: int) -> str:
        """The start of `text` in about `max_tokens` tokens: to the end of a sentence or a word."""
        return cut_at(text, max(1, characters_in(text, max_tokens)))

    def complete(self, prompts: Sequence[str]) -> list[Completion]:
        """One completion per prompt, in order. Raises LLMError when one could not be had."""
        completions = dict(self.answers(prompts))
        return [completions[place] for place in range(len(prompts))]

    def answers(self, prompts: Sequence[str]) -> Iterator[tuple[int, Completion]]:
        """(place, completion) as they come; the first failure is raised after what was under way has come."""
        self.check()
        stop = self._asks_no_more = threading.Event()  # of this call: what an earlier one stopped stays stopped
        failed: BaseException | None = None
        pool = ThreadPoolExecutor(max(1, min(self.concurrency, len(prompts))))
        unread = threading.Semaphore(_UNREAD * self.concurrency)

        def ask(prompt: str) -> Completion | None:
            unread.acquire()
            return self._ask(prompt, stop)

        try:
            futures: dict[Future[Completion | None], int] = {
                pool.submit(ask, prompt): place for place, prompt in enumerate(prompts)
            }
            coming = as_completed(futures)
            while futures:
                try:
                    future = next(coming)
                except KeyboardInterrupt as error:  # what is under way was paid for
                    failed = error
                    stop.set()
                    coming = as_completed(futures)
                    continue
                place, error = futures.pop(future), future.exception()
                if error is not None:
                    failed = failed or error
                    stop.set()
                elif (completion := future.result()) is not None:
                    yield place, completion
                unread.release()
        finally:
            stop.set()
            unread.release(max(1, len(prompts)))
            pool.shutdown(wait=False)
        if failed is not None:
            raise failed

    def stop_asking(self) -> None:
        """Send no more requests; what is under way still comes."""
        self._asks_no_more.set()

    def check(self) -> None:
        """Raises MissingExtra without the client, SettingError without a key where one is needed."""
        self._clients  # noqa: B018 (made once, before threads ask for them)

    @cached_property
    def _clients(self) -> dict[str, Any]:
        addresses = {url: self.address._replace(url=url) for url in self._fleet.urls}
        return {url: client(self.name, each, self.patience.request_seconds) for url, each in addresses.items()}

    def _ask(self, prompt: str, stop: threading.Event) -> Completion | None:
        """One completion, however often it takes; None once nothing is asked any more. Raises LLMError."""
        spent, failures, unusable = 0.0, 0, 0  # seconds with this prompt; those before the gate do not count
        while not stop.is_set():
            seen = self._gate.enter()
            started, answer = time.monotonic(), None
            try:
                answer = None if stop.is_set() else self._request(prompt)
                if answer is not None:
                    self._unusable.clear()
                return answer
            except _Retry as error:
                failed = error
                if error.was_late:
                    self._gate.narrow(seen)
            except BaseException:
                stop.set()
                raise
            finally:
                self._gate.leave(answered=answer is not None)
            failures += 1
            unusable += failed.was_unusable
            if unusable == _UNUSABLE_TRIES:
                return self._given_up(str(failed), stop)
            wait = min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** (failures - 1)) * random.uniform(0.5, 1.0)
            wait = max(wait, failed.after or 0.0)
            spent += time.monotonic() - started + wait
            if failures > self.patience.retries or spent > self.patience.prompt_seconds:
                stop.set()
                asked = f", and asks to wait {wait:,.0f} seconds" if wait > _LONGEST_WAIT else ""
                raise self._error(f"failed {failures} times, last with: {failed}{asked}")
            stop.wait(wait)
        return None

    def _given_up(self, reason: str, stop: threading.Event) -> Completion:
        """What a prompt costs whose answers cannot be used. Raises LLMError where no other's can be, either."""
        self._unusable.append(reason)
        if len(self._unusable) >= _UNUSABLE_PROMPTS:
            stop.set()
            raise self._error(f"gives answers that cannot be used: {reason}")
        return Completion("", (), 0, 0, "error")

    def _error(self, what: str) -> LLMError:
        return LLMError(f"{self.name} at {self.url} {what}; its answers are kept; run the same command again to resume")

    def _request(self, prompt: str) -> Completion:
        """One completion, on the terms of the server, learned as it goes. Raises _Retry and LLMError."""
        while True:
            body = wire.request(self.model, prompt, self.decoding, self.terms)
            answer = self._answer(body)
            if isinstance(answer, Failure):
                if self.terms.learned(answer, body):
                    continue
                if answer.means in (Means.REFUSED, Means.TOO_LONG):
                    return Completion("", (), 0, 0, answer.means.value)
                raise self._error(str(answer)) if answer.means is Means.STOP else _Retry(str(answer), answer.after)
            try:
                completion = wire.completion(prompt, answer, self.decoding)
                thinks = self.decoding.chat and wire.thinks(answer)
            except ValueError as error:
                raise _Retry(one_line(str(error)), was_unusable=True) from None
            is_lost = completion.finish_reason == "reasoning"
            self.terms.thinks |= thinks or is_lost
            if is_lost and self.terms.changes(body):
                continue  # it may answer once it is told not to think
            return completion

    def _answer(self, body: dict[str, Any]) -> Any:
        """What a server answers, or what its failure means: of the last one, where all of them fail."""
        while True:
            with self._fleet.address() as url:
                try:
                    answer = self._sent(body, self._clients[url])
                except _Retry as error:
                    if error.was_unusable or not self._fleet.leave_out(url):
                        raise
                    continue
            if not (isinstance(answer, Failure) and answer.is_of_server):
                self._fleet.answered(url)
            elif self._fleet.leave_out(url, answer.after):
                continue
            return answer

    def _sent(self, body: dict[str, Any], client: Any) -> Any:
        """The JSON that a server answers, or what its failure means. Raises _Retry for what never reached it."""
        import openai

        ask = client.chat.completions if self.decoding.chat else client.completions
        named = {key: body[key] for key in ("model", "messages", "prompt") if key in body}
        rest = {key: value for key, value in body.items() if key not in named}
        try:
            response = ask.with_raw_response.create(**named, extra_body=rest).http_response
        except openai.APIStatusError as error:
            failed, after = _failed(error.response, error.body), retry_after(error.response.headers)
            return failed if after is None else failed._replace(after=after)
        except openai.APITimeoutError as error:
            raise _Retry(cause(error), was_late=True) from None
        except (openai.APIError, ValueError) as error:  # no connection, a cut one, an answer that cannot be read
            return connection_failure(error)
        if page_title(response.text) is not None:
            return _failed(response, response.text)
        try:
            answer = read(response.text)
        except ValueError as error:
            raise _Retry(str(error), was_unusable=True) from None
        if isinstance(answer, list):  # as some send errors
            answer = next((part for part in answer if isinstance(part, dict)), answer)
        if not isinstance(answer, dict):
            raise _Retry("JSON that is no answer", was_unusable=True)
        is_error = answer.get("error") or (
            not answer.get("choices") and (answer.get("object") == "error" or any(map(answer.get, _ERRORS)))
        )
        return _failed(response, answer) if is_error else answer


def _failed(response: Any, body: Any) -> Failure:
    """What an error means, an answer that is none, or a page."""
    if location := response.headers.get("location"):
        return failure(response.status_code, f"the server redirects to {location}")
    title = page_title(response.text)
    if title is None:
        return failure(response.status_code, body)
    meaning = failure(response.status_code, title)
    what = f"status {response.status_code}, a page for people and not an API's answer: {title!r} (HTML)"
    if response.status_code >= 300:
        return meaning._replace(message=what)
    return meaning._replace(means=Means.STOP, message=what, hint="is that the address of an API, such as .../v1?")
