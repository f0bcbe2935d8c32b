"""Train one reranker of any kind with sentence-transformers' cross-encoder trainer.

The checkpoint with the lowest held-out loss is kept, never the initial weights: rerankers are often best in the middle
of training. With a single evaluation, the last weights are kept. Checkpoints stay until training ends, so an
interrupted run resumes from the last.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import CrossEncoder
from sentence_transformers.base.modules import Transformer
from sentence_transformers.base.sampler import BatchSamplers
from sentence_transformers.cross_encoder import CrossEncoderTrainer, CrossEncoderTrainingArguments
from torch.optim.lr_scheduler import LambdaLR
from transformers import EarlyStoppingCallback, TrainerCallback
from transformers.trainer_callback import PrinterCallback

from acclimate.base import distributed, models
from acclimate.base.errors import is_out_of_memory
from acclimate.base.files import atomic_folder
from acclimate.base.gpu import free_memory
from acclimate.base.loading import loading, quiet
from acclimate.base.modules import forget_last_call
from acclimate.learn.data_parallel import data_parallel
from acclimate.learn.rerankers.checkpoints import CHECKPOINTS, begin
from acclimate.learn.rerankers.divergence import StopDivergence
from acclimate.learn.rerankers.groups import Group
from acclimate.learn.rerankers.hyperparameters import Hyperparameters, width
from acclimate.learn.rerankers.inference import equal_scores, fast_scoring
from acclimate.learn.rerankers.losses import LOSSES
from acclimate.learn.rerankers.order import cycled, sequential_batches
from acclimate.learn.rerankers.ranking import Ranking, by_list, has_collapsed, rank_held_out, ranking_of
from acclimate.learn.rerankers.texts import Texts
from acclimate.learn.schedules import rates
from acclimate.records import NWay
from acclimate.search import scorers
from acclimate.search.scorers import cross_encoder
from acclimate.search.scorers.pairs import Lengths
from acclimate.search.scorers.prompted import Prompted

_SAVES = 4  # checkpoints, if there is only one evaluation
_CONNECTION = "gloo|NCCL"  # libraries that connect processes, named in their errors
_OPTIMIZERS = {"adamw": "adamw_torch_fused", "adafactor": "adafactor"}  # the trainer's names


def load(settings: Hyperparameters) -> CrossEncoder:
    """The base as a trainable model."""
    kind = scorers.kind_of(settings.base)
    if kind == "cross-encoder":
        return cross_encoder.load(settings.base, max_tokens=settings.max_tokens, is_new=True)
    make = scorers.language_model(kind).of
    with loading(settings.base):
        reader = make(settings.base, Lengths(settings.max_tokens), template=settings.template, is_new=True)
        if kind == "decoder" and settings.lora_rank:
            reader.add_adapter(settings.lora_rank)
        return CrossEncoder(modules=[reader], activation_fn=torch.nn.Identity(), device=models.device())


def train_reranker(
    group: Group,
    texts: Texts,
    folder: Path,
    settings: Hyperparameters,
    *,
    key: str,
    progress: Callable[[int, int], None] = lambda done, total: None,
    held_out: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Train the reranker of a group into a folder of its name; returns notes for report.json.

    key: digest of all that training depends on; checkpoints with another key are ignored. `progress` counts
    training queries, `held_out` those that are ranked.
    """
    checkpoints = folder / CHECKPOINTS
    rankings: dict[int, Ranking] = {}
    while True:
        torch.manual_seed(settings.seed)  # a new head gets random weights
        model = load(settings)
        before = rank_held_out(model, settings.max_tokens, group.dev, texts, held_out)
        checkpoint = distributed.main_first(lambda: begin(checkpoints, key))
        trainer = _trainer(model, group, texts, checkpoints, settings, rankings, progress=progress, held_out=held_out)
        if _trained(trainer, checkpoint):
            break
        del model, trainer
        free_memory()
        settings = settings.in_smaller_batches()
    course = _course(trainer, group.examples, settings)
    losses = _logged(trainer, "eval_loss", "dev_loss")
    kept = trainer.state.best_global_step if settings.evaluations > 1 else trainer.state.global_step
    with quiet():
        after = rankings.get(kept or 0) or rank_held_out(model, settings.max_tokens, group.dev, texts, held_out)
        chance = None
        if LOSSES[settings.loss].of_scores:
            with equal_scores(model):
                chance = round(trainer.evaluate()["eval_loss"], 5)
    if distributed.is_main():
        with quiet(), atomic_folder(folder / group.name) as saved:
            _save(model, saved)
    best = min((entry["dev_loss"] for entry in losses if entry["dev_loss"] is not None), default=math.inf)
    notes = {
        "name": group.name,
        "kind": scorers.kind_of(settings.base),
        **course,
        "dev_queries": len(group.dev),
        "dev_loss": losses,
        "chance_loss": chance,
        "dev_ndcg_before": round(before.ndcg, 5),
        "dev_ndcg": round(after.ndcg, 5),
        "spread": round(after.spread, 5),
        "collapsed": has_collapsed(after.spread, best, chance),
    }
    logging.getLogger(__name__).debug("reranker trained: %s", notes)
    return notes


