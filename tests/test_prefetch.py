"""Work done ahead: in order, no further ahead than is said, and what goes wrong is raised where it is read."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from acclimate.base import gpu, models
from acclimate.base.prefetch import prefetch


def test_results_come_in_order_and_few_are_waiting():
    begun, most = [], []

    def work(number):
        assert threading.current_thread() is not threading.main_thread()
        begun.append(number)
        return number * number

    with ThreadPoolExecutor(max_workers=1) as thread:
        for number, result in enumerate(prefetch(thread, work, range(20))):
            assert result == number * number
            time.sleep(0.001)
            most.append(len(begun) - number)
    assert begun == list(range(20))
    assert max(most) <= 3


def test_an_error_is_raised_where_its_result_is_read():
    def work(number):
        return 1 // (3 - number)

    read = []
    with ThreadPoolExecutor(max_workers=1) as thread, pytest.raises(ZeroDivisionError):
        for result in prefetch(thread, work, range(9)):
            read.append(result)
    assert read == [0, 0, 1]
    with ThreadPoolExecutor(max_workers=1) as thread:
        assert list(prefetch(thread, work, ())) == []


def test_who_stops_reading_leaves_no_work_waiting():
    done = []
    with ThreadPoolExecutor(max_workers=1) as thread:
        results = prefetch(thread, done.append, range(100))
        next(results)
        results.close()
    assert len(done) <= 4


def test_a_thread_that_reads_ahead_has_the_gpu_of_the_one_that_it_reads_for(monkeypatch):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    of_thread = threading.local()  # as CUDA keeps it: a new thread has the first one
    monkeypatch.setattr(models, "device", lambda: "cuda")
    monkeypatch.setattr(torch.cuda, "current_device", lambda: getattr(of_thread, "number", 0))
    monkeypatch.setattr(torch.cuda, "set_device", lambda number: setattr(of_thread, "number", number))
    torch.cuda.set_device(3)
    with gpu.prefetch_thread() as thread:
        assert [*prefetch(thread, lambda _: torch.cuda.current_device(), range(3))] == [3, 3, 3]
