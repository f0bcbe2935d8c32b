"""LLMs behind an OpenAI-compatible server: OpenAI, vLLM, Ollama, llama.cpp's server, OpenRouter and others.

`openai:MODEL` uses the address in OPENAI_BASE_URL (by default OpenAI's), `openai:MODEL@http://host:port/v1` that one,
or several separated by commas (`server/fleet.py`). `openai-completions:` sends the prompt as plain text, not as a chat
message, for models without chat training. The key is OPENAI_API_KEY, sent to the server and nowhere else. Requests are
concurrent, and answers are returned as they arrive. `server/failures.py` says what a failure means: temporary ones are
retried with increasing delays, a bad prompt costs that prompt, and permanent ones are raised at once.
"""

from __future__ import annotations

import copy
import random
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, as_completed
from dataclasses import replace
from typing import Any

from acclimate.base import distributed
from acclimate.base.digests import fingerprint
from acclimate.base.errors import LLMError
from acclimate.base.text import counted
from acclimate.llm.decoding import Decoding
from acclimate.llm.lengths import characters_in, cut_at
from acclimate.llm.server import wire
from acclimate.llm.server.address import parse
from acclimate.llm.server.client import client, read
from acclimate.llm.server.failures import (
    Failure,
    Outcome,
    cause,
    connection_failure,
    failed_response,
    one_line,
    page_title,
)
from acclimate.llm.server.fleet import Fleet
from acclimate.llm.server.gate import Gate, Patience, Retry
from acclimate.llm.server.terms import Terms
from acclimate.llm.server.threads import DaemonThreads
from acclimate.llm.server.waits import retry_after
from acclimate.records import Completion

_UNREAD = 2  # maximum answers waiting to be accounted for, per concurrent request
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0  # seconds
_ERRORS = ("errors", "detail", "msg")  # keys of errors beside "error", in responses with a success status
_TOLD_AT = 3  # failures of a prompt, after some seconds
_UNUSABLE_TRIES = 3  # per prompt
_UNUSABLE_PROMPTS = 5  # consecutive prompts without a usable answer, before giving up


