"""Several processes of one run: the first does everything, all help, and what comes out is what one makes alone."""

from __future__ import annotations

import json
import shutil
import socket
import sqlite3
import warnings
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import processes
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytestmark = pytest.mark.slow

from distilling import CORPUS, DEV, LEARN, TRAIN
from safetensors.torch import load_file
from tiny import write_cross_encoder, write_llama

from acclimate.base import distributed
from acclimate.base.digests import folder_fingerprint
from acclimate.base.errors import AcclimateError
from acclimate.base.testing import QUERIES
from acclimate.learn.students.training_data import TrainingData
from acclimate.llm.backends.local import LocalLLM
from acclimate.llm.completions import Completions
from acclimate.llm.decoding import Decoding
from acclimate.llm.protocol import BatchSize
from acclimate.run.output import Account
from acclimate.run.workspace import Workspace
from acclimate.search import scorers, vectors
from acclimate.search.encoder import Encoder
from acclimate.search.members import Ids
from acclimate.search.scorers import pairs
from acclimate.search.scorers.bert_pairs import BertReader
from acclimate.search.students import Students
from acclimate.search.vectors import Vectors, encode_corpus
from acclimate.stages.distill import distill
from acclimate.stages.train import train


def learn_twice(base: str, out: Path, said: Path) -> None:
    """Make two stages, and the same again. Writes what it did to the file `said`."""
    warnings.simplefilter("ignore")
    calls = []

    def index(folder, progress):
        calls.append("index")
        encode_corpus(Encoder.load(base, max_tokens=64), CORPUS, folder / "vectors")
        return Account(1, 1)

    def learn(folder, progress):
        calls.append("learn")
        encoder = Encoder.load(base, max_tokens=64)
        texts = {query.query_id: query.text for query in QUERIES}
        data = TrainingData(texts, CORPUS, Ids(list(CORPUS)), Vectors.open(out / "index/vectors"))
        notes = distill([(TRAIN, DEV)], encoder, data, folder, student=("dense-query",), **LEARN)
        plain = [example._replace(scores=()) for example in TRAIN]
        fewer_than_a_batch = DEV[:3]
        train(plain, fewer_than_a_batch, texts, CORPUS, folder, base=base, max_tokens=60, learning_rate=1e-3)
        return Account(1, 1, notes=notes)

    workspace = Workspace(out)
    with workspace.lock():
        settings = {"settings": {}, "inputs": {}, "seed": 0}
        for _ in range(2):
            workspace.make("index", index, **settings)
            learned = workspace.make("learn", learn, together=True, **settings)
    said.write_text(json.dumps({"calls": calls, "resumed": learned.resumed, "notes": learned.notes}))
    distributed.leave()


def start(count: int, model: Path | str, out: Path, work=learn_twice) -> list:
    """Work in so many processes; what each of them said, by rank."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(count)}
    said, logs = ([out.with_name(f"{out.name}-{rank}.{kind}") for rank in range(count)] for kind in ("json", "log"))
    running = [
        processes.start(
            work,
            *(str(model), out, said[rank]),
            log=logs[rank],
            environment={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(count)
    ]
    for process, log in zip(running, logs, strict=True):
        assert processes.end(process) == 0, log.read_text()
    return [json.loads(path.read_text()) for path in said]


def test_two_processes_learn_what_one_learns(tiny_encoder, tmp_path):
    (alone,) = start(1, tiny_encoder, tmp_path / "alone")
    first, second = start(2, tiny_encoder, tmp_path / "two")
    assert alone["calls"] == first["calls"] == ["index", "learn"]
    assert second["calls"] == ["learn"]  # the first one's work is waited for, not done again
    assert first["resumed"] is second["resumed"] is True
    assert first["notes"] == second["notes"]
    losses = [said["notes"]["dense"]["dev_loss"] for said in (alone, first)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-3)
    assert losses[0][0] != losses[0][1]
    files = {path.relative_to(tmp_path / "alone") for path in (tmp_path / "alone").rglob("*.safetensors")}
    assert len(files) == 3  # the reranker, and both routes of the student
    for name in files:
        one, two = load_file(tmp_path / "alone" / name), load_file(tmp_path / "two" / name)
        assert one.keys() == two.keys()
        if "reranker" not in str(name):  # its batches are drawn for two
            assert all(torch.allclose(one[key], two[key], atol=1e-3) for key in one), name


ASKED = [f"Document: {number} words of text\nQuery:" for number in range(10, 30)]


def write_twice(model: str, out: Path, said: Path) -> None:
    """Make a stage whose prompts an LLM answers, and the same again. Writes what it did to the file `said`."""
    warnings.simplefilter("ignore")
    calls = []

    def generate(folder, progress):
        calls.append("generate")
        with Completions(out / "completions.sqlite", "generate") as cache:
            done = []
            for decoding in (Decoding(6), Decoding(5, temperature=1.0)):
                answers = cache.complete(
                    LocalLLM(model, decoding), ASKED, on_batch=lambda *counts: done.append(counts[:2])
                )
                (folder / f"{decoding.max_new_tokens}.txt").write_text(repr(answers))
            ledger = {stage: list(usage) for (stage, _), usage in cache.ledger().items()}
        return Account(1, 1, notes={"done": done, "ledger": ledger})

    workspace = Workspace(out)
    asked = LocalLLM.complete

    def complete(llm, prompts):
        calls.append(len(prompts))
        return asked(llm, prompts)

    LocalLLM.complete = complete
    LocalLLM.batch_size = BatchSize(4, 8192)
    with workspace.lock():
        for _ in range(2):
            written = workspace.make("generate", generate, settings={}, inputs={}, seed=0)
    said.write_text(json.dumps({"calls": calls, "notes": written.notes}))
    distributed.leave()


def rows(path: Path) -> list[tuple]:
    with sqlite3.connect(path) as database:
        return sorted(database.execute("SELECT key, payload FROM completions").fetchall())


def test_two_processes_write_what_one_writes(tmp_path):
    model = write_llama(tmp_path / "llama")
    (alone,) = start(1, model, tmp_path / "alone", write_twice)
    first, second = start(2, model, tmp_path / "two", write_twice)
    assert alone["calls"] == ["generate", *[4] * 5, *[4] * 5]
    assert first["calls"] == ["generate", *[4] * 3, *[4] * 3]
    assert second["calls"] == [4] * 4  # of each decoding's five batches
    assert alone["notes"] == first["notes"] == second["notes"]
    for name in ("generate/6.txt", "generate/5.txt"):
        assert (tmp_path / "alone" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert rows(tmp_path / "alone/completions.sqlite") == rows(tmp_path / "two/completions.sqlite")


def ask_what_has_no_room(model: str, out: Path, said: Path) -> None:
    """Ask prompts of which the last, another process' share, has no room in the model."""
    warnings.simplefilter("ignore")
    LocalLLM.batch_size = BatchSize(1, 8192)

    def generate(folder, progress):
        with Completions(out / "completions.sqlite", "generate") as cache:
            cache.complete(LocalLLM(model, Decoding(6)), ["short", "long " * 600])
        return Account(1, 1)

    try:
        with Workspace(out).lock():
            Workspace(out).make("generate", generate, settings={}, inputs={}, seed=0)
    except AcclimateError as error:
        said.write_text(json.dumps(str(error)))


