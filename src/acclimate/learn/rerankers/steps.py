"""How many queries the training of a reranker reads, over all processes."""

from __future__ import annotations

from typing import Any

from acclimate.base import distributed


def queries_of_a_step(*, batch_size: int, gradient_accumulation: int, **_: Any) -> int:
    """Queries per optimizer step."""
    return batch_size * gradient_accumulation * distributed.size()


def most_queries(*, max_queries: int, max_steps: int, **settings: Any) -> int:
    """Maximum number of queries that one reranker is trained on: a few steps read fewer than `max_queries`."""
    return min(max_queries, max_steps * queries_of_a_step(**settings) or max_queries)
