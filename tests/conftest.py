"""Fixtures of all tests: no network, no hub, and an encoder small enough to train in a second."""

from __future__ import annotations

import os

# Read when the libraries are imported. With models this small, threads would only wait for each other.
os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"}

import gc
import importlib
import re
import shutil
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from chain import HOSTILE, SMALL, fake_answers, tiny_models, write_corpus, write_labels
from hypothesis import settings
from tiny import write_llama

from acclimate.base.testing import DOCS, QUERIES
from acclimate.measure import recommend
from acclimate.search import measuring

settings.register_profile("acclimate", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("acclimate")

_HERE = {"127.0.0.1", "::1", "localhost", ""}
_connect, _connect_ex, _getaddrinfo = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo


def _refuse(host):
    host = host.decode() if isinstance(host, bytes) else host
    if host not in _HERE and host is not None and not str(host).startswith("127."):
        raise RuntimeError(f"a test reached for the network: {host}")


def _guarded(method):
    def connect(self, address):
        if self.family != getattr(socket, "AF_UNIX", None):
            _refuse(address[0])
        return method(self, address)

    return connect


def pytest_configure():
    """Make every connection to another machine raise, from the first import on."""
    os.environ.pop("COLUMNS", None)  # set by xdist's workers; would change the layout of help

    def getaddrinfo(host, *args, **kwargs):
        _refuse(host)
        return _getaddrinfo(host, *args, **kwargs)

    socket.socket.connect = _guarded(_connect)
    socket.socket.connect_ex = _guarded(_connect_ex)
    socket.getaddrinfo = getaddrinfo


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first: a long one that begins last would leave the other workers idle."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_unconfigure():
    socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo = _connect, _connect_ex, _getaddrinfo


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory):
    """Use a cache folder of this session instead of the user's."""
    os.environ["ACCLIMATE_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session", autouse=True)
def unhurried() -> Iterator[None]:
    """Never choose the served system by latency, which varies on a busy machine; measure it on two queries."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recommend, "LEAST_MS", 1e9)
        patch.setattr(measuring, "_TIMED", 2)
        patch.setattr(measuring, "_TIMED_RERANKED", 2)
        yield


@pytest.fixture(scope="module", autouse=True)
def little_garbage():
    """Freeze objects left by earlier imports and tests, so that garbage collection does not scan them again."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def interruptible():
    """Restore default signals: a background process is started with SIGINT ignored, one under nohup with SIGHUP."""
    handlers = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def short_waits(monkeypatch):
    """Retry failed servers at once; set a key."""
    monkeypatch.setenv("OPENAI_API_KEY", "secret-key")
    monkeypatch.setattr("acclimate.llm.backends.server._FIRST_WAIT", 0.01)


@pytest.fixture(scope="session")
def quick_training() -> Iterator[None]:
    """Skip writing model cards, which takes a large part of training a tiny model."""
    pytest.importorskip("torch", reason="torch is not installed")
    from sentence_transformers import CrossEncoder

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CrossEncoder, "_create_model_card", lambda *_, **__: None)  # for each checkpoint
        yield


@pytest.fixture(scope="session")
def tiny_encoder(quick_training, tmp_path_factory):
    """Folder of a SentenceTransformer: BERT with one layer, 32 dimensions, random weights, and words as tokens; with
    an LLM beside it."""
    torch = pytest.importorskip("torch")
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("encoder")
    texts = [doc.default_text() for doc in DOCS] + [query.text for query in QUERIES]
    words = sorted({word for text in texts for word in re.findall(r"\w+|[^\w\s]", text.lower())})
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
    bert = folder / "bert"
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(bert)
    BertTokenizerFast(vocab={word: at for at, word in enumerate(vocabulary)}, model_max_length=64).save_pretrained(bert)
    transformer = Transformer(str(bert), max_seq_length=64)
    modules = [transformer, Pooling(32, "mean"), Normalize()]
    write_llama(folder / "llm")
    whole = folder / "encoder"
    SentenceTransformer(modules=modules, device="cpu").save(str(whole), create_model_card=False)
    return whole


@pytest.fixture(scope="session")
def base(tiny_encoder):
    """The tiny encoder, loaded once; the base of students, which do not modify it."""
    from acclimate.search.encoder import Encoder

    return Encoder.load(str(tiny_encoder), max_tokens=64)


@pytest.fixture(scope="session")
def data(base, tmp_path_factory):
    """The built-in documents and queries with the tiny encoder's vectors."""
    from acclimate.learn.students.training_data import TrainingData
    from acclimate.search.members import Ids
    from acclimate.search.vectors import encode_corpus

    corpus = {doc.doc_id: doc for doc in DOCS}
    vectors = encode_corpus(base, corpus, tmp_path_factory.mktemp("vectors"))
    return TrainingData({query.query_id: query.text for query in QUERIES}, corpus, Ids(list(corpus)), vectors)


