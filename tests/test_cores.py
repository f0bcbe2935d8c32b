"""Cores read batches side by side: what comes out is in order, and the same to the last bit on any number of them."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import partial

import processes
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="torch is not installed")

from tiny import PROMPTS, write_cross_encoder, write_llama

from acclimate.base import cores, distributed
from acclimate.base.digests import folder_fingerprint
from acclimate.base.testing import DOCS, QUERIES, FakeLLM
from acclimate.llm import replicas
from acclimate.llm.backends import local
from acclimate.llm.backends.local import LocalLLM
from acclimate.llm.decoding import Decoding
from acclimate.search import query_side, scorers, vectors
from acclimate.search.encoder import Encoder

CORPUS = {doc.doc_id: doc for doc in DOCS}


@pytest.fixture
def on():
    """Call it to compute on so many cores; as before afterwards."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@given(st.integers(1, 5), st.integers(0, 40), st.none() | st.integers(1, 3))
def test_results_come_in_order_and_items_are_read_as_they_are_worked_on(n_cores, n_items, most):
    before = torch.get_num_threads()
    torch.set_num_threads(n_cores)
    try:
        taken, at_once = [], min(n_cores, most or n_cores)
        items = (taken.append(item) or item for item in range(n_items))
        for place, result in enumerate(cores.parallel_map(lambda item: (10 * item, cores.count()), items, most)):
            assert result == (10 * place, 1)  # whatever works on a core has that one
            assert len(taken) - place <= 2 * at_once + 1
        assert len(taken) == n_items
        assert cores.count() == torch.get_num_threads() == n_cores
    finally:
        torch.set_num_threads(before)


def test_as_many_are_at_work_as_there_are_cores(on):
    on(3)
    together = threading.Barrier(3, timeout=30)  # passed by three at once, or by nobody
    assert list(cores.parallel_map(lambda item: together.wait() >= 0, range(6))) == [True] * 6


def test_what_goes_wrong_on_a_core_is_raised_where_its_result_is_asked_for(on):
    on(2)
    results = cores.parallel_map(lambda item: 1 / (item - 3), range(9))
    assert [next(results) for _ in range(3)] == [-1 / 3, -1 / 2, -1]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("core")]
    assert torch.get_num_threads() == 2


def test_what_nobody_asks_for_any_more_is_not_worked_on(on):
    on(2)
    begun = []
    results = cores.parallel_map(begun.append, range(40))
    next(results)
    results.close()
    assert len(begun) <= 6


def test_long_work_ends_where_it_asks_whether_to_go_on(on):
    on(2)
    ends = threading.Event()

    def work(item):
        while item and not ends.wait(0.001):  # all but the first take for ever
            cores.check_cancelled()

    timer = threading.Timer(30, ends.set)
    timer.start()
    results = cores.parallel_map(work, range(9))
    assert next(results) is None
    results.close()
    timer.cancel()
    assert not ends.is_set()
    cores.check_cancelled()  # who is not at work on a core goes on


def test_a_thread_is_alone_as_long_as_it_says(on):
    on(3)
    with cores.single_core():
        assert torch.get_num_threads() == cores.count() == 1
        with cores.single_core():
            pass
        assert torch.get_num_threads() == 1
    with cores.single_core(4096):
        assert torch.get_num_threads() == cores.count() == 3
    assert torch.get_num_threads() == cores.count() == 3


def test_what_models_say_does_not_depend_on_how_many_cores_there_are(on, tiny_encoder, tmp_path, monkeypatch):
    reranker, llm = write_cross_encoder(tmp_path / "reranker", tiny_encoder), write_llama(tmp_path / "llm")
    monkeypatch.setattr(vectors, "tokens_at_once", lambda: 60)
    threads, decode = set(), LocalLLM._decode

    def decoded(llm, prompts):
        threads.add((threading.get_ident(), torch.get_num_threads()))
        return decode(llm, prompts)

    monkeypatch.setattr(LocalLLM, "_decode", decoded)
    said = {}
    for n_cores in (1, 3):
        on(n_cores)
        threads.clear()
        encoder = Encoder.load(str(tiny_encoder), max_tokens=64)
        vectors.encode_corpus(encoder, CORPUS, tmp_path / f"vectors-{n_cores}", maker=encoder.copy)
        scorer = scorers.load(str(reranker), CORPUS, max_tokens=64)
        batches = [PROMPTS[start : start + 2] for start in range(0, len(PROMPTS), 2)]
        side = query_side.load_query_side(tiny_encoder, lambda: "", max_tokens=64)
        assert side
        said[n_cores] = (
            folder_fingerprint(tmp_path / f"vectors-{n_cores}"),
            [scorer.score([(query, doc_id) for doc_id in CORPUS]) for query in QUERIES],
            list(replicas.complete_batches(LocalLLM(str(llm), Decoding(12, temperature=1.0)), batches)),
            [side.encode([query.text])[0].pooled.tobytes() for query in QUERIES],
        )
        assert {count for _, count in threads} == {1}
        assert len(threads) == (1 if n_cores == 1 else min(3, local.CORES, len(batches)))
    assert said[1] == said[3]


@dataclass(frozen=True)
class Decoder(FakeLLM):
    """Says how many tokens it may write."""

    decoding: Decoding
    cores: int = 1

    @property
    def maker(self):
        return partial(Decoder, Decoding())

    def decoding_as(self, decoding):
        return Decoder(decoding)

    def complete(self, prompts):
        return [answer._replace(text=str(self.decoding.max_new_tokens)) for answer in super().complete(prompts)]


def test_an_llm_elsewhere_decodes_as_the_one_here():
    with distributed.using_workers(processes.Elsewhere()):
        answers = list(replicas.complete_batches(Decoder(Decoding(7)), [["a", "b"], ["c"]]))
    assert [[answer.text for answer in batch] for batch in answers] == [["7", "7"], ["7"]]
