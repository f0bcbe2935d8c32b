"""Batches for which memory has no room: a local LLM that fails above some number of prompts gives the same answers."""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import sys
import weakref
from pathlib import Path
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")

from tiny import PROMPTS, same, write_llama

from acclimate.base import models
from acclimate.base.errors import AcclimateError
from acclimate.llm.backends.local import LocalLLM
from acclimate.llm.decoding import Decoding
from acclimate.run.output import Account
from acclimate.run.workspace import Workspace

DECODING = Decoding(max_new_tokens=6, stop=())
MANY = [f"{PROMPTS[0]} {n}" for n in range(13)]
SAID = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
    RuntimeError("MPS backend out of memory (MPS allocated: 7.00 GB, other allocations: 1.00 GB)"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_llama(tmp_path_factory.mktemp("tiny"))


def with_room_for(folder, most, error=SAID[0], *, at_start=True, share_prefix=True):
    """An LLM whose memory has room for `most` prompts, and the numbers of prompts that it was tried with."""
    llm = LocalLLM(folder, DECODING, dtype=torch.float32, share_prefix=share_prefix)
    decoder, tried = llm._loaded.decoder, []
    name = "start" if at_start else "step"
    method = getattr(decoder, name)

    def guarded(first, rows, *rest):
        size = len(rows) if at_start else len(first)
        tried.append(size)
        if size > most:
            raise error
        return method(first, rows, *rest)

    setattr(decoder, name, guarded)
    return llm, tried


@pytest.mark.parametrize("error", SAID, ids=["cuda", "cpu", "mps"])
@pytest.mark.parametrize("at_start", [True, False])
@pytest.mark.parametrize("most", [1, 3, 12])
def test_smaller_batches_give_the_same_answers(folder, error, at_start, most):
    llm, tried = with_room_for(folder, most, error, at_start=at_start)
    same(llm.complete(MANY), LocalLLM(folder, DECODING, dtype=torch.float32).complete(MANY))
    assert any(size > most for size in tried)


def test_drawn_answers_stay_with_their_prompts(folder):
    llm, _ = with_room_for(folder, 3)
    warm = Decoding(max_new_tokens=6, stop=(), temperature=1.5)
    plain = LocalLLM(folder, warm, dtype=torch.float32)
    same(llm.decoding_as(warm).complete(MANY), plain.complete(MANY))


def test_what_memory_has_room_for_is_remembered_for_all_decodings(folder):
    llm, tried = with_room_for(folder, 3)
    llm.complete(MANY)
    tried.clear()
    llm.decoding_as(Decoding(max_new_tokens=5)).complete(MANY)
    assert tried
    assert max(tried) <= 3


def test_the_shared_prefix_is_kept_once_batches_fit(folder, monkeypatch):
    llm, _ = with_room_for(folder, 3)
    llm.complete(MANY)
    read = []
    prefix = llm._loaded.decoder.prefix
    monkeypatch.setattr(llm._loaded.decoder, "prefix", lambda ids: (read.append(len(ids)), prefix(ids))[1])
    llm.complete(MANY)
    assert not [size for size in read if size]


def test_one_prompt_that_does_not_fit_is_told_what_to_do(folder):
    llm, tried = with_room_for(folder, 0)
    with pytest.raises(AcclimateError, match=r"one prompt of \d+ tokens; shorten generate.max_doc_tokens"):
        llm.complete(MANY[:4])
    assert tried == [4, 2, 1]


def test_kept_prefixes_are_given_up_before_a_prompt_is(folder):
    llm = LocalLLM(folder, DECODING, dtype=torch.float32)
    llm.complete(PROMPTS)
    assert any(llm._loaded._prefixes)
    decoder = llm._loaded.decoder
    start = decoder.start

    def only_without_prefixes(*arguments):
        if any(llm._loaded._prefixes):
            raise SAID[0]
        return start(*arguments)

    decoder.start = only_without_prefixes
    same(llm.complete([MANY[0]]), LocalLLM(folder, DECODING, dtype=torch.float32).complete([MANY[0]]))


def test_other_failures_are_not_taken_for_it(folder):
    llm, tried = with_room_for(folder, 0, RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes"):
        llm.complete(MANY)
    assert len(tried) == 1


# Devices


def forbidden(*_):
    raise AssertionError("a function of CUDA was called on a machine without it")


@pytest.fixture
def apple(monkeypatch):
    """A machine with Apple's GPU and no other; the count of times that its memory was given back."""
    freed = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.mps, "empty_cache", lambda: freed.append(1))
    for name in (
        "empty_cache",
        "is_bf16_supported",
        "device_count",
        "get_device_name",
        "current_device",
        "synchronize",
    ):
        monkeypatch.setattr(torch.cuda, name, forbidden)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    models.fast_bf16.cache_clear()
    yield freed
    models.fast_bf16.cache_clear()


def test_apples_gpu_is_used_in_float32(apple):
    assert models.device() == "mps"
    assert models.dtype() == torch.float32
    assert models.dtype_name() == "float32"


@pytest.mark.parametrize(("generation", "dtype"), [(8, torch.bfloat16), (7, torch.float32)])
def test_a_cuda_gpu_comes_before_it_in_bfloat16_where_it_has_that(apple, monkeypatch, generation, dtype):
    monkeypatch.undo()  # what torch itself says of a card
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(major=generation))
    monkeypatch.setattr(torch.cuda, "_check_bf16_tensor_supported", lambda _: True)  # a T4 can hold such numbers
    assert models.device() == "cuda"
    assert models.dtype() == dtype


