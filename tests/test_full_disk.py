"""A full disk: one line that names the file, and with room the same command goes on. Never a traceback."""

from __future__ import annotations

import errno
import os
import re
import resource
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest
from chain import STAGES, contents

from acclimate.base import disk
from acclimate.base.errors import DataError
from acclimate.base.files import write_text
from acclimate.cli.main import main
from acclimate.deploy.exports import sqlite as sqlite_export
from acclimate.run.workspace import Workspace

pytestmark = pytest.mark.usefixtures("fake_llm")


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """No file gets larger than this, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    writes_none, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # Python 3.11 would keep what was cut short
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        sys.dont_write_bytecode = writes_none


@pytest.fixture
def run(finished, tmp_path) -> Path:
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.slow
def test_a_full_disk_is_told_in_every_stage_and_with_room_the_same_command_goes_on(
    finished,
    run,
    corpus,
    run_adapt,
    capsys,
    monkeypatch,
):
    make = Workspace.make

    def without_room(self, stage, *arguments, **options):
        with room_for(300 if stage == full else resource.RLIM_INFINITY):
            return make(self, stage, *arguments, **options)

    whole = contents(finished)
    for full in STAGES:
        shutil.rmtree(run / full)
        with monkeypatch.context() as patch:
            patch.setattr(Workspace, "make", without_room)
            assert run_adapt(corpus, run) == 2
        said = capsys.readouterr().err.splitlines()[-1]
        assert str(run) in said
        assert re.search("File too large|No space left on device|disk I/O error", said)
        assert run_adapt(corpus, run) == 0
        assert contents(run) == whole


def test_a_full_disk_is_told_before_the_first_stage(corpus, run_adapt, tmp_path, capsys):
    with room_for(1000):
        assert run_adapt(corpus, tmp_path / "run") == 2
    assert str(tmp_path / "run" / "corpus") in capsys.readouterr().err


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="/proc is Linux's")
def test_a_folder_that_takes_no_file_is_told():
    with pytest.raises(DataError, match=r"^/proc/x: no file can be made here"):
        write_text(Path("/proc/x"), "")


def test_an_array_takes_its_room_when_it_is_made(tmp_path, monkeypatch):
    def no_such_call(*_: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "not supported")

    for _ in range(2):
        array = disk.new_array(tmp_path / "a.npy", np.float32, (1000, 500))
        assert (tmp_path / "a.npy").stat().st_blocks * 512 >= array.nbytes
        assert not array.any()
        with room_for(1000), pytest.raises(OSError, match=r"b\.npy"):
            disk.new_array(tmp_path / "b.npy", np.float32, (1000, 500))
        monkeypatch.setattr("os.posix_fallocate", no_such_call, raising=False)


def test_each_library_s_word_for_a_full_disk_is_understood(tmp_path):
    import pyarrow as pa
    import torch
    from safetensors.torch import save_file

    many = torch.zeros(10_000)

    def arrow(path: Path) -> None:
        schema = pa.schema({"a": pa.string()})
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
            writer.write_batch(pa.record_batch([pa.array(["x" * 40_000])], schema=schema))

    def sqlite(path: Path) -> None:
        with closing(sqlite3.connect(path)) as database:
            database.execute("create table a as select zeroblob(40000)")

    def onnx(path: Path) -> None:
        library = pytest.importorskip("onnx")
        path.write_bytes(library.helper.make_tensor("a", library.TensorProto.FLOAT, [9], range(9)).SerializeToString())
        os.truncate(path, 5)  # what its shape inference leaves, without a word
        library.load(path)

    writers: dict[str, Callable[[Path], object]] = {
        "torch": lambda path: torch.save({"a": many}, path),
        "safetensors": lambda path: save_file({"a": many}, path),
        "numpy": lambda path: np.save(path, many.numpy()),
        "text": lambda path: path.write_text("x" * 40_000),
        "arrow": arrow,
        "sqlite": sqlite,
        "onnx": onnx,
    }
    for name, write in writers.items():
        with pytest.raises(OSError) as raised, room_for(4096), disk.writing(tmp_path / name):
            write(tmp_path / name)
        assert raised.value.errno in (errno.ENOSPC, errno.EFBIG), name
        assert raised.value.filename == str(tmp_path / name)
    with pytest.raises(RuntimeError, match="shapes"), disk.writing(tmp_path):
        raise RuntimeError("shapes differ")


def test_a_full_disk_is_told_by_an_export_whatever_has_room(finished, tmp_path, capsys):
    export = ["export", str(finished), "sqlite", "--system", "bm25", "--out", str(tmp_path / "out")]
    for size in (1_000, 5_000, 20_000, 50_000):
        with room_for(size):
            assert main(export) == 2
        said = capsys.readouterr().err.splitlines()[-1]
        assert str(tmp_path) in said
        assert re.search("File too large|No space left on device", said)
    assert main(export) == 0


def test_sqlite_that_finds_no_room_says_so_where_it_has_rolled_back_itself():
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as database:
        database.executescript("create table finished (step text primary key); create table a (b); create table c (d);")
        database.execute(f"pragma max_page_count = {database.execute('pragma page_count').fetchone()[0]}")
        with pytest.raises(sqlite3.OperationalError, match="full"), sqlite_export._step(database, "a"):
            database.execute("insert into a values (zeroblob(40000))")
