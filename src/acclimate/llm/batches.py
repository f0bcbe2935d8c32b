"""Batch files for a provider's half-price batch endpoint, or for `vllm run-batch`: write requests, read results.

A run in batch mode calls no LLM: whatever is missing in the completion cache becomes a line of the file. Results, in
any order, are read into the cache, and the same run then continues. Failed requests are still missing, and go into the
next batch.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from acclimate.base.errors import DataError
from acclimate.base.files import read_lines, write_jsonl
from acclimate.base.text import quoted
from acclimate.llm.backends.server import ServerLLM, wire
from acclimate.llm.completions import Completions, keys_of
from acclimate.llm.decoding import Decoding
from acclimate.llm.protocol import LLM
from acclimate.llm.server.client import read
from acclimate.llm.server.failures import Failure, Outcome, failure, one_line
from acclimate.llm.server.terms import Terms
from acclimate.records import Completion

_KEY = re.compile(r"[0-9a-f]{64}")
_NOT_ASKED, _NO_OBJECT = "custom_id is not of this run", "a line that is no JSON object"
_NOTHING = Completion("", (), 0, 0, "stop")


class BatchedCompletions(Completions):
    """A completion cache that collects missing requests; its placeholder answers must not be used."""

    def __init__(self, path: str | Path, stage: str = "") -> None:
        super().__init__(path, stage)
        self.requests: dict[str, dict[str, Any]] = {}  # by key
        self.again = 0  # number of requests that an earlier batch had, too

    def complete(
        self,
        llm: LLM,
        prompts: Sequence[str],
        *,
        on_batch: Callable[[int, int, list[Completion]], None] | None = None,
    ) -> list[Completion]:
        """Cached answers, and empty ones for what is missing. LLMs without a server are called as usual."""
        if not isinstance(llm, ServerLLM):
            return super().complete(llm, prompts, on_batch=on_batch)
        keys = keys_of(llm, prompts)
        cached = self.cached(keys)
        self.learn(llm.server, llm.terms)
        missing = {
            key: prompt
            for key, prompt in zip(keys, prompts, strict=True)
            if key not in cached and key not in self.requests
        }
        if missing:
            self.guard(len(missing))
        for key, prompt in missing.items():
            self.again += self.asked_for(key) is not None
            self.requests[key] = {
                "custom_id": key,
                "method": "POST",
                "url": f"/v1{wire.address(llm.decoding)}",
                "body": wire.request(llm.model, prompt, llm.decoding, llm.terms),
            }
            context = {"llm": llm.name, "server": llm.server, "terms": llm.terms.dump()}
            self.remember(key, {**context, "prompt": prompt, "decoding": asdict(llm.decoding)})
        return [cached.get(key, _NOTHING) for key in keys]

    def write(self, path: Path) -> int:
        """Write the requests to a file; returns their number."""
        return write_jsonl(path, self.requests.values())


class BatchResults(NamedTuple):
    """Outcome of a result file's lines."""

    kept: int
    failed: dict[str, int]  # error message -> count
    refused: dict[str, int]  # the same, for prompts that will never be answered
    left_out: list[str]  # parameters that the provider rejects, and that the next batch omits


def read_results(completions: Completions, path: Path) -> BatchResults:
    """Read the results of a batch into the cache. Raises DataError if none answers a request of this run.

    The provider's complaints are learned, as with a live server.
    """
    kept, failed, refused = 0, Counter[str](), Counter[str]()
    learned: dict[str, Terms] = {}
    given_up: list[tuple[dict[str, Any], str, Completion]] = []
    for row in _rows(path):
        if row is None:
            failed[_NO_OBJECT] += 1
            continue
        key = str(row.get("custom_id"))
        request = completions.asked_for(key) if _KEY.fullmatch(key) else None
        if request is None:
            failed[_NOT_ASKED] += 1
            continue
        decoding = Decoding(**{**request["decoding"], "stop": tuple(request["decoding"]["stop"])})
        try:
            body = _body(row)
            if not isinstance(body, Failure):
                answer = wire.completion(request["prompt"], body, decoding)
                completions.put(request["llm"], request["stage"], key, answer)
                kept += 1
                continue
        except ValueError as error:
            failed[one_line(str(error))] += 1
            continue
        sent = wire.request("", request["prompt"], decoding, Terms.load(request.get("terms", "")))
        can_do_without = learned.setdefault(request.get("server", ""), Terms()).learned(body, sent)
        if not can_do_without and body.means in (Outcome.REFUSED, Outcome.TOO_LONG):
            refused[body.message] += 1
            given_up.append((request, key, Completion("", (), 0, 0, body.means.value)))
        else:
            failed[body.message] += 1
    for request, key, nothing in given_up:  # unless another line has an answer
        completions.put(request["llm"], request["stage"], key, nothing)
    for server, terms in learned.items():
        completions.learn(server, terms)
    if failed[_NOT_ASKED] + failed[_NO_OBJECT] == kept + failed.total() + refused.total():
        lacks = "has a custom_id of this run" if failed[_NOT_ASKED] or not failed else "is a JSON object by itself"
        raise DataError(f"no line {lacks}; are these its results?", path=path)
    left_out = dict.fromkeys(name for terms in learned.values() for name in terms.omitted())
    return BatchResults(kept, dict(failed), dict(refused), list(left_out))


def _rows(path: Path) -> Iterator[Mapping[str, Any] | None]:
    """The objects in a file of results; None for an invalid line, such as a truncated last one."""
    for _, line in read_lines(path):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if line.strip():
            yield row if isinstance(row, dict) else None


def _body(row: Mapping[str, Any]) -> Mapping[str, Any] | Failure:
    """The answer in a line of results, or its failure. Raises ValueError for neither."""
    response = row.get("response") or {}
    if not isinstance(response, Mapping):
        raise ValueError("a response that is no JSON object")
    body = response.get("body", response if "choices" in response else None)  # some providers leave the body out
    status = _status(response.get("status_code") or 200)
    if isinstance(body, str) and status == 200:
        body = read(body)
    error = row.get("error") or (body.get("error") if isinstance(body, Mapping) else None)
    if error or status != 200:
        return failure(status, row["error"] if row.get("error") else body)
    if not isinstance(body, Mapping):
        raise ValueError(f"no answer in a line with the keys {quoted(', '.join(row))}")
    return body


def _status(value: Any) -> int:
    try:
        return int(value)
    except (ValueError, TypeError, OverflowError):
        raise ValueError(f"status_code is {quoted(value)}; expected a number") from None
