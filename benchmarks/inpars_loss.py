"""The training loss of monoT5, by the InPars toolkit's own functions and by ours."""

from __future__ import annotations

import csv
import importlib
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from sentence_transformers import CrossEncoder
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from acclimate.learn.rerankers.losses import TokenLoss
from acclimate.search.scorers.monot5 import MonoT5
from acclimate.search.scorers.pairs import Lengths

LONGEST_PAIR = 300  # tokens of a pair in training


def loss_of_a_batch(toolkit: Path, name: str, triples: Path) -> str:
    """The loss of a T5 on the same pairs, with a batch made by the toolkit's functions and by our loss `token`.

    Computed here, as the toolkit's trainer needs transformers before version 5.
    """
    sys.path.insert(0, str(toolkit))
    theirs: Any = importlib.import_module("inpars.train")
    theirs.tokenizer = AutoTokenizer.from_pretrained(name)
    theirs.args = SimpleNamespace(max_doc_length=LONGEST_PAIR)
    theirs.prompt_template, (theirs.token_false, theirs.token_true) = theirs.monot5_prompt, theirs.monot5_outputs
    with triples.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file, delimiter="\t"))
    batch = [row for row in rows if all(_is_whole(theirs, row[0], text) for text in row[1:])][:8]
    columns = dict(zip(("query", "positive", "negative"), map(list, zip(*batch, strict=True)), strict=True))
    tokens = theirs.tokenize(theirs.split_triples(columns))
    model = AutoModelForSeq2SeqLM.from_pretrained(name).eval()
    with torch.no_grad():
        read = {name: torch.tensor(values) for name, values in tokens.items() if name != "token_type_ids"}
        answer = model(**read)
    by_token = torch.nn.functional.cross_entropy(answer.logits.mT, read["labels"], reduction="none").mean(0).tolist()

    reader = CrossEncoder(modules=[MonoT5.of(name, Lengths(LONGEST_PAIR)).eval()], device="cpu")
    pairs = [(query, text) for query, *texts in batch for text in texts]
    with torch.no_grad():
        labels = torch.tensor([1.0, 0.0] * len(batch))
        ours = TokenLoss(reader)([list(side) for side in zip(*pairs, strict=True)], labels).item()
    return (
        f"on {len(pairs)} pairs the toolkit's loss is {answer.loss:.5f}, the mean of {by_token[0]:.5f} for true or "
        f"false and {by_token[1]:.5f} for the end of the answer; our loss `token` is {ours:.5f}"
    )


def _is_whole(theirs: Any, query: str, text: str) -> bool:
    """True if neither side truncates the pair."""
    return len(theirs.tokenizer(theirs.monot5_prompt.format(query=query, text=text))["input_ids"]) <= LONGEST_PAIR