def _trained(trainer: CrossEncoderTrainer, checkpoint: str | None) -> bool:
    """Train; False if memory ran out."""
    module: Any = trainer.model[0]  # type: ignore[index]
    on_cores = data_parallel(module.model) if type(module) is Transformer else nullcontext()
    try:
        with quiet(), on_cores, distributed.peer_errors(_CONNECTION):
            trainer.train(resume_from_checkpoint=checkpoint)
        return True
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return False


def _save(model: CrossEncoder, path: Path) -> None:
    if isinstance(module := model[0], Prompted):
        module.save(str(path))
    else:
        forget_last_call(model.tokenizer)
        model.save_pretrained(str(path), create_model_card=False)


def _trainer(
    model: CrossEncoder,
    group: Group,
    texts: Texts,
    checkpoints: Path,
    settings: Hyperparameters,
    rankings: dict[int, Ranking],
    *,
    progress: Callable[[int, int], None],
    held_out: Callable[[int, int], None],
) -> CrossEncoderTrainer:
    """The trainer. rankings: filled with held-out rankings by step."""
    loss, examples, dev = LOSSES[settings.loss], group.examples, group.dev
    steps = settings.steps(examples)
    queries = settings.queries_at_once
    # Each process would read its share only.
    dev_pairs = texts.pairs(dev) if distributed.size() == 1 else []
    training_rows, dev_rows = (loss.dataset(side, texts) for side in (examples, dev))
    if settings.max_steps:
        training_rows = cycled(training_rows, steps * settings.rows_of_a_step(examples), settings.seed)

    class ShowProgress(TrainerCallback):
        n_evaluated = 0  # batches

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            progress(state.global_step * queries, steps * queries)

        def on_evaluate(self, *_: Any, **__: Any) -> None:
            self.n_evaluated = 0

        def on_prediction_step(
            self, args: Any, state: Any, control: Any, eval_dataloader: Any = None, **_: Any
        ) -> None:
            self.n_evaluated += 1
            if not trainer.is_read_at_once:
                held_out(len(dev) * self.n_evaluated // len(eval_dataloader), len(dev))

    arguments = _arguments(examples, len(dev_rows), checkpoints, settings)
    stop_divergence = StopDivergence(steps, int(arguments.save_steps), settings.learning_rate)

    class Trainer(CrossEncoderTrainer):
        is_read_at_once = False  # whether the held-out pairs have scores before a batch of them is evaluated

        def add_model_card_callback(self, default_args_dict: Any) -> None:
            """Skip the model card, whose text statistics are slow."""

        def get_optimizer_cls_and_kwargs(self, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
            optimizer, values = super().get_optimizer_cls_and_kwargs(*args, **kwargs)
            if "scale_parameter" in values:  # for Adafactor, as in T5's training: larger weights take larger steps
                values["scale_parameter"] = True
            return optimizer, values

        def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> LambdaLR:
            self.lr_scheduler = LambdaLR(optimizer or self.optimizer, rates(settings.schedule, num_training_steps))
            return self.lr_scheduler

        def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
            with fast_scoring(model, settings.max_tokens, dev_pairs) as scores:
                self.is_read_at_once = scores is not None
                if scores:
                    rankings[self.state.global_step] = ranking_of(by_list(dev, scores))
                return super().evaluate(*args, **kwargs)

        def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
            step_loss = super().training_step(*args, **kwargs)
            stop_divergence.note(self.state.global_step, step_loss)
            return step_loss

    patient = [EarlyStoppingCallback(settings.patience)] if settings.patience and settings.evaluations > 1 else []
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=training_rows,
        eval_dataset=dev_rows,
        # With several processes, each must call the model once per step, as gradients are exchanged at its end.
        loss=loss.make(model, examples, settings.mini_batch_size if distributed.size() == 1 else -1),
        callbacks=[ShowProgress(), stop_divergence, *patient],
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _arguments(
    examples: Sequence[NWay], n_dev_rows: int, checkpoints: Path, settings: Hyperparameters
) -> CrossEncoderTrainingArguments:
    """The trainer's arguments. n_dev_rows: held-out rows of the loss."""
    steps, chooses = settings.steps(examples), settings.evaluations > 1
    every = math.ceil(steps / settings.evaluations)  # and at the end
    saved_every = every if chooses else max(1, steps // _SAVES)
    arguments = CrossEncoderTrainingArguments(
        output_dir=str(checkpoints),
        num_train_epochs=1 if settings.max_steps else settings.epochs,
        batch_sampler=sequential_batches if settings.max_steps else BatchSamplers.BATCH_SAMPLER,
        per_device_train_batch_size=settings.rows_at_once(examples),
        # The trainer drops what does not fill a batch of every process.
        per_device_eval_batch_size=max(1, min(settings.rows_at_once(examples), n_dev_rows // distributed.size())),
        gradient_accumulation_steps=settings.gradient_accumulation,
        optim=_OPTIMIZERS[settings.optimizer],
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        bf16=settings.is_bf16,
        logging_nan_inf_filter=False,  # checked here instead; the trainer would wait for a GPU at each step
        use_cpu=models.device() == "cpu",
        seed=settings.seed,
        data_seed=settings.seed,
        eval_strategy="steps",
        eval_steps=every,
        save_strategy="steps",
        save_steps=saved_every,
        save_total_limit=2,
        load_best_model_at_end=chooses,
        metric_for_best_model="eval_loss",
        restore_callback_states_from_checkpoint=settings.patience > 0,
        logging_steps=saved_every,  # a logged loss is a mean since the last one, which a resumed run would not know
        ddp_find_unused_parameters=False,
        disable_tqdm=True,
        report_to="none",
    )
    arguments._n_gpu = min(arguments.n_gpu, 1)  # one GPU per process
    return arguments


def _course(trainer: CrossEncoderTrainer, examples: Sequence[NWay], settings: Hyperparameters) -> dict[str, Any]:
    """What the training read, in which steps, and its loss."""
    steps, passes = trainer.state.global_step, trainer.state.epoch or 0.0
    if settings.max_steps:
        passes = steps * settings.rows_of_a_step(examples) / settings.rows(examples)
    schedule: Any = trainer.lr_scheduler
    return {
        "queries": len(examples),
        "documents_per_query": width(examples),
        "steps": steps,
        "epochs": round(passes, 3),
        "rows_seen": round(sum(len(example.doc_ids) for example in examples) * passes),
        "effective_batch": settings.queries_at_once,
        "last_learning_rate": settings.learning_rate * schedule.lr_lambdas[0](schedule.last_epoch - 1),
        "loss": _logged(trainer, "loss", "loss"),
    }


def _logged(trainer: CrossEncoderTrainer, key: str, name: str) -> list[dict[str, Any]]:
    """(step, value) logged under that key; None for values that are not finite."""
    return [
        {"step": entry["step"], name: round(entry[key], 5) if math.isfinite(entry[key]) else None}
        for entry in trainer.state.log_history
        if key in entry
    ]
