"""An easy task for a reranker: documents about rice are always relevant."""

from __future__ import annotations

import warnings

import pytest

pytest.importorskip("torch", reason="torch is not installed")


from acclimate.records import Doc, NWay, Query
from acclimate.stages.train import train

GOOD = {f"g{n}": Doc(f"g{n}", f"rice {word}") for n, word in enumerate("fish cheese wine garlic coffee sugar".split())}
BAD = {f"b{n}": Doc(f"b{n}", f"moon {word}") for n, word in enumerate("tide stars ocean coast rain snow".split())}
CORPUS = GOOD | BAD
TEXTS = {f"q{n:02}": "what about food" for n in range(30)}
EXAMPLES = [
    NWay(query_id, (f"g{n % 6}", f"b{n % 6}", f"b{(n + 1) % 6}", f"b{(n + 2) % 6}")) for n, query_id in enumerate(TEXTS)
]
TRAIN, DEV = EXAMPLES[:24], EXAMPLES[24:]
LEARN = {"learning_rate": 5e-3, "batch_size": 4, "epochs": 3, "max_tokens": 32}
QUERY = Query("q", "what about food")


def trained(base, folder, examples=TRAIN, dev=DEV, prompts=None, **changes):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return train(examples, dev, TEXTS, CORPUS, folder, prompts, base=str(base), **{**LEARN, **changes})


def stopping(after):
    def stop(done, total):
        if done >= after:
            raise KeyboardInterrupt

    return stop
