"""Several GPUs, tried without one: which of them a process computes on, and when it is said."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from chain import write_corpus

import acclimate
from acclimate.api import doctor
from acclimate.base import distributed, models
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


@pytest.mark.parametrize(("count", "gpus"), [(2, "2 GPUs"), (1, "1 GPU")])
def test_more_processes_than_gpus_are_told_how_many_to_start(count, gpus, two_gpus, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    be(monkeypatch, count, count + 1)
    with pytest.raises(SettingError, match=rf"process {count + 1} of a machine with {gpus},.*--nproc-per-node {count}"):
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


def test_doctor_says_of_each_gpu_whether_it_computes(two_gpus, monkeypatch):
    cards = [SimpleNamespace(name=name, total_memory=memory << 30) for name, memory in (("H100", 80), ("GTX 1080", 8))]
    ones = torch.ones

    def made(size, device):
        if device == "cuda:1":
            raise RuntimeError("CUDA error: no kernel image is available for execution on the device\nSearch for ...")
        return ones(size)

    monkeypatch.setattr(torch.cuda, "get_device_properties", cards.__getitem__)
    monkeypatch.setattr(torch, "ones", made)
    monkeypatch.setattr(models, "dtype_name", lambda: "bfloat16")
    cpu, first, second = (check for check in doctor.doctor() if check.what.startswith(("CPU", "GPU")))
    assert "computing" not in cpu.what
    assert str(first) == "ok       GPU 0: H100, 80 GiB, computing in bfloat16"
    assert str(second).startswith("missing  GPU 1: GTX 1080, 8 GiB: CUDA error: no kernel image is available")
    assert "->  install a PyTorch build" in str(second)
