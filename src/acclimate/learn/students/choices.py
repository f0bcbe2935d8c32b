"""Values of settings of `distill` that code depends on."""

from __future__ import annotations

AUTO = "auto"
LIST, BATCH, CORPUS = "list", "batch", "corpus"  # negatives: which documents share a query's softmax
CONTRASTIVE = "contrastive"  # the loss without a teacher
BEST, RANDOM = "best", "random"  # ways_by