def test_what_goes_wrong_in_another_process_ends_all_with_a_line(tmp_path):
    model = write_llama(tmp_path / "llama")
    first, second = start(2, model, tmp_path / "two", ask_what_has_no_room)
    assert first.startswith("process 1 of this run: ")
    assert "tokens" in first
    assert second.startswith("another process of this run has ended; completed work is kept")


def rate_pairs(model: str, out: Path, said: Path) -> None:
    """Make a stage in which a cross-encoder rates pairs; what it said of them goes to the file `said`."""
    warnings.simplefilter("ignore")
    pairs._PAIRS_TOKENIZED_AT_ONCE = 4
    read: list[int] = []
    logits = BertReader.logits

    def counted(reader, rows):
        read.append(len(rows["input_ids"]))
        return logits(reader, rows)

    BertReader.logits = counted

    def label(folder, progress):
        scorer = scorers.load(model, CORPUS, max_tokens=64)
        asked = [(query, doc_id) for query in QUERIES[:3] for doc_id in [*CORPUS][:6]]
        return Account(1, 1, notes={"scores": scorer.score(asked), "one": scorer.score(asked[:1])})

    with Workspace(out).lock():
        rated = Workspace(out).make("label", label, settings={}, inputs={}, seed=0)
    said.write_text(json.dumps({"read": sum(read), "notes": rated.notes}))
    distributed.leave()


def test_two_processes_rate_what_one_rates(tiny_encoder, tmp_path):
    model = write_cross_encoder(tmp_path / "model", tiny_encoder)
    (alone,) = start(1, model, tmp_path / "alone", rate_pairs)
    first, second = start(2, model, tmp_path / "two", rate_pairs)
    assert (alone["read"], first["read"], second["read"]) == (19, 4 + 4 + 2 + 1, 8)  # five parts, and a pair by itself
    assert alone["notes"] == first["notes"] == second["notes"]
    assert len(set(alone["notes"]["scores"])) > 9


def encode(base: str, out: Path, said: Path) -> None:
    """Make two stages in which a corpus is encoded, some documents at once: by the base, and by a student."""
    warnings.simplefilter("ignore")
    vectors.tokens_at_once = lambda: 60
    read: list[int] = []
    read_batch = Encoder.read_batch

    def counted(encoder, texts, *rest):
        if any(len(text.ids) > 2 for text in texts):  # on loading, a text without words is encoded
            read.append(len(texts))
        return read_batch(encoder, texts, *rest)

    Encoder.read_batch = counted

    def index(folder, progress):
        maker = partial(Encoder.load, base, max_tokens=64)
        encode_corpus(maker(), CORPUS, folder / "vectors", maker=maker)
        return Account(1, 1)

    def learn(folder, progress):
        if distributed.is_main():
            shutil.copytree(base, folder / "dense")
            students = Students(
                folder, {"dense": {"keeps_index": False}}, lambda: SimpleNamespace(approximate=None), CORPUS, 64, 0
            )
            with distributed.helped():
                students.index()
        return Account(1, 1)

    with Workspace(out).lock():
        Workspace(out).make("index", index, settings={}, inputs={}, seed=0)
        Workspace(out).make("distill", learn, settings={}, inputs={}, seed=0, together=True)
    said.write_text(json.dumps(read))
    distributed.leave()


def test_two_processes_encode_what_one_encodes(tiny_encoder, tmp_path):
    (alone,) = start(1, tiny_encoder, tmp_path / "alone", encode)
    first, second = start(2, tiny_encoder, tmp_path / "two", encode)
    assert sum(alone) == 2 * len(CORPUS)
    batches = [alone[: len(alone) // 2]] * 2  # which are the same for both
    assert [*batches[0], *batches[1]] == alone
    assert [size for stage in batches for size in stage[::2]] == first
    assert [size for stage in batches for size in stage[1::2]] == second
    assert len(second) > 10
    for folder in ("index/vectors", "distill/dense-vectors"):
        assert len({folder_fingerprint(tmp_path / name / folder) for name in ("alone", "two")}) == 1
