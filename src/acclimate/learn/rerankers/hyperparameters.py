"""Hyperparameters of training one reranker: settings of the stage `train`, and what follows from them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from acclimate.base import distributed, models
from acclimate.base.errors import OutOfMemory
from acclimate.base.text import counted
from acclimate.learn.rerankers.losses import LOSSES
from acclimate.learn.rerankers.steps import queries_of_a_step
from acclimate.records import NWay


@dataclass(frozen=True)
class Hyperparameters:
    """The settings of one reranker's training; see the stage `train`."""

    base: str
    template: str
    loss: str
    epochs: int
    max_steps: int
    optimizer: str
    learning_rate: float
    schedule: str
    weight_decay: float
    batch_size: int
    gradient_accumulation: int
    mini_batch_size: int
    precision: str
    evaluations: int
    patience: int
    lora_rank: int
    max_tokens: int
    seed: int

    @property
    def is_bf16(self) -> bool:
        """True if training computes in bfloat16."""
        return self.precision == "bfloat16" or (self.precision == "auto" and models.fast_bf16())

    @property
    def queries_at_once(self) -> int:
        """Queries per optimizer step, over all processes."""
        return queries_of_a_step(batch_size=self.batch_size, gradient_accumulation=self.gradient_accumulation)

    def rows_at_once(self, examples: Sequence[NWay]) -> int:
        """Dataset rows of `batch_size` queries: what one process reads at once."""
        return self.batch_size * (width(examples) if LOSSES[self.loss].is_pointwise else 1)

    def rows_of_a_step(self, examples: Sequence[NWay]) -> int:
        """Dataset rows per optimizer step, over all processes."""
        return self.rows_at_once(examples) * self.gradient_accumulation * distributed.size()

    def rows(self, examples: Sequence[NWay]) -> int:
        """Number of dataset rows of these examples."""
        return sum(len(example.doc_ids) for example in examples) if LOSSES[self.loss].is_pointwise else len(examples)

    def steps(self, examples: Sequence[NWay]) -> int:
        """Number of optimizer steps."""
        if self.max_steps:
            return self.max_steps
        batches = -(-self.rows(examples) // (self.rows_at_once(examples) * distributed.size()))
        return -(-batches // self.gradient_accumulation) * self.epochs

    def in_smaller_batches(self) -> Hyperparameters:
        """The same steps with smaller batches, accumulated. Raises OutOfMemory if a batch cannot be smaller."""
        size = max((size for size in range(1, self.batch_size) if self.batch_size % size == 0), default=0)
        if not size or distributed.size() > 1:
            raise OutOfMemory(
                f"not enough memory to train {self.base} on {counted(self.batch_size, 'query')} and their documents "
                "together; lower train.batch_size, train.n_ways or train.max_tokens"
            )
        accumulation = self.gradient_accumulation * (self.batch_size // size)
        return dataclasses.replace(self, batch_size=size, gradient_accumulation=accumulation)


def width(examples: Sequence[NWay]) -> int:
    """Documents in the longest list."""
    return max(len(example.doc_ids) for example in examples)
