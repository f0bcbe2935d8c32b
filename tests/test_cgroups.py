"""What a container or a batch queue allows is what threads are started for, in both versions of cgroups."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acclimate.api import doctor
from acclimate.base import cgroups
from acclimate.cli import shell

GIB = 1 << 30


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Call it to make a machine of 64 cores and 100 GiB with these files; returns the root of its file system."""
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    monkeypatch.setattr(cgroups, "memory", lambda: 100 * GIB)
    monkeypatch.delenv("OMP_NUM_THREADS")

    def write(groups: str, files: dict[str, str]) -> Path:
        for name, text in {"/proc/self/cgroup": groups, **files}.items():
            path = tmp_path / name.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n")
        return tmp_path

    return write


V1, V2 = "/sys/fs/cgroup/cpu", "/sys/fs/cgroup"
OF_V1 = "12:pids:/docker/1f\n4:cpu,cpuacct:/docker/1f\n3:memory:/docker/1f\n1:name=systemd:/docker/1f"
QUOTAS = {
    "none": (64, "0::/", {}),
    "docker": (2, "0::/", {f"{V2}/cpu.max": "200000 100000"}),
    "unlimited": (64, "0::/", {f"{V2}/cpu.max": "max 100000"}),
    "a part": (2, "0::/", {f"{V2}/cpu.max": "150000 100000"}),
    "little": (1, "0::/", {f"{V2}/cpu.max": "1000 100000"}),
    "generous": (64, "0::/", {f"{V2}/cpu.max": "9900000 100000"}),
    "a unit": (3, "0::/system.slice/a.service", {f"{V2}/system.slice/a.service/cpu.max": "30000 10000"}),
    "around it": (
        2,
        "0::/job/step",
        {
            f"{V2}/job/cpu.max": "200000 100000",
            f"{V2}/job/step/cpu.max": "max 100000",
            f"{V2}/cpu.max": "900000 100000",
        },
    ),
    "another's": (64, "0::/job", {f"{V2}/other/cpu.max": "100000 100000"}),
    "outside": (4, "0::/../../job", {f"{V2}/cpu.max": "400000 100000", "/sys/job/cpu.max": "100000 100000"}),
    "version 1": (3, OF_V1, {f"{V1}/cpu.cfs_quota_us": "250000", f"{V1}/cpu.cfs_period_us": "100000"}),
    "version 1, whole path": (
        1,
        OF_V1,
        {f"{V1}/docker/1f/cpu.cfs_quota_us": "50000", f"{V1}/docker/1f/cpu.cfs_period_us": "100000"},
    ),
    "version 1, unlimited": (64, OF_V1, {f"{V1}/cpu.cfs_quota_us": "-1", f"{V1}/cpu.cfs_period_us": "100000"}),
    "hybrid": (
        2,
        f"{OF_V1}\n0::/docker/1f",
        {f"{V1}/cpu.cfs_quota_us": "200000", f"{V1}/cpu.cfs_period_us": "100000", f"{V2}/unified/cgroup.procs": "1"},
    ),
    "nonsense": (64, "0::/", {f"{V2}/cpu.max": "a b", f"{V2}/memory.max": ""}),
    "no groups": (64, "nonsense\n\n::", {}),
}


@pytest.mark.parametrize("case", QUOTAS)
def test_a_quota_is_the_lowest_of_the_groups_around_a_process(machine, case):
    cores, groups, files = QUOTAS[case]
    root = machine(groups, files)
    assert cgroups.usable_cores(root) == cores
    cgroups.limit_threads(root)
    assert os.environ.pop("OMP_NUM_THREADS", None) == (None if cores == 64 else str(cores))


def test_cores_that_a_process_is_not_bound_to_are_not_its_own(machine, monkeypatch):
    root = machine("0::/", {f"{V2}/cpu.max": "300000 100000"})
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {5, 9}, raising=False)
    assert cgroups.usable_cores(root) == 2
    cgroups.limit_threads(root)
    assert "OMP_NUM_THREADS" not in os.environ  # libraries see these two by themselves


def test_who_says_how_many_threads_there_are_is_obeyed(machine, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    cgroups.limit_threads(machine("0::/", {f"{V2}/cpu.max": "200000 100000"}))
    assert os.environ["OMP_NUM_THREADS"] == "7"


def test_each_of_several_processes_starts_no_more_threads_than_it_has_cores(monkeypatch):
    """Otherwise accelerate counts the cores of the machine, as those of a batch queue's node."""
    monkeypatch.setattr(cgroups, "usable_cores", lambda: 3)
    for size, expected in (("1", None), ("2", "3")):
        monkeypatch.setenv("WORLD_SIZE", size)
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        shell.prepare()
        assert os.environ.get("OMP_NUM_THREADS") == expected


@given(st.text() | st.from_regex(r"(\d*:[a-z,]*:/?[a-z./]*\n){0,4}", fullmatch=True))
def test_no_list_of_groups_is_a_failure(tmp_path_factory, text):
    root = tmp_path_factory.mktemp("root")
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(text, encoding="utf-8", errors="replace")
    assert cgroups.usable_cores(root) >= 1
    assert cgroups.usable_memory(root) == cgroups.memory()


@pytest.mark.parametrize(
    ("expected", "groups", "name", "text"),
    [
        (4, "0::/", f"{V2}/memory.max", str(4 * GIB)),
        (100, "0::/", f"{V2}/memory.max", "max"),
        (100, "0::/", f"{V2}/memory.max", str(400 * GIB)),
        (6, "0::/a/b", f"{V2}/a/memory.max", str(6 * GIB)),
        (3, OF_V1, "/sys/fs/cgroup/memory/memory.limit_in_bytes", str(3 * GIB)),
        (100, OF_V1, "/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712"),
    ],
)
def test_memory_is_what_the_groups_allow(machine, expected, groups, name, text):
    assert cgroups.usable_memory(machine(groups, {name: text})) == expected * GIB


def test_doctor_says_what_a_container_may_use(machine, monkeypatch):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    monkeypatch.setattr(cgroups, "usable_cores", lambda: 2)
    monkeypatch.setattr(cgroups, "usable_memory", lambda: 4 * GIB)
    said = [str(check) for check in doctor.doctor()]
    assert "ok       memory: 100.0 GiB (this process may use 4.0)" in said
    assert any(line.startswith("ok       CPU: 64 cores (this process may use 2), 64 threads") for line in said)
    (missing,) = (line for line in said if "limit of threads" in line)
    assert missing == ("missing  a limit of threads: 64 on 2 cores wait for each other   ->  export OMP_NUM_THREADS=2")
