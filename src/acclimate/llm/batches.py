"""Batch files: requests for a provider's half-price batch endpoint, or for `vllm run-batch`, and their results.

A run that is told to write a batch asks nobody: whatever is not in the completion cache becomes a line of the file. The
results, in any order, are read into the cache, and the same run then goes on as if it had asked. What failed is still
missing there, and becomes part of the next batch.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from acclimate.errors import DataError
from acclimate.files import read_jsonl, write_jsonl
from acclimate.llm import wire
from acclimate.llm.completions import BATCH_TOKENS, Completions, key_of
from acclimate.llm.decoding import Decoding
from acclimate.llm.server import ServerLLM
from acclimate.records import LLM, Completion

_NOTHING = Completion("", (), 0, 0, "stop")


class BatchedCompletions(Completions):
    """The cache of a run that collects what it would ask; what it answers in the meantime is not to be used."""

    def __init__(self, path: str | Path, stage: str = "") -> None:
        super().__init__(path, stage)
        self.requests: dict[str, dict[str, Any]] = {}  # by key
        self.again = 0  # of them, how many an earlier batch had

    def complete(
        self,
        llm: LLM,
        prompts: Sequence[str],
        *,
        batch_tokens: int = BATCH_TOKENS,
        on_batch: Callable[[int, int, list[Completion]], None] | None = None,
    ) -> list[Completion]:
        """What is known, and empty answers for what is not. An LLM that is behind no server is asked as ever."""
        if not isinstance(llm, ServerLLM):
            return super().complete(llm, prompts, batch_tokens=batch_tokens, on_batch=on_batch)
        keys = [key_of(llm, prompt) for prompt in prompts]
        known = self.known(keys)
        for key, prompt in zip(keys, prompts, strict=True):
            if key not in known and key not in self.requests:
                self.again += self.asked_for(key) is not None
                self.requests[key] = {
                    "custom_id": key,
                    "method": "POST",
                    "url": f"/v1{wire.address(llm.decoding)}",
                    "body": wire.request(llm.model, prompt, llm.decoding),
                }
                self.remember(key, {"llm": llm.name, "prompt": prompt, "decoding": asdict(llm.decoding)})
        return [known.get(key, _NOTHING) for key in keys]

    def write(self, path: Path) -> int:
        """The requests as a file. Returns how many."""
        return write_jsonl(path, self.requests.values())


class Taken(NamedTuple):
    """What became of the lines of a result file."""

    kept: int
    failed: dict[str, int]  # by what the provider said


def read_results(completions: Completions, path: Path) -> Taken:
    """Put the results of a batch into the cache. Raises DataError when none of them answers what this run asked."""
    kept, failed = 0, Counter[str]()
    rows = 0
    for _, row in read_jsonl(path):
        key = row.get("custom_id")
        asked = completions.asked_for(key) if isinstance(key, str) else None
        rows += 1
        if asked is None or not isinstance(key, str):
            failed["custom_id is none that this run asked for"] += 1
            continue
        decoding = Decoding(**{**asked["decoding"], "stop": tuple(asked["decoding"]["stop"])})
        try:
            answer = wire.completion(asked["prompt"], _body(row), decoding)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            reason = " ".join(str(error).split())[:100]
            failed[reason] += 1
            continue
        completions.put(asked["llm"], asked["stage"], key, answer)
        kept += 1
    if failed["custom_id is none that this run asked for"] == rows:
        raise DataError("no line has a custom_id that this run asked for; are these its results?", path=path)
    return Taken(kept, dict(failed))


def _body(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """The answer in a line of results. Raises ValueError with what went wrong where there is none."""
    response = row.get("response") or {}
    error = row.get("error") or (response.get("body") or {}).get("error")
    if error or response.get("status_code", 200) != 200:
        said = error.get("message") if isinstance(error, Mapping) else error
        raise ValueError(f"status {response.get('status_code')}: {said or json.dumps(response)}")
    return response.get("body") or {}
