"""What a cluster's workers are asked, with a Ray that is none: order, losses, and what is refused."""

from __future__ import annotations

import random
import sys
from functools import partial
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch", reason="torch is not installed")

from acclimate.base import distributed, ray_cluster, ray_workers
from acclimate.base.errors import AcclimateError, MissingExtra, SettingError
from acclimate.base.ray_workers import Environment, RayWorkers
from acclimate.cli.main import main

ONE_CPU = {"num_cpus": 1.0, "num_gpus": 0.0}


class RayError(Exception):
    pass


class RayActorError(RayError):
    pass


class Killed(BaseException):
    """Raised by work: its worker's process has ended."""


class FakeRay:
    """Ray in this process: what is asked is done when it is waited for, in any order among workers."""

    def __init__(self, *, seed: int = 0, starts: bool = True) -> None:
        names = ("NodeDiedError", "ObjectLostError", "OutOfMemoryError", "WorkerCrashedError")
        others = {name: type(name, (RayError,), {}) for name in names}
        self.exceptions = SimpleNamespace(RayError=RayError, RayActorError=RayActorError, **others)
        self.draws, self.starts, self.started, self.results = random.Random(seed), starts, 0, {}

    def remote(self, **_):
        return lambda actor: SimpleNamespace(remote=partial(self._begin, actor))

    def _begin(self, kind, *_):
        self.started += 1
        worker = SimpleNamespace(helper=distributed.Helper(), queue=[], is_dead=False)

        def ask(work, *arguments):
            reference = object()
            worker.queue.append((reference, partial(work, *arguments)))
            self.results[reference] = worker
            return reference

        return SimpleNamespace(
            environment=SimpleNamespace(remote=partial(ask, Environment.current)),
            do=SimpleNamespace(remote=partial(ask, worker.helper.do)),
            worker=worker,
        )

    def kill(self, actor):
        actor.worker.is_dead = True

    def wait(self, references, num_returns, timeout):
        if not self.starts:
            return [], references
        reference = self.draws.choice(references)
        worker = self.results[reference]
        return ([worker.queue[0][0]] if worker.queue and worker.queue[0][0] in references else [reference]), []

    def get(self, reference):
        worker = self.results[reference]
        (work,) = (work for asked, work in worker.queue if asked is reference)
        worker.queue = [asked for asked in worker.queue if asked[0] is not reference]
        if worker.is_dead:
            raise RayActorError("its process has ended")
        try:
            return work()
        except Killed:
            worker.is_dead = True
            raise RayActorError("its process has ended") from None


def times(tool, unit):
    return tool * unit


def once(kills, tool, unit):
    """Ten times the unit; the first so many tries end their process."""
    if kills.get(unit, 0):
        kills[unit] -= 1
        raise Killed
    return tool * unit


def ten():
    return 10


def missing():
    raise AcclimateError("no/such/model: no model there")


@given(
    st.integers(1, 4), st.integers(0, 40), st.integers(0, 99), st.dictionaries(st.integers(0, 39), st.integers(1, 2))
)
@settings(max_examples=40)
def test_results_come_in_order_whoever_is_lost(n_workers, n_units, seed, kills):
    ray = FakeRay(seed=seed)
    pool = RayWorkers(ray, n_workers, ONE_CPU)
    pool.check()
    kills = {unit: count for unit, count in kills.items() if unit < n_units and unit % 7 == 0}
    begun = []
    units = (begun.append(unit) or unit for unit in range(n_units))
    for place, result in enumerate(pool.results(ten, partial(once, kills), units)):
        assert result == 10 * place
        assert len(begun) - place <= 4 * n_workers  # no more is read than is at work
    assert len(begun) == n_units
    assert not any(kills.values())


def test_work_that_is_left_in_the_middle_is_in_nobodys_way():
    pool = RayWorkers(FakeRay(), 2, ONE_CPU)
    pool.check()
    first = pool.results(ten, times, range(9))
    assert next(first) == 0
    assert list(pool.results(ten, times, range(5))) == [0, 10, 20, 30, 40]
    assert list(first) == [10 * unit for unit in range(1, 9)]
    next(pool.results(ten, times, range(9)))
    assert list(pool.results(ten, times, range(5))) == [0, 10, 20, 30, 40]


