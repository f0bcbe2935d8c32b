"""Workers of a Ray cluster do what a process would do alone, and what comes out is the same, whoever is lost."""

from __future__ import annotations

import json
import os
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

from chain import SMALL, contents, write_corpus
from distilling import CORPUS
from mortal import MortalFinding, mortal
from test_distributed import ASKED, rows
from tiny import write_cross_encoder, write_llama

from acclimate.api.adapt import run_until
from acclimate.base import ray_cluster
from acclimate.base.digests import folder_fingerprint
from acclimate.base.testing import DOCS, QUERIES
from acclimate.llm.backends.local import LocalLLM
from acclimate.llm.completions import Completions
from acclimate.llm.decoding import Decoding
from acclimate.llm.protocol import BatchSize
from acclimate.run import retrievers
from acclimate.run.provided import Provided
from acclimate.run.recipes import load_recipe
from acclimate.run.settings import resolve
from acclimate.search import cached_candidates, scorers, vectors
from acclimate.search.encoder import Encoder
from acclimate.search.scorers.lists import score_calls
from acclimate.stages import chain
from acclimate.stages.runs import new_run


@pytest.fixture(scope="module")
def cluster():
    """A cluster of two machines with a CPU each; returns its address once it has started, which takes seconds."""
    script = Path(__file__).with_name("ray_machines.py")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}  # workers find this file, too
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([sys.executable, script], env=environment, text=True, **pipes) as machines:
        assert machines.stdin is not None
        assert machines.stdout is not None
        yield lambda: machines.stdout.readline().strip()
        machines.stdin.close()


def mine(encoder: str, out: Path) -> None:
    """A run up to mining, over documents and queries that lie beside its folder."""
    changes = [*SMALL, "index.passage_words=20", "filter.filters=", f"distill.base={encoder}"]
    settings = resolve(chain.STAGES, load_recipe("quick"), changes)
    given = Provided.of(from_queries=out.parent / "queries.jsonl")
    run = new_run(out / "run", str(out.parent / "docs.jsonl"), settings, recipe="quick", seed=0, provided=given)
    run_until(run, until="mine", progress=None)


def work_in_stages(encoder: str, llm: str, reranker: str, out: Path, executor: str | None) -> None:
    """Encode a corpus, have prompts answered and negatives mined, while a worker is killed, and have pairs rated."""
    warnings.simplefilter("ignore")
    vectors.tokens_at_once = lambda: 60
    LocalLLM.batch_size = BatchSize(4, 8192)
    make_llm = LocalLLM.maker.fget
    LocalLLM.maker = property(lambda llm: partial(mortal, make_llm(llm), out / "killed"))
    if executor:
        retrievers.Finding = partial(MortalFinding, mark=out / "killed-mining")  # type: ignore[misc]
    cached_candidates._AT_ONCE = 3  # type: ignore[misc]
    with ray_cluster.workers(executor):
        mine(encoder, out)
        load = partial(Encoder.load, encoder, max_tokens=64)
        vectors.encode_corpus(load(), CORPUS, out / "vectors", maker=load)
        with Completions(out / "completions.sqlite", "generate") as cache:
            answers = cache.complete(LocalLLM(llm, Decoding(6)), ASKED)
        scorer = scorers.load(reranker, CORPUS, max_tokens=64)
        scores = list(score_calls(scorer, ([(query, doc_id) for doc_id in [*CORPUS][:6]] for query in QUERIES)))
    (out / "said.json").write_text(json.dumps([answers, scores]))


def test_workers_make_the_bytes_of_one_process_though_one_is_killed(cluster, tiny_encoder, tmp_path):
    write_corpus(tmp_path / "docs.jsonl")
    rows_of_docs = [{"query_id": f"q{doc.doc_id}", "query": doc.text[10:50], "doc_id": doc.doc_id} for doc in DOCS]
    (tmp_path / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows_of_docs))
    llm, reranker = write_llama(tmp_path / "llm"), write_cross_encoder(tmp_path / "reranker", tiny_encoder)
    for name, executor in (("alone", None), ("ray", "ray")):
        (out := tmp_path / name).mkdir()
        log = tmp_path / f"{name}.log"
        process = processes.start(
            work_in_stages, str(tiny_encoder), str(llm), str(reranker), out, executor,
            log=log, environment={"RAY_ADDRESS": cluster() if executor else ""},
        )  # fmt: skip
        assert processes.end(process) == 0, log.read_text()
        assert Path(f"{log}.out").read_text() == ""  # whatever Ray says of the worker
        assert "Traceback" not in log.read_text()
    alone, ray = (contents(tmp_path / name / "run") for name in ("alone", "ray"))
    assert [name for name in {*alone, *ray} if alone.get(name) != ray.get(name)] == []
    assert len(alone["mine/examples.jsonl"].splitlines()) > 20
    for mark in ("killed", "killed-mining"):
        assert (tmp_path / "ray" / mark).exists()
        assert not (tmp_path / "alone" / mark).exists()
    assert len({folder_fingerprint(tmp_path / name / "vectors") for name in ("alone", "ray")}) == 1
    assert len({(tmp_path / name / "said.json").read_bytes() for name in ("alone", "ray")}) == 1
    assert rows(tmp_path / "alone/completions.sqlite") == rows(tmp_path / "ray/completions.sqlite")
