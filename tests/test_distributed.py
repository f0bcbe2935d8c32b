"""Several processes of one run: the first does everything, all train, and what comes out is what one makes alone."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytestmark = pytest.mark.slow

from safetensors.torch import load_file  # noqa: E402 (after the check for torch)

PROGRAM = """
import json, sys, warnings
from pathlib import Path
warnings.simplefilter("ignore")
from acclimate.base import distributed
from acclimate.search.encoder import Encoder
from acclimate.search.members import Ids
from acclimate.search.vectors import encode_corpus
from acclimate.stages.distill import distill
from acclimate.stages.train import train
from acclimate.learn.students.kinds import Lesson
from acclimate.base.testing import QUERIES
from acclimate.run.output import Account
from acclimate.run.workspace import Workspace
from test_distill import CORPUS, DEV, LEARN, TRAIN

base, out = sys.argv[1], Path(sys.argv[2])
calls = []

def index(folder, progress):
    calls.append("index")
    encode_corpus(Encoder.load(base, max_tokens=64), CORPUS, folder / "vectors", key="k")
    return Account(1, 1)

def learn(folder, progress):
    calls.append("learn")
    encoder = Encoder.load(base, max_tokens=64)
    from acclimate.search.vectors import Vectors
    texts = {query.query_id: query.text for query in QUERIES}
    lesson = Lesson(texts, CORPUS, Ids(list(CORPUS)), Vectors.open(out / "index/vectors"))
    notes = distill(TRAIN, DEV, encoder, lesson, folder, student=("dense-query",), **LEARN)
    plain = [example._replace(scores=()) for example in TRAIN]
    train(plain, DEV[:3], texts, CORPUS,  # fewer than a batch
          folder, base=base, max_tokens=60, learning_rate=1e-3)
    return Account(1, 1, notes=notes)

workspace = Workspace(out)
with workspace.lock():
    settings = {"settings": {}, "inputs": {}, "seed": 0}
    for turn in range(2):
        workspace.make("index", index, **settings)
        made = workspace.make("learn", learn, together=True, **settings)
print(json.dumps({"rank": distributed.rank(), "calls": calls, "resumed": made.resumed, "notes": made.notes}))
distributed.leave()
"""


def start(processes, base, out):
    """Run the program in so many processes; what each of them says, by rank."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    here = Path(__file__).parent
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(processes), "OMP_NUM_THREADS": "1"}
    path = os.pathsep.join([str(here), str(here.parent / "src"), os.environ.get("PYTHONPATH", "")])
    running = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(base), str(out)],
            env={**os.environ, **shared, "PYTHONPATH": path, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(processes)
    ]
    said = []
    for one in running:
        output, errors = one.communicate(timeout=600)
        assert one.returncode == 0, errors
        said.append(json.loads(output.splitlines()[-1]))
    return said


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
