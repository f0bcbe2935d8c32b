"""A cross-encoder reranker learns from n-way examples, listwise, through sentence-transformers' trainer.

The loss compares the documents of one query with each other, never pairs one by one: pointwise losses are behind on
every collection of the Rank-DistiLLM reproduction (arXiv 2603.03010). The weights kept are those with the lowest loss
on held-out queries. Checkpoints stay in the folder until training ends, so a killed run goes on from the last one.
"""

from __future__ import annotations

import json
import logging
import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from acclimate.errors import DataError, unknown
from acclimate.records import Doc, NWay

if TYPE_CHECKING:
    from datasets import Dataset

_NEVER = -1e4  # as a logit: no probability at all
_PAIRS_AT_ONCE = 32


def _losses() -> dict[str, tuple[Any, tuple[float, float]]]:
    """Name -> (sentence-transformers' loss, labels of positive and negatives)."""
    from sentence_transformers.cross_encoder import losses

    return {
        "listwise": (losses.ListNetLoss, (0.0, _NEVER)),  # with such labels: softmax cross-entropy of the positive
        "lambda": (losses.LambdaLoss, (1.0, 0.0)),
        "ranknet": (losses.RankNetLoss, (1.0, 0.0)),
    }


class Trained(NamedTuple):
    """Where the reranker is, and how its training went."""

    path: Path
    notes: dict[str, Any]


def train(
    examples: Sequence[NWay],
    dev: Sequence[NWay],
    texts: Mapping[str, str],
    corpus: Mapping[str, Doc],
    folder: Path,
    *,
    base: str = "embedded:all-minilm-l6-v2",
    loss: str = "listwise",
    max_queries: int = 400,
    epochs: int = 1,
    learning_rate: float = 2e-4,
    batch_size: int = 4,
    max_tokens: int = 160,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Trained:
    """Train a reranker into `folder/reranker`; plain `CrossEncoder(path)` loads it.

    `texts` holds the text of each query by id. Raises DataError without training or held-out examples: the choice
    between checkpoints needs both.

    Parameters
    ----------
    base
        Model to start from: a reranker, or any encoder.
    loss
        listwise (softmax over the documents of a query), lambda (LambdaLoss) or ranknet.
    max_queries
        Train on this many queries at most; the first ones by id.
    epochs
        Times that every query is seen.
    learning_rate
        Peak of AdamW's learning rate: a tenth of the steps up to it, then down to nothing.
    batch_size
        Queries per step.
    max_tokens
        Tokens of query and document together; the document is cut.
    """
    import torch
    from sentence_transformers.cross_encoder import CrossEncoderTrainer, CrossEncoderTrainingArguments
    from transformers import TrainerCallback

    from acclimate import distributed, models
    from acclimate.score import cross_encoder

    losses = _losses()
    if loss not in losses:
        raise unknown("loss", loss, losses)
    if not examples or not dev:
        raise DataError(f"{len(examples)} training and {len(dev)} held-out examples; expected both (more documents?)")
    make_loss, labels = losses[loss]
    examples = sorted(examples, key=lambda example: example.query_id)[:max_queries]
    torch.manual_seed(seed)  # an encoder without a head gets one of random weights
    model = cross_encoder.load(base, max_tokens=max_tokens)
    steps = -(-len(examples) // batch_size) * epochs
    every = max(1, steps // 4)

    class Report(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            progress(state.global_step * batch_size, steps * batch_size)

    checkpoints, done = folder / "checkpoints", folder / "checkpoints-done"
    shutil.rmtree(done, ignore_errors=True)
    arguments = CrossEncoderTrainingArguments(
        output_dir=str(checkpoints),
        num_train_epochs=epochs,
        per_device_train_batch_size=batch_size,
        per_device_eval_batch_size=batch_size,
        learning_rate=learning_rate,
        warmup_steps=max(1, steps // 10),
        weight_decay=0.01,
        bf16=models.fast_bf16(),
        use_cpu=models.device() == "cpu",
        seed=seed,
        data_seed=seed,
        eval_strategy="steps",
        eval_steps=every,
        save_strategy="steps",
        save_steps=every,
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
        logging_steps=every,
        ddp_find_unused_parameters=False,
        disable_tqdm=True,
        report_to="none",
    )
    trainer = CrossEncoderTrainer(
        model=model,
        args=arguments,
        train_dataset=_dataset(examples, texts, corpus, labels),
        eval_dataset=_dataset(sorted(dev, key=lambda example: example.query_id), texts, corpus, labels),
        # Of several processes each passes through the model once a step: gradients are exchanged at its end.
        loss=make_loss(model, mini_batch_size=_PAIRS_AT_ONCE if distributed.size() == 1 else -1),
        callbacks=[Report()],
    )
    from transformers.trainer_callback import PrinterCallback

    trainer.remove_callback(PrinterCallback)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.train(resume_from_checkpoint=distributed.main_first(lambda: _last_whole(checkpoints)))
    history = [
        {"step": entry["step"], "dev_loss": round(entry["eval_loss"], 5)}
        for entry in trainer.state.log_history
        if "eval_loss" in entry
    ]
    path = folder / "reranker"
    models.forget_last_call(model.tokenizer)
    if distributed.is_main():
        model.save_pretrained(str(path), create_model_card=False)
        checkpoints.rename(done)  # at once: of checkpoints removed by half, the best might be gone and another taken
        shutil.rmtree(done)
    notes = {
        "queries": len(examples),
        "documents_per_query": max(len(example.doc_ids) for example in examples),
        "steps": steps,
        "effective_batch": batch_size,
        "dev_loss": history,
    }
    logging.getLogger(__name__).info("reranker trained: %s", notes)
    return Trained(path, notes)


def _last_whole(checkpoints: Path) -> str | None:
    """The last checkpoint that was written to its end; a later one, cut short by a kill, is removed."""
    found = sorted(checkpoints.glob("checkpoint-*"), key=lambda path: -int(path.name.rpartition("-")[2]))
    for path in found:
        try:
            json.loads((path / "trainer_state.json").read_text(encoding="utf-8"))  # written last
            return str(path)
        except (OSError, ValueError):
            shutil.rmtree(path)
    return None


def _dataset(
    examples: Sequence[NWay], texts: Mapping[str, str], corpus: Mapping[str, Doc], labels: tuple[float, float]
) -> Dataset:
    """sentence-transformers' listwise columns: query, docs, labels. Order decides what a column is, not its name."""
    from datasets import Dataset

    positive, negative = labels
    return Dataset.from_dict(
        {
            "query": [texts[example.query_id] for example in examples],
            "docs": [[corpus[doc_id].default_text() for doc_id in example.doc_ids] for example in examples],
            "labels": [[positive] + [negative] * (len(example.doc_ids) - 1) for example in examples],
        }
    )
