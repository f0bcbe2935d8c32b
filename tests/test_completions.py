"""The completion cache: nothing asked twice, nothing lost to a kill but the batch at hand."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acclimate.base.errors import DataError
from acclimate.llm import completion_json
from acclimate.llm.completions import Completions, batches_of
from acclimate.llm.protocol import BatchSize
from acclimate.records import Completion

PROMPTS = [f"shared start {'x' * (7 * n % 50)} {n}" for n in range(100)]


COUNTS, LOGPROBS = st.integers(0, 2**53 - 1), st.lists(st.floats(-1e6, 0) | st.integers(-9, 0)).map(tuple)


@given(st.builds(Completion, st.text(), LOGPROBS, COUNTS, COUNTS, st.text()))
def test_a_completion_is_read_as_it_was_written(completion):
    assert completion_json.load(completion_json.dump(completion)) == completion


@pytest.mark.parametrize(
    ("field", "values", "said"),
    [
        ("text", (3, None), "is no text"),
        ("finish_reason", (3, None), "is no text"),
        ("logprobs", ((0.1,), (-1.0, -1e7), (True,), ("-1",), (float("nan"),)), "a log-probability is "),
        ("prompt_tokens", (-1, 2**53, True, 1.5, "1"), "a number of tokens is "),
        ("completion_tokens", (-1, 2**53, None), "a number of tokens is "),
    ],
)
def test_a_completion_that_cannot_be_is_neither_written_nor_read(field, values, said):
    for value in values:
        odd = Completion("a", (-0.5,), 1, 1, "stop")._replace(**{field: value})
        with pytest.raises(ValueError, match=said):
            completion_json.dump(odd)
        with pytest.raises(ValueError, match=said):
            completion_json.load(json.dumps(odd._asdict()))


class Fake:
    """Answers with the prompt's end and remembers the batches that it was asked."""

    def __init__(self, fingerprint="fake"):
        self.name = self.fingerprint = fingerprint
        self.batches = []

    def complete(self, prompts):
        self.batches.append(list(prompts))
        return [Completion(f" re {prompt[-3:]}", (-0.1, -1 / 3), len(prompt), 2, "stop") for prompt in prompts]

    def cut(self, text, max_tokens):
        return text[:max_tokens]

    def decoding_as(self, decoding):
        return self

    @property
    def asked(self):
        return [prompt for batch in self.batches for prompt in batch]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run" / "completions.sqlite"


def test_answers_come_in_order_and_are_asked_once(path):
    llm = Fake()
    with Completions(path) as completions:
        first = completions.complete(llm, PROMPTS)
        again = completions.complete(llm, PROMPTS[::-1])
        assert completions.usage == (100, sum(map(len, PROMPTS)), 200)
        assert len(completions) == 100
    assert [answer.text for answer in first] == [f" re {prompt[-3:]}" for prompt in PROMPTS]
    assert again == first[::-1]
    assert sorted(llm.asked) == sorted(PROMPTS)
    with Completions(path) as reopened:
        assert reopened.complete(llm, PROMPTS) == first  # the same records to the last digit
        assert reopened.usage == (0, 0, 0)


def test_equal_prompts_are_asked_once_and_all_answered(path):
    llm = Fake()
    with Completions(path) as completions:
        answers = completions.complete(llm, ["a b", "c d", "a b"])
    assert [answer.text for answer in answers] == [" re a b", " re c d", " re a b"]
    assert llm.asked == ["a b", "c d"]


def test_another_fingerprint_is_another_answer(path):
    one, other = Fake("one"), Fake("other")
    with Completions(path) as completions:
        completions.complete(one, PROMPTS[:3])
        completions.complete(other, PROMPTS[:3])
    assert len(one.asked) == len(other.asked) == 3


def test_no_prompts(path):
    with Completions(path) as completions:
        assert completions.complete(Fake(), []) == []


def test_a_stopped_run_resumes_with_the_batches_that_it_would_have_had(path, tmp_path):
    whole, stopped, resumed = Fake(), Fake(), Fake()
    with Completions(tmp_path / "whole.sqlite") as completions:
        expected = completions.complete(whole, PROMPTS)

    def stop_after_two(done, total, batch):
        assert total == 100
        if len(stopped.batches) == 2:
            raise KeyboardInterrupt

    with Completions(path) as completions:
        with pytest.raises(KeyboardInterrupt):
            completions.complete(stopped, PROMPTS, on_batch=stop_after_two)
        assert completions.complete(resumed, PROMPTS) == expected
    assert stopped.batches + resumed.batches == whole.batches
    assert len(whole.batches) > 2


def test_a_failing_llm_reaches_the_caller_and_loses_no_batch_before(path):
    class Failing(Fake):
        def complete(self, prompts):
            if len(self.batches) == 1:
                raise RuntimeError("out of memory")
            return super().complete(prompts)

    with Completions(path) as completions:
        with pytest.raises(RuntimeError, match="out of memory"):
            completions.complete(Failing(), PROMPTS)
        assert len(completions) == 32


def test_of_a_partly_known_batch_only_the_rest_is_asked(path):
    llm = Fake()
    with Completions(path) as completions:
        completions.complete(llm, PROMPTS[:5])
        completions.complete(llm, PROMPTS[:9])
    assert [len(batch) for batch in llm.batches] == [5, 4]