@pytest.mark.parametrize(("given", "expected"), [(None, "1"), ("0", "0")])
def test_attention_makes_no_plan_for_each_shape_unless_somebody_wants_that(monkeypatch, given, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("TORCH_CUDNN_SDPA_DEPRIORITIZED", "0")
    if given is None:
        monkeypatch.delenv("TORCH_CUDNN_SDPA_DEPRIORITIZED")
    models.device()
    assert os.environ["TORCH_CUDNN_SDPA_DEPRIORITIZED"] == expected


def test_no_function_of_cuda_is_called_on_apples_gpu(folder, request):
    from acclimate.api.doctor import doctor

    llm, _ = with_room_for(folder, 3)  # its model is on the CPU: here is no other device
    apple = request.getfixturevalue("apple")
    assert len(llm.complete(MANY)) == len(MANY)
    assert apple
    assert any("Apple GPU" in str(check) for check in doctor())


class Holding:
    """What refers to itself, as a trainer does."""

    def __init__(self):
        self.itself = self


def test_what_a_stage_leaves_behind_is_gone_from_the_device_before_the_next(apple, tmp_path):
    gone = []

    def work(folder, progress):
        weakref.finalize(Holding(), lambda: gone.append(len(apple)))
        return Account(1, 1)

    Workspace(tmp_path / "run").make("index", work, settings={}, inputs={}, seed=0)
    assert gone == [0]  # then memory is given back
    assert len(apple) == 1


def test_a_stage_without_models_loads_nothing_for_that(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "torch")
    monkeypatch.setattr(models, "device", forbidden)
    Workspace(tmp_path / "run").make("index", lambda *_: Account(1, 1), settings={}, inputs={}, seed=0)


glibc = pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "malloc_trim"),
    reason="a C library that keeps no freed memory",
)


@glibc
def test_what_a_stage_freed_is_given_back_to_the_system(tmp_path):
    kept = []

    def own_mb():
        return int(re.search(r"RssAnon:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024

    def work(folder, progress):
        pieces = [bytearray(os.urandom(50_000)) for _ in range(1200)]
        kept.extend(pieces[::40])  # so that what is freed is not one piece, which any allocator gives back
        del pieces
        kept.append(own_mb())
        return Account(1, 1)

    Workspace(tmp_path / "run").make("index", work, settings={}, inputs={}, seed=0)
    assert own_mb() < kept[-1] - 40


THREADS = """
import ctypes, threading
from acclimate.base import heap

started = threading.Barrier(64)

def work():
    bytearray(50_000)
    started.wait()

with heap.releasing():
    threads = [threading.Thread(target=work) for _ in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
ctypes.CDLL(None).malloc_info(0, ctypes.c_void_p.in_dll(ctypes.CDLL(None), "stdout"))
"""


@glibc
def test_threads_share_an_arena_per_core(monkeypatch):
    monkeypatch.delenv("MALLOC_ARENA_MAX", raising=False)
    printed = subprocess.run([sys.executable, "-c", THREADS], capture_output=True, text=True, check=True).stdout
    assert 1 <= printed.count("<heap ") <= len(os.sched_getaffinity(0))
