"""A content-addressed cache of completions on disk: no prompt is asked or paid for twice.

One SQLite file. The key hashes the LLM's fingerprint and the prompt, so reordering, adding and removing documents does
not matter. A local LLM's batch is committed as a whole, a server's answers one by one: an interrupted run loses at most
the current batch. The ledger sums usage per LLM over all runs. Batches are formed from the prompts alone, not from what
is missing, because a batch's composition affects rounding: a resumed run asks the same batches.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import tee
from pathlib import Path
from typing import Any, NamedTuple, Self

from acclimate.base.database import connected, unusable
from acclimate.base.errors import DataError, LLMError
from acclimate.base.files import make_folder
from acclimate.llm import completion_json, replicas
from acclimate.llm.lengths import CHARACTERS_PER_TOKEN  # batches must not depend on a tokenizer
from acclimate.llm.protocol import LLM, Batching, BatchSize, StreamingLLM
from acclimate.llm.server.terms import Terms
from acclimate.llm.usage import Ledger, Usage
from acclimate.records import Completion

BATCH_PROMPTS, BATCH_TOKENS = 32, 8192  # default batch size of an LLM; an interrupted run loses as much
STREAMED_PROMPTS = 512  # passed to a streaming LLM at once; it decides on its concurrency
BUSY_SECONDS = 60.0  # to wait for another process's commit

_PAYLOADS = "key TEXT PRIMARY KEY, payload TEXT NOT NULL"
_TABLES = {
    "completions": _PAYLOADS,
    "accounts": "stage TEXT NOT NULL, llm TEXT NOT NULL, calls INTEGER NOT NULL, prompt_tokens INTEGER NOT NULL, "
    "completion_tokens INTEGER NOT NULL, PRIMARY KEY (stage, llm)",
    "requests": _PAYLOADS,
    "terms": _PAYLOADS,
}


class _Planned(NamedTuple):
    """A batch of prompts, and what the cache has of it, each by key."""

    prompts: dict[str, str]
    cached: dict[str, Completion]
    missing: dict[str, str]  # prompts without an answer


class Completions:
    """A cache of completions in the SQLite file `path`, which any number of processes may share.

    `stage`: account for usage; `usage`: sum since opening. `guard`: called with the number of remaining prompts before
    any is asked, and after each answer of a server; it stops by raising.
    """

    guard: Callable[[int], None] = staticmethod(lambda left: None)

    def __init__(self, path: str | Path, stage: str = "", *, busy_seconds: float = BUSY_SECONDS) -> None:
        """busy_seconds: how long to wait for another process's write. Raises DataError if it is not a cache."""
        self.path, self.stage = Path(path), stage
        self.usage = Usage()
        self.left_out: list[str] = []  # parameters that the last server rejected
        make_folder(self.path.parent)
        try:
            self._rows = connected(self.path, busy_seconds=busy_seconds)
            self._rows.execute("PRAGMA journal_mode=WAL")
            self._rows.execute("PRAGMA synchronous=NORMAL")  # a killed process loses no commit
            for table, columns in _TABLES.items():
                self._rows.execute(f"CREATE TABLE IF NOT EXISTS {table} ({columns}) WITHOUT ROWID")
        except sqlite3.Error as error:
            raise unusable(error, self.path) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        self.close()
        if isinstance(error, sqlite3.Error):
            raise unusable(error, self.path) from error

    def __len__(self) -> int:
        return self._rows.execute("SELECT count(*) FROM completions").fetchone()[0]

    def ledger(self) -> Ledger:
        """Usage by stage and LLM, over all runs."""
        columns = "stage, llm, calls, prompt_tokens, completion_tokens"
        rows = self._rows.execute(f"SELECT {columns} FROM accounts ORDER BY stage, llm")
        return {(stage, llm): Usage(*counts) for stage, llm, *counts in rows}

    def damaged(self) -> list[str]:
        """Keys of unreadable answers. Raises DataError if the file itself is damaged."""
        damaged: list[str] = []
        try:
            for key, payload in self._rows.execute("SELECT key, payload FROM completions"):
                try:
                    completion_json.load(payload)
                except ValueError:
                    damaged.append(key)
        except sqlite3.DatabaseError as error:
            raise unusable(error, self.path) from error
        return damaged

    def prune(self) -> int:
        """Remove unreadable answers; returns their number."""
        damaged = self.damaged()
        self._rows.executemany("DELETE FROM completions WHERE key = ?", [(key,) for key in damaged])
        self._rows.execute("VACUUM")
        return len(damaged)

    def close(self) -> None:
        """Close the file."""
        self._rows.close()

    def cached(self, keys: Sequence[str]) -> dict[str, Completion]:
        """Cached answers by key."""
        completions: dict[str, Completion] = {}
        for part in _runs(keys, STREAMED_PROMPTS):
            completions.update(self._read(part))
        return completions

    def remember(self, key: str, request: dict[str, Any]) -> None:
        """Record a request sent elsewhere for this stage: `llm`, `prompt` and `decoding`."""
        payload = json.dumps({"stage": self.stage, **request})
        self._rows.execute("INSERT OR REPLACE INTO requests VALUES (?, ?)", (key, payload))

    def asked_for(self, key: str) -> dict[str, Any] | None:
        """The request recorded by `remember` for this key, with its stage."""
        row = self._rows.execute("SELECT payload FROM requests WHERE key = ?", (key,)).fetchone()
        return json.loads(row[0]) if row else None

    def _share(self, llm: LLM) -> None:
        """Exchange what is known of a server's terms between the LLM and the cache."""
        terms = getattr(llm, "terms", None)
        if isinstance(terms, Terms):
            self.learn(getattr(llm, "server", ""), terms)
            self.left_out = terms.omitted()

    def learn(self, server: str, terms: Terms) -> None:
        """Merge a server's terms with the stored ones, in both directions."""
        row = self._rows.execute("SELECT payload FROM terms WHERE key = ?", (server,)).fetchone()
        stored = Terms.load(row[0]) if row else Terms()
        terms.add(stored)
        if terms != stored:
            self._rows.execute("INSERT OR REPLACE INTO terms VALUES (?, ?)", (server, terms.dump()))

    def put(self, llm: str, stage: str, key: str, completion: Completion) -> None:
        """Store an answer obtained elsewhere, with its usage, unless there is one."""
        if not self._read([key]):
            self._keep(llm, stage, [key], [completion])

    def complete(
        self,
        llm: LLM,
        prompts: Sequence[str],
        *,
        on_batch: Callable[[int, int, list[Completion]], None] | None = None,
    ) -> list[Completion]:
        """One completion per prompt, in order; equal prompts are asked once.

        on_batch: called after each batch, or server's answer, is committed, with (prompts done, prompts in total, the
        completions), distinct prompts only. It may stop the run by raising; answers are kept.
        """
        answers: dict[str, Completion] = {}
        different = sorted(set(prompts), key=lambda prompt: (len(prompt), prompt))
        streams = isinstance(llm, StreamingLLM)
        size = llm.batch_size if isinstance(llm, Batching) else BatchSize(BATCH_PROMPTS, BATCH_TOKENS)
        batches = iter(_runs(different, STREAMED_PROMPTS) if streams else batches_of(different, size))
        planned = (self._planned(llm, batch) for batch in batches)
        plans, ahead = (planned, ()) if streams else tee(planned)  # read ahead where a batch is answered as a whole
        asked = replicas.complete_batches(llm, (list(plan.missing.values()) for plan in ahead if plan.missing))
        for batch, cached, missing in plans:
            if missing:
                self.guard(len(different) - len(answers) - len(cached))
            if missing and streams:
                self._share(llm)
                try:
                    self._stream(llm, missing, on_batch, len(answers) + len(cached), len(different))
                finally:
                    self._share(llm)
            elif missing:
                self._keep(llm.name, self.stage, list(missing), next(asked))
            # if another process was faster, its answer counts
            kept = self._read(list(batch)) if missing else cached
            answers.update((prompt, kept[key]) for key, prompt in batch.items())
            if on_batch is not None:
                on_batch(len(answers), len(different), [kept[key] for key in batch])
        return [answers[prompt] for prompt in prompts]

    def _planned(self, llm: LLM, batch: Sequence[str]) -> _Planned:
        prompts = dict(zip(keys_of(llm, batch), batch, strict=True))
        cached = self._read(list(prompts))
        return _Planned(prompts, cached, {key: prompt for key, prompt in prompts.items() if key not in cached})

    def _stream(
        self,
        llm: StreamingLLM,
        missing: Mapping[str, str],
        on_answer: Callable[[int, int, list[Completion]], None] | None,
        had: int,
        total: int,
    ) -> None:
        """Store answers as they arrive; errors of `on_answer` and the guard stop requests, and are raised last.

        missing: prompts by key. had: how many of the `total` prompts had answers before.
        """
        stopped: BaseException | None = None
        keys = list(missing)
        for done, (place, fresh) in enumerate(llm.answers(list(missing.values())), 1):
            try:
                self._keep(llm.name, self.stage, [keys[place]], [fresh])
                self._share(llm)  # what was learned survives an interruption
            except KeyboardInterrupt as error:  # before or after it was stored
                stopped = error
                llm.stop_asking()
                self.put(llm.name, self.stage, keys[place], fresh)
            try:
                if stopped is None and done < len(keys):
                    if on_answer is not None:
                        on_answer(had + done, total, [fresh])
                    self.guard(total - had - done)
            except (Exception, KeyboardInterrupt) as error:
                stopped = error
                llm.stop_asking()
        if stopped is not None:
            raise stopped

    def _read(self, keys: Sequence[str]) -> dict[str, Completion]:
        """Usable cached answers; unusable ones are removed, so that they are asked again."""
        marks = ",".join("?" * len(keys))
        completions: dict[str, Completion] = {}
        damaged: list[tuple[str]] = []
        for key, payload in self._rows.execute(f"SELECT key, payload FROM completions WHERE key IN ({marks})", keys):
            try:
                completions[key] = completion_json.load(payload)
            except ValueError:
                damaged.append((key,))
        if damaged:
            self._rows.executemany("DELETE FROM completions WHERE key = ?", damaged)
        return completions

    def _keep(self, llm: str, stage: str, keys: Sequence[str], completions: Sequence[Completion]) -> None:
        """Store an LLM's answers and their usage in one transaction."""
        try:
            rows = [(key, completion_json.dump(completion)) for key, completion in zip(keys, completions, strict=True)]
        except ValueError as error:
            raise LLMError(f"{llm} gave an answer that cannot be kept: {error}") from None
        used = Usage().plus(completions)
        try:
            self._rows.execute("BEGIN IMMEDIATE")
            self._rows.executemany("INSERT OR IGNORE INTO completions VALUES (?, ?)", rows)
            self._rows.execute(
                "INSERT INTO accounts VALUES (?, ?, ?, ?, ?) ON CONFLICT (stage, llm) DO UPDATE SET "
                "calls = calls + excluded.calls, "
                "prompt_tokens = prompt_tokens + excluded.prompt_tokens, "
                "completion_tokens = completion_tokens + excluded.completion_tokens",
                (stage, llm, *used),
            )
            self._rows.execute("COMMIT")
        except BaseException as error:
            if self._rows.in_transaction:
                self._rows.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):  # above all a full disk
                raise DataError(
                    f"{error}: an answer could not be stored, earlier ones are; run the same command again to resume",
                    path=self.path,
                ) from None
            raise
        self.usage = self.usage.plus(completions)


def keys_of(llm: LLM, prompts: Iterable[str]) -> list[str]:
    """The cache key of an LLM's answer to each prompt."""
    fingerprint = llm.fingerprint  # once, as it looks at the files of a local model
    texts = (f"{fingerprint}\0{prompt}" for prompt in prompts)
    return [hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest() for text in texts]


def batches_of(prompts: Sequence[str], most: BatchSize) -> Iterator[list[str]]:
    """Batches of prompts sorted by length, with at least one prompt each."""
    shared = len(os.path.commonprefix([min(prompts), max(prompts)])) if prompts else 0
    batch: list[str] = []
    for prompt in prompts:  # the longest so far, so the padded size is its length times the count
        size = (len(prompt) - shared) // CHARACTERS_PER_TOKEN + 1
        if batch and (len(batch) == most.prompts or size * (len(batch) + 1) > most.tokens):
            yield batch
            batch = []
        batch.append(prompt)
    if batch:
        yield batch


def _runs(prompts: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(prompts), size):
        yield prompts[start : start + size]