def test_the_callback_counts_to_the_end_and_sees_each_answer_once(path):
    seen = []
    with Completions(path) as completions:
        completions.complete(
            Fake(), PROMPTS, on_batch=lambda done, total, batch: seen.append((done, total, len(batch)))
        )
    assert seen[-1][:2] == (100, 100)
    assert sum(size for _, _, size in seen) == 100


def test_batches_keep_their_budget_and_every_prompt():
    prompts = sorted(PROMPTS, key=lambda prompt: (len(prompt), prompt))
    batches = list(batches_of(prompts, BatchSize(32, 40)))
    assert [prompt for batch in batches for prompt in batch] == prompts
    assert len(batches) > 10
    assert all(len(batch) * (len(batch[-1]) - len("shared start ")) // 4 <= 40 for batch in batches)
    assert [len(batch) for batch in batches_of(["x" * 900], BatchSize(32, 1))] == [1]


def test_batches_are_of_prompts_of_similar_length_whatever_their_order(path):
    llm = Fake()
    with Completions(path) as completions:
        completions.complete(llm, sorted(PROMPTS))
    assert [len(prompt) for prompt in llm.asked] == sorted(map(len, PROMPTS))


def test_text_of_any_kind_comes_back(path):
    texts = ["\0", "“ü”\n\t'\"", ""]

    class Odd(Fake):
        def complete(self, prompts):
            return [Completion(prompt, (), 1, 1, "length") for prompt in prompts]

    with Completions(path) as completions:
        assert [answer.text for answer in completions.complete(Odd(), texts)] == texts


def test_a_file_that_is_no_cache_is_refused_by_name(path):
    path.parent.mkdir()
    path.write_text("hello, I am not a database at all" * 100)
    with pytest.raises(DataError, match=r"completions.sqlite: .*; remove it, and its answers are requested again"):
        Completions(path)


WORKER = """
import sys, time
sys.path.insert(0, {tests!r})
from test_completions import PROMPTS, Fake
from acclimate.llm.completions import Completions

class Slow(Fake):
    def complete(self, prompts):
        time.sleep({seconds})
        return super().complete(prompts)

with Completions(sys.argv[1]) as completions:
    completions.complete(Slow(), PROMPTS, on_batch=lambda *_: print("committed", flush=True))
"""


def worker(path, seconds):
    code = WORKER.format(tests=os.path.dirname(__file__), seconds=seconds)
    return subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)


def test_a_killed_run_loses_at_most_the_batch_at_hand(path):
    process = worker(path, 0.4)
    assert process.stdout.readline() == "committed\n"
    assert process.stdout.readline() == "committed\n"
    time.sleep(0.1)  # now in the third batch
    process.send_signal(signal.SIGKILL)
    process.wait()
    llm = Fake()
    with Completions(path) as completions:
        assert len(completions) == 64
        assert [answer.text for answer in completions.complete(llm, PROMPTS)] == [f" re {p[-3:]}" for p in PROMPTS]
    assert len(llm.asked) == 36


def test_several_processes_share_a_cache(path):
    processes = [worker(path, 0.01) for _ in range(3)]
    for process in processes:
        process.communicate(timeout=60)
    assert [process.returncode for process in processes] == [0, 0, 0]
    with Completions(path) as completions:
        assert len(completions) == 100


def test_a_cache_that_another_process_writes_to_says_so_in_time(path):
    with Completions(path) as completions:
        completions.complete(Fake(), PROMPTS[:2])
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    started = time.monotonic()
    with pytest.raises(DataError, match=r"database is locked; run the same command again"):  # noqa: SIM117
        with Completions(path, busy_seconds=0.1) as completions:
            completions.prune()
    assert time.monotonic() - started < 5
    writer.close()


def test_where_nothing_may_be_written_answers_are_read(path, monkeypatch):
    with Completions(path) as completions:
        completions.complete(Fake(), PROMPTS[:2])
    before = {file: file.stat().st_mtime_ns for file in (path.parent, *path.parent.iterdir())}
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # everything is writable for root
    with Completions(path) as completions:
        assert (len(completions), completions.damaged()) == (2, [])
    with pytest.raises(DataError, match=r"readonly database; change its permissions and its folder's"):  # noqa: SIM117
        with Completions(path) as completions:
            completions.remember("key", {})
    assert {file: file.stat().st_mtime_ns for file in (path.parent, *path.parent.iterdir())} == before


def test_a_full_disk_loses_no_answer_and_says_so(path):
    """The file may grow no further, which is what SQLite reports of a full disk, too."""
    llm = Fake()
    long = [f"{n:04} {'x' * 2000}" for n in range(400)]

    class Wordy(Fake):
        def complete(self, prompts):
            return [answer._replace(text="y" * 4000) for answer in super().complete(prompts)]

    with Completions(path) as completions:
        first = completions.complete(llm, PROMPTS)
        pages = completions._rows.execute("PRAGMA page_count").fetchone()[0]
        completions._rows.execute(f"PRAGMA max_page_count = {pages + 100}")
        with pytest.raises(DataError, match=r"full: an answer could not be stored.*same command again"):
            completions.complete(Wordy(), long)
        kept = len(completions)
        assert kept >= 100 + 32
        assert completions.complete(llm, PROMPTS) == first
    wordy = Wordy()
    with Completions(path) as completions:
        assert len(completions) == kept
        assert len(completions.complete(wordy, long)) == 400
        assert len(wordy.asked) == 400 - (kept - 100)
        assert completions.ledger()[("", "fake")].calls == 500
