"""What a student compares a document with: its list, its batch or the corpus, with a teacher or without."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from test_distill import DEV, LEARN, TRAIN, key, log_probs

from acclimate.base import models
from acclimate.base.errors import SettingError
from acclimate.base.testing import DOCS
from acclimate.learn.students import token_vectors
from acclimate.learn.students.batches import mean_loss, read_batch
from acclimate.learn.students.checks import check_encoder, check_negatives, check_scale
from acclimate.learn.students.distillation import without_teacher_scores
from acclimate.learn.students.kinds import STUDENTS
from acclimate.learn.students.losses import DistillationLoss
from acclimate.learn.students.similarities import Similarities, shape_groups
from acclimate.records import NWay
from acclimate.search.members import Ids
from acclimate.stages.distill import distill

# What shares a softmax


def scores_of(student, batch):
    """(n_queries, n_docs) of examples that have equally many documents."""
    (similarities,) = student.similarities(student.read(batch))
    return similarities.scores[0]


@pytest.mark.parametrize("name", STUDENTS)
def test_a_list_by_itself_divides_all_of_the_probability_and_more_documents_take_some(name, base, data):
    kind = STUDENTS[name]
    students = (kind.make(base.copy(), data, negatives) for negatives in ("list", "batch", None))
    shares = [log_probs(student, TRAIN[:4], 3 * kind.temperature)[0].exp().sum().item() for student in students]
    assert shares[0] == pytest.approx(1, abs=1e-4)
    assert shares[1] < 0.9999
    assert name in ("late-interaction", "late-interaction-query") or shares[2] <= shares[1] + 1e-6
    assert kind.negatives != "corpus" or shares[2] < shares[1] - 1e-3
    others = [example.doc_ids for example in TRAIN[1:4]]
    assert any(doc_id not in TRAIN[0].doc_ids for doc_ids in others for doc_id in doc_ids)


@pytest.mark.parametrize("name", STUDENTS)
def test_what_a_student_says_of_its_list_is_the_same_whatever_shares_the_softmax(name, base, data):
    margins = []
    for negatives in ("list", "batch"):
        logs = log_probs(STUDENTS[name].make(base.copy(), data, negatives), TRAIN[:4])[2]
        margins.append((logs - logs[0]).tolist())
    assert margins[0] == pytest.approx(margins[1], abs=2e-2)


def test_corpus_is_for_students_whose_documents_are_at_hand(base, data, tmp_path):
    with pytest.raises(SettingError, match=r"vectors are available to late-interaction; expected auto"):
        distill([(TRAIN, DEV)], base, data, tmp_path, student=("late-interaction",), negatives="corpus")


def test_the_teacher_s_part_compares_the_list_where_that_is_set(base, data, tmp_path):
    """Without InfoNCE, that is what `negatives=list` compares."""

    def of(negatives, teacher_negatives):
        folder = tmp_path / f"{negatives}-{teacher_negatives}"
        settings = {"negatives": negatives, "teacher_negatives": teacher_negatives, "epochs": 0, "contrastive": 0.0}
        return distill([(TRAIN, DEV)], base, data, folder, student=("dense",), **settings)["dense"]["dev_loss"]

    assert of("batch", "list") == pytest.approx(of("list", "same"), abs=1e-4)
    assert of("batch", "same")[0] > of("batch", "list")[0] + 0.1


def test_the_sum_over_a_querys_tokens_is_their_mean_times_their_number(base, data):
    mean, total = (
        scores_of(STUDENTS["late-interaction"].make(base.copy(), data, "list", max_sim=how), TRAIN[:3])
        for how in ("mean", "sum")
    )
    for example, one, other in zip(TRAIN, mean, total, strict=False):
        tokens = base.encode([data.queries[example.query_id]])[0].tokens
        assert other.tolist() == pytest.approx((len(tokens) * one).tolist(), abs=1e-3)


def test_infonce_has_a_temperature_of_its_own():
    row = torch.tensor([0.9, 0.4, 0.2, 0.7])
    settings = {"teacher_temperature": 0.3, "contrastive": 0.1, "student_temperature": 0.05}
    loss = DistillationLoss(**settings, contrastive_temperature=0.01)
    scores = torch.tensor([1.0, 0.3, 0.1])
    similarities = Similarities(row[None, None], torch.arange(3)[None])
    target = torch.softmax(scores / 0.3, dim=-1)
    divergence = (target * (target.log() - torch.log_softmax(row / 0.05, dim=-1)[:3])).sum()
    expected = 0.9 * divergence - 0.1 * torch.log_softmax(row / 0.01, dim=-1)[0]
    assert loss(similarities, scores[None]).item() == pytest.approx(expected.item(), abs=1e-4)


@pytest.mark.parametrize("name", ["dense", "late-interaction"])
def test_similarities_are_in_float32_where_encoders_are_not(name, base, data, monkeypatch):
    monkeypatch.setattr(models, "fast_bf16", lambda: True)
    monkeypatch.setattr(models, "device", lambda: "cpu")
    student = STUDENTS[name].make(base.copy(), data)
    with torch.autocast("cpu", torch.bfloat16):
        (similarities,) = student.similarities(student.read(TRAIN[:1]))
    assert similarities.scores.dtype == torch.float32
    assert not torch.equal(similarities.scores, similarities.scores.bfloat16().float())


@pytest.mark.parametrize("negatives", ["list", "batch"])
@pytest.mark.parametrize("name", ["dense", "late-interaction"])
def test_documents_of_several_lists_are_encoded_once_in_a_step(name, negatives, base, data, monkeypatch):
    """And together: those of each list by themselves would all be kept for the backward pass, whatever their number."""
    batch = [example._replace(doc_ids=(example.doc_ids[0], *TRAIN[0].doc_ids[1:])) for example in TRAIN[:5]]
    student = STUDENTS[name].make(base.copy(), data, negatives)
    calls, forward = [], student.encoder.forward

    def counted(features):
        calls.append(len(features["input_ids"]))
        return forward(features)

    monkeypatch.setattr(student.encoder, "forward", counted)
    student.similarities(student.read(batch))
    assert calls == [5, len({doc_id for example in batch for doc_id in example.doc_ids})]


@pytest.mark.parametrize("negatives", ["list", "batch", None])
@pytest.mark.parametrize("name", STUDENTS)
def test_lists_of_all_lengths_and_kinds_in_a_batch_are_judged_each_by_itself(name, negatives, base, data):
    """Those that are alike are judged together, whatever the order."""
    student = STUDENTS[name].make(base.copy(), data, negatives)
    batch = [
        example._replace(doc_ids=example.doc_ids[:size], scores=example.scores[:size], has_positive=is_known)
        for example, size, is_known in zip(TRAIN, (8, 3, 8, 1, 3), (True, True, False, True, False), strict=False)
    ]
    priors = {key(example): 0.5 for example in batch} if negatives is None else {}
    loss = DistillationLoss(mask_above=0.4)
    with torch.no_grad():
        shared = student.similarities(student.read(batch))
        together = mean_loss(student, loss, read_batch(student, batch, priors)).item()
        one_by_one: list[float] = []
        for numbers, similarities in zip(shape_groups(batch), shared, strict=True):
            for place, example in enumerate(batch[number] for number in numbers):
                prior = torch.tensor([priors[key(example)]]) if priors else None
                itself = Similarities(similarities.scores[:, place, None], similarities.places[place, None])
                scores = torch.tensor([example.scores])
                one_by_one.append(loss(itself, scores, prior, has_positive=example.has_positive).item())
    assert len(one_by_one) == 5
    assert together == pytest.approx(np.mean(one_by_one), abs=1e-4)


@pytest.mark.parametrize("name", ["late-interaction-query", "dense-query"])
def test_a_gpu_with_room_for_the_index_says_what_one_without_says(name, base, data, monkeypatch):
    logs = []
    for room in (0, 1 << 40):
        monkeypatch.setattr(token_vectors, "free_bytes", lambda room=room: room)
        logs.append(torch.stack(log_probs(STUDENTS[name].make(base.copy(), data), TRAIN[:4])))
    assert torch.equal(*logs)


# Without a teacher


def test_a_copy_of_the_source_in_the_batch_is_no_negative(base, data):
    copies = {TRAIN[0].doc_ids[0], TRAIN[1].doc_ids[0]}
    others = [doc.doc_id for doc in DOCS if doc.doc_id not in copies]
    batch = without_teacher_scores([TRAIN[n]._replace(doc_ids=(TRAIN[n].doc_ids[0], others[n])) for n in range(3)])
    pooled = np.full_like(data.vectors.pooled, data.vectors.pooled.shape[1] ** -0.5)  # all near each other
    asked = []

    def alike(doc_id, other_id):
        asked.append((doc_id, other_id))
        return {doc_id, other_id} == copies

    data = replace(data, alike=alike, vectors=replace(data.vectors, pooled=pooled))
    for name, negatives in (("dense", "batch"), ("dense-query", "corpus"), ("late-interaction", "batch")):
        student = STUDENTS[name].make(base.copy(), data, negatives)
        (similarities,) = student.similarities(student.read(batch))
        columns = [doc.doc_id for doc in DOCS] if negatives == "corpus" else [d for e in batch for d in e.doc_ids]
        columns = list(dict.fromkeys(columns))
        hidden = ({TRAIN[1].doc_ids[0]}, {TRAIN[0].doc_ids[0]}, set())
        for scores, wanted in zip(similarities.scores[0], hidden, strict=True):
            assert {columns[place] for place in torch.isinf(scores).nonzero().flatten().tolist()} == wanted
        assert torch.isfinite(similarities.log_probs(0.05)).all()
    assert asked


def test_passages_of_one_document_answer_alike(data):
    parents = {DOCS[0].doc_id: "whole", DOCS[1].doc_id: "whole"}
    of_passages = replace(data, ids=Ids(data.ids.doc_ids, parents))
    batch = [NWay("q00", (DOCS[0].doc_id,)), NWay("q02", (DOCS[2].doc_id,))]
    doc_ids = [doc.doc_id for doc in DOCS[:4]]
    assert of_passages.answers(batch, doc_ids).tolist() == [[True, True, False, False], [False, False, True, False]]


def test_duplicates_are_found_in_whatever_documents_are_compared(data):
    pooled = np.eye(len(DOCS), dtype=np.float32)
    pooled[5] = pooled[1]
    copies = replace(data, alike=lambda *_: True, vectors=replace(data.vectors, pooled=pooled))
    batch = [NWay("q01", (DOCS[1].doc_id,)), NWay("q07", (DOCS[7].doc_id,))]
    some, every = ([doc.doc_id for doc in docs] for docs in ((DOCS[7], DOCS[1], DOCS[2], DOCS[5]), DOCS))
    assert copies.answers(batch, some).tolist() == [[False, True, False, True], [True, False, False, False]]
    for docs in (every, every[::-1]):  # a large batch may have the whole of a small corpus, in an order of its own
        found = [{docs[place] for place in np.flatnonzero(row)} for row in copies.answers(batch, docs)]
        assert found == [{DOCS[1].doc_id, DOCS[5].doc_id}, {DOCS[7].doc_id}]


@pytest.mark.parametrize("name", ["dense", "dense-query", "late-interaction", "static"])
def test_a_student_learns_without_a_teacher(name, base, data, tmp_path):
    train, dev = without_teacher_scores(TRAIN), without_teacher_scores(TRAIN[::4])
    settings = {"student": (name,), "loss": "contrastive", "contrastive": 0.0}
    (note,) = distill([(train, dev)], base, data, tmp_path, **settings, **LEARN).values()
    assert min(note["dev_loss"][1:]) < note["dev_loss"][0]
    only = [NWay(example.query_id, example.doc_ids[:1]) for example in TRAIN]  # the batch has the negatives
    train = without_teacher_scores(only)
    (note,) = distill([(train, train[:8])], base, data, tmp_path / "only", **settings, **LEARN).values()
    assert min(note["dev_loss"][1:]) < note["dev_loss"][0]


@pytest.mark.parametrize("name", STUDENTS)
def test_the_whole_corpus_is_compared_by_students_that_have_all_of_its_vectors_alone(name):
    settings = {"student": ("static", name), "negatives": "corpus", "batch_size": 8, "loss": "kl"}
    if STUDENTS[name].negatives == "corpus":  # what auto is
        check_negatives(8, **settings)
    else:
        with pytest.raises(SettingError, match=f"not all document vectors are available to {name};"):
            check_negatives(8, **settings)


@pytest.mark.parametrize("name", STUDENTS)
@pytest.mark.parametrize(("is_late_interaction", "dim"), [(False, 8), (False, 12), (True, 8)])
def test_a_student_that_cannot_begin_from_a_base_is_refused(name, is_late_interaction, dim):
    encoder: Any = SimpleNamespace(is_late_interaction=is_late_interaction, dim=dim, token_dim=8)
    has_no_text_vectors = is_late_interaction and not name.startswith("late-interaction")
    if has_no_text_vectors or (name == "static" and dim != encoder.token_dim):
        with pytest.raises(SettingError, match=f"base of a {name} student|vectors of 12 components of tokens with 8"):
            check_encoder([name], "base", encoder)
    else:
        check_encoder([name], "base", encoder)


@pytest.mark.parametrize(
    "changes",
    [{"negatives": "list"}, {"batch_size": 1}, {"batch_size": 1, "negatives": "batch", "student": ("static",)}],
)
def test_a_student_that_compares_nothing_is_refused(changes):
    settings = {"student": ("dense",), "negatives": "auto", "batch_size": 8, "loss": "contrastive"}
    check_negatives(1, **settings)
    check_negatives(2, **{**settings, **changes})
    check_negatives(1, **{**settings, **changes, "loss": "kl"})
    with pytest.raises(SettingError, match=r"mine\.n_ways is 1 and distill.*compared with no other"):
        check_negatives(1, **{**settings, **changes})
    if "negatives" not in changes:
        check_negatives(1, **{**settings, **changes, "student": ("dense-query",)})  # compared with the whole corpus


@pytest.mark.parametrize(("is_raw", "contrastive", "mask_above"), [*product((False, True), (0.0, 0.3), (0.6, 1.0))])
def test_a_share_of_scores_is_taken_of_scores_from_0_to_1_alone(is_raw, contrastive, mask_above):
    settings = {"is_raw": is_raw, "contrastive": contrastive, "mask_above": mask_above}
    if is_raw and contrastive and mask_above < 1:
        with pytest.raises(SettingError, match=r"distill\.mask_above is 0\.6, a share of scores"):
            check_scale(**settings)
    else:
        check_scale(**settings)
