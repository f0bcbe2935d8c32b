"""Several GPUs, tried without one: which of them a process computes on, and when it is said."""

from __future__ import annotations

import pytest
from chain import write_corpus

import acclimate
from acclimate.base import distributed
from acclimate.base.errors import SettingError
from acclimate.stages import chain

torch = pytest.importorskip("torch", reason="torch is not installed")


@pytest.fixture
def two_gpus(monkeypatch):
    """A machine with them; the numbers of those that were taken."""
    taken = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    return taken


def be(monkeypatch, number, count):
    monkeypatch.setenv("LOCAL_RANK", str(number))
    monkeypatch.setenv("WORLD_SIZE", str(count))


def test_each_process_of_several_takes_a_gpu_of_its_own(two_gpus, monkeypatch):
    be(monkeypatch, 0, 1)
    distributed.take_gpu()
    assert not two_gpus
    for number in range(2):
        be(monkeypatch, number, 2)
        distributed.take_gpu()
    assert two_gpus == [0, 1]


def test_more_processes_than_gpus_are_told_how_many_to_start(two_gpus, monkeypatch):
    be(monkeypatch, 2, 3)
    with pytest.raises(SettingError, match=r"process 3 of a machine with 2 GPUs.*--nproc-per-node 2"):
        distributed.take_gpu()


def test_a_run_takes_its_gpu_before_anything_can_be_loaded(tmp_path, monkeypatch):
    done = []
    monkeypatch.setattr(distributed, "take_gpu", lambda: done.append("taken"))

    def adapt(run, until):
        done.append("begun")
        raise SettingError("enough")

    monkeypatch.setattr(chain, "adapt", adapt)
    with pytest.raises(SettingError, match="enough"):
        acclimate.adapt(write_corpus(tmp_path / "corpus.jsonl"), out=tmp_path / "run")
    assert done == ["taken", "begun"]
