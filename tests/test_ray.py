"""Workers of a Ray cluster do what a process would do alone, and what comes out is the same, whoever is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import warnings
from functools import partial
from pathlib import Path

import processes
import pytest

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("ray", reason="Ray is not installed: pip install 'acclimate[ray]'")
pytestmark = pytest.mark.slow

from test_distill import CORPUS
from test_distributed import ASKED, rows
from tiny import write_cross_encoder, write_llama

from acclimate.base import ray_cluster
from acclimate.base.digests import folder_fingerprint
from acclimate.base.testing import QUERIES
from acclimate.llm.backends.local import LocalLLM
from acclimate.llm.completions import Completions
from acclimate.llm.decoding import Decoding
from acclimate.llm.protocol import BatchSize
from acclimate.search import scorers, vectors
from acclimate.search.encoder import Encoder
from acclimate.search.scorers.lists import score_calls


@pytest.fixture(scope="module")
def cluster():
    """The address of a cluster of two machines with a CPU each."""
    script = Path(__file__).with_name("ray_machines.py")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}  # workers find this file, too
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([sys.executable, script], env=environment, text=True, **pipes) as machines:
        assert machines.stdin is not None
        assert machines.stdout is not None
        yield machines.stdout.readline().strip()
        machines.stdin.close()


def mortal(make, mark: Path):
    """The LLM that `make` makes, in a process that is killed at its second batch, unless the mark is there."""
    llm, asked = make(), []
    decoding_as = llm.decoding_as

    def ask(decoding):
        asked.append(decoding)
        if len(asked) == 2 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return decoding_as(decoding)

    llm.decoding_as = ask
    return llm


def work_in_stages(encoder: str, llm: str, reranker: str, out: Path, executor: str | None) -> None:
    """Encode a corpus, have prompts answered, while a worker is killed, and have pairs rated."""
    warnings.simplefilter("ignore")
    vectors.tokens_at_once = lambda: 60
    LocalLLM.batch_size = BatchSize(4, 8192)
    make_llm = LocalLLM.maker.fget
    LocalLLM.maker = property(lambda llm: partial(mortal, make_llm(llm), out / "killed"))
    with ray_cluster.workers(executor):
        load = partial(Encoder.load, encoder, max_tokens=64)
        vectors.encode_corpus(load(), CORPUS, out / "vectors", maker=load)
        with Completions(out / "completions.sqlite", "generate") as cache:
            answers = cache.complete(LocalLLM(llm, Decoding(6)), ASKED)
        scorer = scorers.load(reranker, CORPUS, max_tokens=64)
        scores = list(score_calls(scorer, ([(query, doc_id) for doc_id in [*CORPUS][:6]] for query in QUERIES)))
    (out / "said.json").write_text(json.dumps([answers, scores]))


def test_workers_make_the_bytes_of_one_process_though_one_is_killed(cluster, tiny_encoder, tmp_path):
    llm, reranker = write_llama(tmp_path / "llm"), write_cross_encoder(tmp_path / "reranker", tiny_encoder)
    for name, executor in (("alone", None), ("ray", "ray")):
        (out := tmp_path / name).mkdir()
        log = tmp_path / f"{name}.log"
        process = processes.start(
            work_in_stages, str(tiny_encoder), str(llm), str(reranker), out, executor,
            log=log, environment={"RAY_ADDRESS": cluster},
        )  # fmt: skip
        assert processes.end(process) == 0, log.read_text()
        assert Path(f"{log}.out").read_text() == ""  # whatever Ray says of the worker
        assert "Traceback" not in log.read_text()
    assert (tmp_path / "ray" / "killed").exists()
    assert not (tmp_path / "alone" / "killed").exists()
    assert len({folder_fingerprint(tmp_path / name / "vectors") for name in ("alone", "ray")}) == 1
    assert len({(tmp_path / name / "said.json").read_bytes() for name in ("alone", "ray")}) == 1
    assert rows(tmp_path / "alone/completions.sqlite") == rows(tmp_path / "ray/completions.sqlite")