@pytest.fixture
def encoder(tiny_encoder):
    """The tiny encoder, loaded."""
    from acclimate.search.encoder import Encoder

    return Encoder.load(str(tiny_encoder), max_tokens=64)


# Runs of the whole chain, with the tiny encoder and a fake LLM


@pytest.fixture
def elsewhere(monkeypatch):
    """Put models on a fake device (see `fake_device`) that is not CUDA, like Apple's."""
    fake_device = pytest.importorskip("fake_device", reason="torch is not installed")
    from acclimate.base import models

    monkeypatch.setattr(models, "device", lambda: fake_device.NAME)
    monkeypatch.setattr(models, "fast_bf16", lambda: False)
    with fake_device.Elsewhere():
        yield


@pytest.fixture
def as_cuda(elsewhere, monkeypatch):
    """The same fake device posing as CUDA; yields the tensors that were pinned."""
    import fake_device
    import torch

    from acclimate.base import models

    monkeypatch.setattr(models, "device", lambda: fake_device.AsCuda(fake_device.NAME))
    pinned, room = [], 1 << 33
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: (pinned.append(tensor), tensor)[1])
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (room, room))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(total_memory=room))
    fusing = importlib.import_module("torch.optim.optimizer")
    monkeypatch.setattr(fusing, "_get_fused_kernels_supported_devices", lambda: ["cuda", fake_device.NAME])
    for name in ("memory_reserved", "memory_allocated", "current_device"):
        monkeypatch.setattr(torch.cuda, name, lambda: 0)
    for name in ("set_device", "empty_cache"):
        monkeypatch.setattr(torch.cuda, name, lambda *_: None)
    return pinned


@pytest.fixture
def fake_llm() -> Iterator[None]:
    with fake_answers():
        yield


@pytest.fixture(scope="session")
def run_adapt(tiny_encoder) -> Callable[..., int]:
    """`acclimate adapt` with small settings. Returns its exit code."""
    from acclimate.cli.main import main

    def run(corpus: Path, out: Path, *options: str, changes: tuple[str, ...] = (), seed: int = 0) -> int:
        sets = [part for change in (*SMALL, *tiny_models(tiny_encoder), *changes) for part in ("--set", change)]
        return main(["adapt", str(corpus), "--out", str(out), "--seed", str(seed), *sets, *options])

    return run


@pytest.fixture(scope="session")
def corpus(tmp_path_factory) -> Path:
    docs = [DOCS[0]._replace(text=f"{DOCS[0].text} {HOSTILE}", title=f"Volcano {HOSTILE}"), *DOCS[1:]]
    return write_corpus(tmp_path_factory.mktemp("documents") / "nature.jsonl", docs)


@pytest.fixture(scope="session")
def finished(corpus, run_adapt, tmp_path_factory) -> Path:
    """A finished run without labels; tests read it, or use `copied`."""
    out = tmp_path_factory.mktemp("finished") / "run"
    with fake_answers():
        assert run_adapt(corpus, out) == 0
    return out


@pytest.fixture(scope="session")
def students(corpus, run_adapt, tmp_path_factory) -> Path:
    """Like `finished`, with the other kinds of students."""
    out = tmp_path_factory.mktemp("students") / "run"
    changes = ("distill.student=dense,sparse,static", "distill.epochs=1", "evaluate.max_queries=6", "evaluate.rerank=")
    with fake_answers():
        assert run_adapt(corpus, out, changes=changes) == 0
    return out


@pytest.fixture
def copied(finished, tmp_path) -> Path:
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture(scope="session")
def labelled(tiny_encoder, tmp_path_factory) -> Path:
    """A run with labelled test queries, up to its mined lists."""
    from acclimate.run.provided import Provided
    from acclimate.run.recipes import load_recipe
    from acclimate.run.run import Run
    from acclimate.run.settings import resolve
    from acclimate.run.workspace import Workspace
    from acclimate.stages.chain import STAGES, adapt

    folder = tmp_path_factory.mktemp("labelled")
    queries, qrels = write_labels(folder)
    changes = [*SMALL, *tiny_models(tiny_encoder), "distill.epochs=1", "evaluate.rerank_depth=3"]
    settings = resolve(STAGES, load_recipe("quick"), changes)
    with fake_answers():
        corpus = str(write_corpus(folder / "nature.jsonl"))
        adapt(Run(Workspace(folder / "run"), settings, 0, corpus, Provided(queries, qrels)), until="label")
    return folder / "run"
