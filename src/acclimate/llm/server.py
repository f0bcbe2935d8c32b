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
from dataclasses import replace
from functools import cached_property
from typing import Any, NamedTuple

from acclimate.errors import LLMError, MissingExtra, SettingError
from acclimate.files import fingerprint
from acclimate.llm.decoding import CHARACTERS_PER_TOKEN, Decoding, cut_at
from acclimate.records import Completion

_NAME = re.compile(r"openai(?P<completions>-completions)?:(?P<model>[^@\s]+)(?:@(?P<url>https?://\S+))?")
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0  # seconds


class _Again(Exception):
    """A failure that may pass. `after`: seconds that the server asked to wait."""

    def __init__(self, reason: str, after: float | None = None) -> None:
        super().__init__(reason)
        self.after = after


class Patience(NamedTuple):
    """How long to go on asking."""

    retries: int = 8
    request_seconds: float = 120.0  # for one request
    prompt_seconds: float = 900.0  # for one prompt, waiting included


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
        self._gives_logprobs = True
        self._limit_name = "max_tokens"
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
        other._gives_logprobs, other._limit_name = self._gives_logprobs, self._limit_name
        return other

    def cut(self, text: str, max_tokens: int) -> str:
        """The start of `text` in about `max_tokens` tokens of four characters: to the end of a sentence or a word."""
        return cut_at(text, max(1, max_tokens * CHARACTERS_PER_TOKEN))

    def complete(self, prompts: Sequence[str]) -> list[Completion]:
        """One completion per prompt, in order. Raises LLMError when one could not be had."""
        found = dict(self.answers(prompts))
        return [found[at] for at in range(len(prompts))]

    def answers(self, prompts: Sequence[str]) -> Iterator[tuple[int, Completion]]:
        """(place, completion) as they come; the first failure is raised after what was under way has come."""
        self.check()
        self._asks_no_more.clear()
        failure: LLMError | None = None
        pool = ThreadPoolExecutor(max(1, min(self.concurrency, len(prompts))))
        try:
            asked: dict[Future[Completion | None], int] = {
                pool.submit(self._ask, p): at for at, p in enumerate(prompts)
            }
            for future in as_completed(asked):
                try:
                    completion = future.result()
                except LLMError as error:
                    failure = failure or error
                    self.stop_asking()
                    continue
                if completion is not None:
                    yield asked[future], completion
        finally:
            self.stop_asking()
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

    def _ask(self, prompt: str) -> Completion | None:
        """One completion, however often it takes; None once nothing is asked any more. Raises LLMError."""
        started, failures = time.monotonic(), 0
        while not self._asks_no_more.is_set():
            try:
                return self._request(prompt)
            except _Again as error:
                failures += 1
                wait = min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** (failures - 1)) * random.uniform(0.5, 1.0)
                wait = max(wait, error.after or 0.0)
                late = time.monotonic() + wait - started > self.patience.prompt_seconds
                if failures > self.patience.retries or late:
                    self.stop_asking()
                    raise LLMError(
                        f"{self.name} at {self.url} failed {failures} times, last with: {error}; what it answered is "
                        "kept, and the same command goes on"
                    ) from None
                self._asks_no_more.wait(wait)
            except LLMError:
                self.stop_asking()
                raise
        return None

    def _request(self, prompt: str) -> Completion:
        import openai

        try:
            answer = self._send(prompt)
        except openai.BadRequestError as error:
            if self._adapted(str(error)):
                return self._request(prompt)
            raise LLMError(f"{self.name} at {self.url} refused the request: {_brief(error)}") from None
        except openai.RateLimitError as error:
            if getattr(error, "code", None) == "insufficient_quota":
                raise LLMError(f"{self.name}: the account's quota is used up; what it answered is kept") from None
            raise _Again(_brief(error), _retry_after(error)) from None
        except openai.APIStatusError as error:
            if error.status_code in (408, 409, 425) or error.status_code >= 500:
                raise _Again(_brief(error), _retry_after(error)) from None
            hint = " (is OPENAI_API_KEY right?)" if error.status_code in (401, 403) else ""
            raise LLMError(f"{self.name} at {self.url}: {_brief(error)}{hint}") from None
        except (
            openai.APIError,
            ValueError,
        ) as error:  # no connection, a cut one, a time-out, an answer that is not JSON
            raise _Again(_brief(error)) from None
        choices = getattr(answer, "choices", None)
        if not choices:
            raise _Again("an answer without a choice")
        return self._completion(prompt, choices[0], getattr(answer, "usage", None))

    def _send(self, prompt: str) -> Any:
        options: dict[str, Any] = {
            "model": self.model,
            "temperature": self.decoding.temperature,
            "top_p": self.decoding.top_p,
            self._limit_name: self.decoding.max_new_tokens,
        }
        if self.decoding.temperature:
            options["seed"] = self.decoding.draw_seed(prompt)
        if self.chats:
            if self._gives_logprobs:
                options["logprobs"] = True
            return self._client.chat.completions.create(messages=[{"role": "user", "content": prompt}], **options)
        if self._gives_logprobs:
            options["logprobs"] = 1
        return self._client.completions.create(prompt=prompt, stop=list(self.decoding.stop)[:4], **options)

    def _adapted(self, complaint: str) -> bool:
        """True when the server named something that we can do without, and we now do."""
        if self._gives_logprobs and "logprob" in complaint:
            self._gives_logprobs = False
            return True
        if self.chats and self._limit_name == "max_tokens" and "max_completion_tokens" in complaint:
            self._limit_name = "max_completion_tokens"
            return True
        return False

    def _completion(self, prompt: str, choice: Any, usage: Any) -> Completion:
        logprobs = getattr(choice, "logprobs", None)
        if self.chats:
            whole = (choice.message.content or "") if choice.message else ""
            pieces = [(one.token, one.logprob) for one in (getattr(logprobs, "content", None) or [])]
        else:
            whole = choice.text or ""
            tokens, values = getattr(logprobs, "tokens", None) or [], getattr(logprobs, "token_logprobs", None) or []
            pieces = list(zip(tokens, values, strict=False))
        begin, end, is_whole = self.decoding.span(whole)
        finish = choice.finish_reason or "stop"
        if finish == "length" and is_whole:
            finish = "stop"  # it went on behind the query
        return Completion(
            whole[begin:end],
            tuple(_within(pieces, begin, end)),
            getattr(usage, "prompt_tokens", None) or len(prompt) // CHARACTERS_PER_TOKEN,
            getattr(usage, "completion_tokens", None) or -(-len(whole) // CHARACTERS_PER_TOKEN),
            finish if finish in ("length", "content_filter") else "stop",
        )


def _within(pieces: Sequence[tuple[str, float | None]], begin: int, end: int) -> Iterator[float]:
    """The log-probabilities of the tokens that lie between two places of the text that they make up."""
    at = 0
    for token, logprob in pieces:
        if at >= end:
            return
        at += len(token)
        if at > begin and logprob is not None:
            yield min(0.0, logprob)


def _retry_after(error: Any) -> float | None:
    """Seconds that a server asked to wait; dates and nonsense are passed over."""
    try:
        return max(0.0, float(error.response.headers.get("retry-after", "")))
    except ValueError:
        return None


def _brief(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