def test_work_that_no_worker_survives_ends_with_a_line():
    pool = RayWorkers(FakeRay(), 2, ONE_CPU)
    pool.check()
    with pytest.raises(AcclimateError, match=r"^5 workers of the cluster ended at the same work"):
        list(pool.results(ten, partial(once, {3: 99}), range(9)))


def test_what_goes_wrong_in_a_worker_is_said_as_it_is():
    pool = RayWorkers(FakeRay(), 2, ONE_CPU)
    pool.check()

    with pytest.raises(AcclimateError, match=r"^a worker of the cluster: no/such/model: no model there; workers need"):
        list(pool.results(missing, times, range(9)))


def test_a_worker_of_another_version_is_refused(monkeypatch):
    ours = Environment.current()
    answers = iter([ours._replace(acclimate="0.0.1"), ours])
    monkeypatch.setattr(ray_workers.Environment, "current", lambda: next(answers, ours))
    with pytest.raises(AcclimateError, match=r"has acclimate 0\.0\.1, .* and this process acclimate"):
        RayWorkers(FakeRay(), 1, ONE_CPU).check()


def test_workers_that_end_as_they_start_are_not_started_for_ever(monkeypatch):
    def no_module():
        raise Killed

    monkeypatch.setattr(ray_workers.Environment, "current", no_module)
    ray = FakeRay()
    with pytest.raises(AcclimateError, match=r"end as they start; expected acclimate .* its process has ended$"):
        RayWorkers(ray, 1, ONE_CPU).check()
    assert ray.started == 5


def test_a_cluster_without_room_is_waited_for_and_then_given_up(monkeypatch):
    monkeypatch.setattr(ray_workers, "_TIMEOUT_SECONDS", 0.001)
    with pytest.raises(AcclimateError, match=r"has started no worker .* takes 1 CPU, 0\.5 GPU;"):
        RayWorkers(FakeRay(starts=False), 1, {"num_cpus": 1.0, "num_gpus": 0.5}).check()


def test_one_unit_alone_is_done_here():
    with distributed.using_workers(RayWorkers(FakeRay(starts=False), 1, ONE_CPU)):
        assert distributed.is_shared()
        assert list(distributed.shared(3, ten, times, [2])) == [6]
        assert list(distributed.shared(3, ten, times, [])) == []
    assert not distributed.is_shared()


def test_an_executor_is_an_address_and_what_a_worker_takes():
    parse = ray_cluster.Executor.parse
    assert parse("ray") == (None, None, 1.0, None)
    assert parse("ray://head:10001") == ("ray://head:10001", None, 1.0, None)
    assert parse("ray://[::1]:10001,workers=8,cpus=2,gpus=0.5") == ("ray://[::1]:10001", 8, 2.0, 0.5)


@pytest.mark.parametrize(
    "text",
    ["", "ra", "ray:", "ray://", "ray://head", "ray://head:x", "dask", "ray,workers=0", "ray,workers=1.5", "ray,gpus=2",
     "ray,cpus=nan", "ray,cpus=0", "ray,gpus=-1", "ray,workers", "ray,work=2", "ray,,", "ray workers=2", "ray,gpus="],
)  # fmt: skip
def test_another_executor_is_refused_before_anything_is_read(text, tmp_path, capsys):
    with pytest.raises(SettingError, match="expected ray or ray://HOST:PORT"):
        ray_cluster.Executor.parse(text)
    if text:
        assert main(["adapt", "nowhere", "--out", str(tmp_path / "run"), "--executor", text, "--dry-run"]) == 2
        assert "the executor is" in capsys.readouterr().err


def test_what_is_missing_or_does_not_answer_is_said_with_a_line(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SettingError, match="torchrun"), ray_cluster.workers("ray"):
        pass
    monkeypatch.delenv("WORLD_SIZE")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"pip install 'acclimate\[ray\]'"), ray_cluster.workers("ray"):
        pass
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=lambda: False))
    monkeypatch.setitem(sys.modules, "ray.exceptions", SimpleNamespace(RayError=RayError))
    nobody = "ray://127.0.0.1:1"
    with pytest.raises(AcclimateError, match=f"no Ray cluster answers at {nobody} "), ray_cluster.workers(nobody):
        pass