class ServerLLM:
    """Implements `acclimate.llm.StreamingLLM`.

    Raises SettingError for an invalid name, MissingExtra without the `openai` package.
    """

    def __init__(
        self,
        name: str,
        decoding: Decoding = Decoding(),
        *,
        concurrency: int = 16,
        patience: Patience = Patience(),
    ) -> None:
        self.address = parse(name)
        self.model, self.url = self.address.model, self.address.url
        self.decoding = replace(decoding, chat=self.address.chats)
        self._fleet = Fleet([self.url, *self.address.more_urls])
        self._clients: dict[str, Any] = {}  # by address, made before threads ask for them
        self.concurrency, self.patience = concurrency * len(self._fleet.urls), patience
        self.terms = Terms()
        self._gate = Gate(self.concurrency)
        self._unusable: list[str] = []  # reasons, for consecutive prompts without a usable answer
        self._asks_no_more = threading.Event()
        self._is_told = threading.Event()  # that requests fail, since the last answer

    @property
    def name(self) -> str:
        """The key of its price."""
        return f"openai:{self.model}"

    @property
    def server(self) -> str:
        """The key of its terms."""
        return fingerprint("server", self.url, self.model, self.address.chats)

    @property
    def fingerprint(self) -> str:
        """Of model name, address and decoding; changes behind a model's name are not visible."""
        where = f"{self.url}?{self.address.query}" if self.address.query else self.url
        return fingerprint("server", where, self.model, self.decoding.fingerprint)

    def decoding_as(self, decoding: Decoding) -> ServerLLM:
        """The same model with another decoding; connections, and all that was learned about the server, are shared."""
        llm = copy.copy(self)
        llm.decoding = replace(decoding, chat=self.address.chats)
        return llm

    def cut(self, text: str, max_tokens: int) -> str:
        """Truncate `text` to about `max_tokens` tokens, after a sentence or word."""
        return cut_at(text, max(1, characters_in(text, max_tokens)))

    def complete(self, prompts: Sequence[str]) -> list[Completion]:
        """One completion per prompt, in order. Raises LLMError if one could not be obtained."""
        completions = dict(self.answers(prompts))
        return [completions[place] for place in range(len(prompts))]

    def answers(self, prompts: Sequence[str]) -> Iterator[tuple[int, Completion]]:
        """(position, completion) as they arrive; the first failure is raised after all pending answers, a second
        KeyboardInterrupt at once."""
        self.check()
        stop = self._asks_no_more = threading.Event()  # new for each call, as an earlier one may have been stopped
        failed: BaseException | None = None
        pool = DaemonThreads(max(1, min(self.concurrency, len(prompts))))
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
                except KeyboardInterrupt as error:  # pending answers are paid for
                    if isinstance(failed, KeyboardInterrupt):
                        raise
                    failed = error
                    stop.set()
                    distributed.say("", "waiting for the answers under way; interrupt again to leave them")
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
            pool.close()
        if failed is not None:
            raise failed

    def stop_asking(self) -> None:
        """Send no more requests; pending answers still arrive."""
        self._asks_no_more.set()

    def check(self) -> None:
        """Raises MissingExtra without the client, SettingError without a key that is needed."""
        for url in self._fleet.urls:
            if url not in self._clients:
                address = self.address._replace(url=url)
                self._clients[url] = client(self.name, address, self.patience.request_seconds)

    def _ask(self, prompt: str, stop: threading.Event) -> Completion | None:
        """One completion, with retries; None after `stop`. Raises LLMError."""
        spent, failures, unusable = 0.0, 0, 0  # seconds spent on this prompt, without waiting at the gate
        answered = 0  # prompts, before the first failure of this one
        while not stop.is_set():
            seen = self._gate.enter()
            started, answer = time.monotonic(), None
            try:
                answer = None if stop.is_set() else self._request(prompt)
                if answer is not None:
                    self._unusable.clear()
                    self._is_told.clear()
                return answer
            except Retry as error:
                failed = error
                if error.was_late:
                    self._gate.narrow(seen)
            except BaseException:
                stop.set()
                raise
            finally:
                self._gate.leave(answered=answer is not None)
            failures += 1
            answered = self._gate.answers if failures == 1 else answered
            unusable += failed.was_unusable
            if unusable == _UNUSABLE_TRIES:
                return self._given_up(str(failed), stop)
            wait = min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** (failures - 1)) * random.uniform(0.5, 1.0)
            wait = max(wait, failed.after or 0.0)
            spent += time.monotonic() - started + wait
            if failures > self.patience.retries or spent > self.patience.prompt_seconds:
                if failed.was_fault and self._gate.answers > answered:  # of this prompt, as others were answered
                    return self._given_up(str(failed), stop)
                stop.set()
                asked = f", and asks to wait {wait:,.0f} seconds" if wait > _LONGEST_WAIT else ""
                raise self._error(f"failed {counted(failures, 'time')}, last with: {failed}{asked}")
            if failures == _TOLD_AT and not self._is_told.is_set():
                self._is_told.set()
                distributed.say("", f"{self.name} at {self.url}: {failed}; trying again")
            stop.wait(wait)
        return None

    def _given_up(self, reason: str, stop: threading.Event) -> Completion:
        """An empty completion for a prompt without usable answers. Raises LLMError if other prompts fail, too."""
        self._unusable.append(reason)
        if len(self._unusable) >= _UNUSABLE_PROMPTS:
            stop.set()
            raise self._error(f"gives answers that cannot be used: {reason}")
        if not self._is_told.is_set():
            self._is_told.set()
            distributed.say("", f"{self.name} at {self.url}: {reason}; this prompt is left without an answer")
        return Completion("", (), 0, 0, "error")

    def _error(self, what: str) -> LLMError:
        return LLMError(f"{self.name} at {self.url} {what}; its answers are kept; run the same command again to resume")

    def _request(self, prompt: str) -> Completion:
        """One completion, adapting to the server's terms. Raises Retry and LLMError."""
        while True:
            body = wire.request(self.model, prompt, self.decoding, self.terms)
            answer = self._answer(body)
            if isinstance(answer, Failure):
                if self.terms.learned(answer, body):
                    continue
                if answer.means in (Outcome.REFUSED, Outcome.TOO_LONG):
                    return Completion("", (), 0, 0, answer.means.value)
                if answer.means is Outcome.STOP:
                    raise self._error(str(answer))
                raise Retry(str(answer), answer.after, was_fault=answer.status == 500)
            try:
                completion = wire.completion(prompt, answer, self.decoding)
            except ValueError as error:
                raise Retry(one_line(str(error)), was_unusable=True) from None
            is_lost = completion.finish_reason == "reasoning"
            self.terms.thinks |= is_lost or wire.thinks(answer)
            if is_lost and wire.request(self.model, prompt, self.decoding, self.terms) != body:
                continue  # retry, telling it not to think
            return completion

    def _answer(self, body: dict[str, Any]) -> Any:
        """The server's answer, or the failure of the last address tried."""
        while True:
            with self._fleet.address() as url:
                try:
                    answer = self._sent(body, self._clients[url])
                except Retry as error:
                    if error.was_unusable or not self._fleet.leave_out(url):
                        raise
                    continue
            if not (isinstance(answer, Failure) and answer.is_of_server):
                self._fleet.answered(url)
            elif self._fleet.leave_out(url, answer.after):
                continue
            return answer

    def _sent(self, body: dict[str, Any], client: Any) -> Any:
        """The server's JSON, or its failure. Raises Retry if it could not be reached."""
        import openai

        ask = client.chat.completions if self.decoding.chat else client.completions
        named = {key: body[key] for key in ("model", "messages", "prompt") if key in body}
        rest = {key: value for key, value in body.items() if key not in named}
        try:
            response = ask.with_raw_response.create(**named, extra_body=rest).http_response
        except openai.APIStatusError as error:
            failed, after = failed_response(error.response, error.body), retry_after(error.response.headers)
            return failed if after is None else failed._replace(after=after)
        except openai.APITimeoutError as error:
            raise Retry(cause(error), was_late=True) from None
        except (openai.APIError, ValueError) as error:  # connection failures, and unreadable answers
            return connection_failure(error)
        if page_title(response.text) is not None:
            return failed_response(response, response.text)
        try:
            answer = read(response.text)
        except ValueError as error:
            raise Retry(str(error), was_unusable=True) from None
        if isinstance(answer, list):  # some servers wrap errors in a list
            answer = next((part for part in answer if isinstance(part, dict)), answer)
        if not isinstance(answer, dict):
            raise Retry("JSON that is no answer", was_unusable=True)
        is_error = answer.get("error") or (
            not answer.get("choices") and (answer.get("object") == "error" or any(map(answer.get, _ERRORS)))
        )
        return failed_response(response, answer) if is_error else answer
