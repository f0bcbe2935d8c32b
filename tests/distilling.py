"""Helpers for tests of students: built-in documents, scored lists, and a training of any student."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")


from acclimate.base.testing import DOCS, QUERIES
from acclimate.learn.students.batches import mean_loss, read_batch
from acclimate.learn.students.kinds import STUDENTS
from acclimate.learn.students.losses import DistillationLoss
from acclimate.learn.students.similarities import alone, shape_groups
from acclimate.learn.students.training import StudentTraining
from acclimate.records import NWay

CORPUS = {doc.doc_id: doc for doc in DOCS}
LEARN = {"epochs": 2, "learning_rate": 2e-3, "batch_size": 8}


def examples(numbers):
    """Lists with the relevant document first, with the best score, and seven others."""
    made = []
    for number in numbers:
        rng = random.Random(number)
        others = rng.sample([doc.doc_id for at, doc in enumerate(DOCS) if at != number], 7)
        scores = sorted((round(rng.random() / 2, 6) for _ in others), reverse=True)
        made.append(NWay(QUERIES[number].query_id, (DOCS[number].doc_id, *others), (1.0, *scores)))
    return made


TRAIN, DEV = examples(range(32)), examples(range(32, 40))


def training_of(name, base, data, path, **changes):
    kind = STUDENTS[name]
    loss = DistillationLoss("kl", 0.1, changes.pop("contrastive", 0.1), student_temperature=kind.temperature)
    student = kind.make(base.copy(), data)
    return StudentTraining(student, TRAIN, DEV, loss, path, **{**LEARN, "seed": 0, "schedule": "linear", **changes})


class Scores(torch.nn.Module):
    """A student without an encoder: a score for each query and document, which trains in no time."""

    kind, keeps_index, negatives = "dense", True, "list"

    def __init__(self):
        super().__init__()
        self.scores = torch.nn.Parameter(torch.zeros(len(QUERIES), len(DOCS)))
        self.encoder = SimpleNamespace(model=self)
        self.penalty = lambda: 0.0

    def read(self, batch):
        return batch

    def similarities(self, batch):
        row = {query.query_id: place for place, query in enumerate(QUERIES)}
        column = {doc.doc_id: place for place, doc in enumerate(DOCS)}
        return [
            alone(
                torch.stack(
                    [
                        self.scores[row[batch[n].query_id], [column[doc_id] for doc_id in batch[n].doc_ids]]
                        for n in group
                    ]
                )[None]
            )
            for group in shape_groups(batch)
        ]


def course_of_scores(path, train=TRAIN, dev=DEV, **changes):
    """A training of `Scores`."""
    settings = {**LEARN, "seed": 0, "schedule": "constant", **changes}
    return StudentTraining(Scores(), train, dev, DistillationLoss(), path, **settings)


def log_probs(student, batch, temperature=0.05):
    """Log-probabilities of each example's documents; all examples have the same number."""
    (similarities,) = student.similarities(student.read(batch))
    return list(similarities.log_probs(temperature))


def loss_of(learner, batch):
    return mean_loss(learner.student, learner.loss, read_batch(learner.student, batch, learner.priors)).item()


def key(example):
    return example.query_id, example.doc_ids
