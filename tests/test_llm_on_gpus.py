"""The way in which a GPU decodes, tried without one: steps recorded once, and the same answers."""

from __future__ import annotations

import weakref
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")

from test_llm import local
from tiny import PROMPTS, SHARED, same, write_llama

from acclimate.base.errors import OutOfMemory
from acclimate.llm.backends.local import LocalLLM
from acclimate.llm.decoders import cuda_graph, packed_cache
from acclimate.llm.decoders.cuda_graph import RecordedStep
from acclimate.llm.decoders.packed import Packed


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return write_llama(tmp_path_factory.mktemp("tiny"))


def as_on_a_gpu(folder, monkeypatch, **settings):
    """The tiny model with what a GPU does: a cache of fixed shape, larger groups, answers looked at now and then."""
    llm = local(folder, **settings)
    llm._loaded.__dict__["decoder"] = Packed(llm._loaded.model, for_gpu=True)
    monkeypatch.setattr(LocalLLM, "_steps_unread", 5)
    return llm


@pytest.mark.parametrize(
    "settings", [{"stop": ("a", "o", "9", "B")}, {"stop": ()}, {"stop": ("a", "o"), "temperature": 1.5}], ids=str
)
@pytest.mark.parametrize("share_prefix", [True, False])
def test_the_way_of_a_gpu_writes_the_same(folder, monkeypatch, settings, share_prefix):
    prompts = [f"{SHARED}{'so ' * (n % 5)}{n} words\nQuery:" for n in range(21)]
    asked = [prompts, prompts[:3], PROMPTS, prompts]
    plain = local(folder, share_prefix=share_prefix, **settings)
    expected = [plain.complete(each) for each in asked]
    llm = as_on_a_gpu(folder, monkeypatch, share_prefix=share_prefix, **settings)
    found = [llm.complete(each) for each in asked]
    for one, other in zip(found, expected, strict=True):
        same(one, other)
    assert found[0] == found[-1]  # whatever was in the cache
    assert len({answer.completion_tokens for answer in found[0]}) > 2 or settings == {"stop": ()}


def test_the_way_of_a_gpu_rates_the_same(folder):
    starts, rows = [[5, 6, 7], [8], [9, 10, 11, 12]], [[20, 21], [22], [23, 24, 25], [26, 27]]
    decoders = [Packed(local(folder)._loaded.model, for_gpu=for_gpu) for for_gpu in (False, True)]
    for name, more in (("logits_of", ([30, 31],)), ("logprobs", ())):
        plain, other = (getattr(decoder, name)(starts, rows, [0, 2, 1, 0], *more) for decoder in decoders)
        torch.testing.assert_close(other, plain, atol=1e-4, rtol=0)


def test_a_step_is_recorded_once_for_batches_of_about_the_same_shape(folder, monkeypatch):
    recorded = []
    monkeypatch.setattr(
        packed_cache, "RecordedStep", lambda step, device: (recorded.append(device.type), RecordedStep(step, device))[1]
    )
    llm = as_on_a_gpu(folder, monkeypatch)
    for count in (20, 32, 17, 20):
        llm.complete([f"{SHARED}{n} words\nQuery:" for n in range(count)])
    assert recorded == ["cpu"]
    llm.complete(PROMPTS)
    llm.complete(PROMPTS[:2])
    assert len(llm._loaded.decoder._fixed._caches) == packed_cache.KEPT_SHAPES
    assert llm._loaded.forget()
    assert not llm._loaded.forget()


def test_a_model_that_nobody_uses_any_more_is_gone_at_once_with_its_caches(folder, monkeypatch):
    monkeypatch.setattr(packed_cache, "RecordedStep", lambda step, device: object())  # it keeps no function
    decoder = Packed(local(folder)._loaded.model, for_gpu=True)
    decoder.start(decoder.prefix([]), [[1, 2, 3]], 4)
    weights, keys = weakref.ref(decoder._head), weakref.ref(next(iter(decoder._fixed._caches.values())).suffix)
    assert weights() is not None
    assert keys() is not None
    del decoder
    assert weights() is None
    assert keys() is None


def test_without_a_graph_a_step_is_called_and_that_is_said_once(monkeypatch, caplog):
    def refuse(step):
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(RecordedStep, "has_failed", False)
    monkeypatch.setattr(cuda_graph, "_recorded", refuse)
    steps = [RecordedStep(lambda: torch.ones(1), torch.device("cuda")) for _ in range(2)]
    assert [float(step()) for step in steps] == [1.0, 1.0]
    assert len([record for record in caplog.records if "no CUDA graph" in record.message]) == 1


class Streams:
    """CUDA's streams as torch has them: what is entered is current until it is left. The stream of a recording that
    cannot be ended is not left."""

    def __init__(self):
        self.current, self.number, self.recorded, self.can_end = 0, 0, [], True

    def current_stream(self):
        return SimpleNamespace(number=self.current, wait_stream=lambda other: None)

    def made(self):
        self.number += 1
        return SimpleNamespace(number=self.number, wait_stream=lambda other: None)

    @contextmanager
    def stream(self, stream):
        before, self.current = self.current, stream.number
        try:
            yield
        finally:
            self.current = before

    @contextmanager
    def graph(self, graph, stream, capture_error_mode):
        before, self.current = self.current, stream.number
        self.recorded.append(stream.number)
        yield
        if not self.can_end:
            raise RuntimeError("operation failed due to a previous error during capture")
        self.current = before


@pytest.fixture
def streams(monkeypatch):
    streams = Streams()
    for name in ("current_stream", "stream", "graph"):
        monkeypatch.setattr(torch.cuda, name, getattr(streams, name))
    monkeypatch.setattr(torch.cuda, "Stream", streams.made)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", type("Graph", (), {}))
    monkeypatch.setattr(cuda_graph, "_idle_streams", [])
    monkeypatch.setattr(RecordedStep, "has_failed", False)
    return streams


def test_a_recording_that_fails_leaves_work_on_the_stream_that_it_was_on(streams):
    streams.can_end = False
    RecordedStep(lambda: torch.ones(1), torch.device("cuda"))
    assert RecordedStep.has_failed
    assert streams.current == 0


def test_no_two_living_recordings_are_of_one_stream(streams):
    """With a graph torch frees memory that others of its stream write to (pytorch/pytorch#193402)."""
    first, second = (RecordedStep(lambda: torch.ones(1), torch.device("cuda")) for _ in range(2))
    assert streams.recorded == [1, 2]
    del first
    third = RecordedStep(lambda: torch.ones(1), torch.device("cuda"))
    assert streams.recorded == [1, 2, 1]
    assert {second, third}


def test_a_prompt_that_has_no_room_though_its_cache_has_is_told_what_to_do(folder, monkeypatch):
    llm = as_on_a_gpu(folder, monkeypatch)

    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(llm._loaded.decoder, "_read", full)
    with pytest.raises(OutOfMemory, match=r"one prompt of \d+ tokens"):
        llm.complete(PROMPTS)


def test_no_room_for_a_graph_is_want_of_memory(monkeypatch):
    def refuse(step):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(cuda_graph, "_recorded", refuse)
    with pytest.raises(torch.OutOfMemoryError):
        RecordedStep(lambda: torch.ones(1), torch.device("cuda"))
