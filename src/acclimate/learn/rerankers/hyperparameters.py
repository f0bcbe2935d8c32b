"""How one reranker is trained: the settings of the stage `train`, and what follows from them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from acclimate.base import distributed, models
from acclimate.base.errors import OutOfMemory
from acclimate.learn.rerankers.losses import LOSSES
from acclimate.records import NWay


@dataclass(frozen=True)
class Hyperparameters:
    """The settings of the stage `train` that one reranker's training follows; what they mean is said there."""

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
        """True where training computes in bfloat16."""
        return self.precision == "bfloat16" or (self.precision == "auto" and models.fast_bf16())

    @property
    def queries_at_once(self) -> int:
        """Queries per step, those of all processes."""
        return self.batch_size * self.gradient_accumulation * distributed.size()

    def rows_at_once(self, examples: Sequence[NWay]) -> int:
        """Rows of the data that `batch_size` queries are: what one process reads."""
        return self.batch_size * (width(examples) if LOSSES[self.loss].is_pointwise else 1)

    def rows_of_a_step(self, examples: Sequence[NWay]) -> int:
        """Rows of the data that a whole step is, over all processes."""
        return self.rows_at_once(examples) * self.gradient_accumulation * distributed.size()

    @property
    def most_queries(self) -> int | None:
        """Queries that all steps read, where that is not by epochs."""
        return self.max_steps * self.queries_at_once or None

    def rows(self, examples: Sequence[NWay]) -> int:
        """Rows of the data that these examples are."""
        return sum(len(example.doc_ids) for example in examples) if LOSSES[self.loss].is_pointwise else len(examples)

    def steps(self, examples: Sequence[NWay]) -> int:
        """Steps of the optimizer."""
        if self.max_steps:
            return self.max_steps
        batches = -(-self.rows(examples) // (self.rows_at_once(examples) * distributed.size()))
        return -(-batches // self.gradient_accumulation) * self.epochs

    def in_smaller_batches(self) -> Hyperparameters:
        """These with the same steps, each of smaller batches, added up. Raises OutOfMemory where none is smaller."""
        size = max((size for size in range(1, self.batch_size) if self.batch_size % size == 0), default=0)
        if not size or distributed.size() > 1:
            raise OutOfMemory(
                f"not enough memory to train {self.base} on {self.batch_size} queries and their documents together; "
                "lower train.batch_size, train.n_ways or train.max_tokens"
            )
        accumulation = self.gradient_accumulation * (self.batch_size // size)
        return dataclasses.replace(self, batch_size=size, gradient_accumulation=accumulation)


def width(examples: Sequence[NWay]) -> int:
    """Documents of the longest list."""
    return max(len(example.doc_ids) for example in examples)
