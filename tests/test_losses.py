"""What students are taught: each loss is what its formula says, and vanishes where nothing is left to learn."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from acclimate.learn.students.losses import DistillationLoss
from acclimate.learn.students.similarities import Similarities

SCORES = (1.0, 0.5, 0.0)
UNIFORM = np.log([1 / 3] * 3).tolist()


def loss_of(logs, scores=SCORES, *, seen=None, has_positive=True, **settings):
    rest = max(1 - np.exp(logs).sum(), 0)  # of documents that share the softmax
    row = torch.tensor([*logs, np.log(rest) if rest > 1e-6 else -np.inf], dtype=torch.float32)
    similarities = Similarities(row[None, None], torch.arange(len(logs))[None])
    priors = None if seen is None else torch.tensor([seen])
    return DistillationLoss(**settings)(similarities, torch.tensor([scores]), priors, has_positive=has_positive).item()


def kl_of(logs, temperature, seen=None):
    return loss_of(logs, teacher_temperature=temperature, contrastive=0.0, seen=seen)


def test_the_loss_is_the_divergence_from_the_teacher_and_a_share_of_infonce():
    logs = np.log([0.5, 0.3, 0.2]).tolist()
    target = np.exp(np.array(SCORES) / 0.25) / np.exp(np.array(SCORES) / 0.25).sum()
    expected = 0.8 * float((target * (np.log(target) - logs)).sum()) - 0.2 * logs[0]
    assert loss_of(logs, teacher_temperature=0.25, contrastive=0.2) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("temperature", [0.1, 0.2])
@pytest.mark.parametrize("name", ["kl", "margin-mse"])
def test_a_student_that_says_what_the_teacher_says_has_no_loss(name, temperature):
    logs = torch.log_softmax(torch.tensor(SCORES) / temperature, dim=-1).tolist()
    settings = {"name": name, "teacher_temperature": temperature, "contrastive": 0.0}
    assert loss_of(logs, **settings) == pytest.approx(0, abs=1e-6)
    assert loss_of(UNIFORM, **settings) > 0.1


@pytest.mark.parametrize("contrastive", [0.0, 0.3, 1.0])
def test_without_a_source_document_only_the_teacher_is_followed(contrastive):
    logs = np.log([0.2, 0.5, 0.1]).tolist()
    settings = {"teacher_temperature": 0.2, "mask_above": 0.5, "seen": 0.9}
    alone = loss_of(logs, contrastive=0.0, **settings)
    assert loss_of(logs, contrastive=contrastive, has_positive=False, **settings) == pytest.approx(alone)
    if contrastive:
        assert loss_of(logs, contrastive=contrastive, **settings) != pytest.approx(alone)


@pytest.mark.parametrize("within_list", [False, True])
@pytest.mark.parametrize("name", ["kl", "margin-mse"])
def test_the_loss_of_a_list_does_not_depend_on_the_others_of_its_batch(name, within_list):
    rng = np.random.default_rng(0)
    priors, scores = torch.tensor(rng.random(6)) * 0.9, torch.tensor(rng.integers(0, 3, (6, 4)) / 2)
    cosines = torch.tensor(rng.normal(size=(2, 6, 9)))
    places = torch.tensor(np.array([rng.permutation(9)[:4] for _ in range(6)]))
    for mask_above, temperature, seen in product((0.5, 1.0), (0.0, 0.1), (None, priors)):
        settings = {"name": name, "within_list": within_list, "contrastive": 0.3, "mask_above": mask_above}
        loss = DistillationLoss(contrastive_temperature=temperature, **settings)
        alone = [
            loss(Similarities(cosines[:, row], places[row]), scores[row], None if seen is None else seen[row]).item()
            for row in ([number] for number in range(6))
        ]
        assert loss(Similarities(cosines, places), scores, seen).tolist() == pytest.approx(alone, rel=1e-4)


def test_what_a_corpus_wide_student_gives_to_other_documents_is_to_stay():
    seen = 0.7
    right = torch.log(torch.softmax(torch.tensor(SCORES) / 0.2, dim=-1) * seen).tolist()
    surer = [log + np.log(0.9 / 0.7) for log in right]
    assert kl_of(right, 0.2, seen) == pytest.approx(0, abs=1e-5)
    assert kl_of(surer, 0.2, seen) > 0.05


def test_a_higher_teacher_temperature_flattens_the_target():
    cold, warm, hot = (kl_of(UNIFORM, temperature) for temperature in (0.1, 0.2, 0.4))
    assert cold > warm > hot > 0


def test_margins_are_squared_and_averaged():
    logs = np.log([0.5, 0.3, 0.2])
    margins = logs[0] - logs[1:]
    wanted = np.array([0.5, 1.0]) / 0.5
    found = loss_of(logs.tolist(), name="margin-mse", teacher_temperature=0.5, contrastive=0.0)
    assert found == pytest.approx(float(((margins - wanted) ** 2).mean()), abs=1e-6)


def test_a_list_of_one_document_has_no_margins():
    assert loss_of([-1.0], (1.0,), name="margin-mse", contrastive=0.0) == 0


@pytest.mark.parametrize("name", ["kl", "margin-mse"])
@pytest.mark.parametrize("seen", [None, 0.7])
def test_within_a_list_the_teacher_s_part_knows_no_other_document_and_infonce_does(name, seen):
    """CADET: KL over what the teacher rated, InfoNCE over the documents of all lists."""
    shared, alone = np.log([0.2, 0.15, 0.05]), np.log([0.5, 0.375, 0.125])  # the same list, with and without others
    settings = {"name": name, "teacher_temperature": 0.3}
    taught, contrasted = (
        loss_of(shared.tolist(), contrastive=share, within_list=True, seen=seen, **settings) for share in (0.0, 1.0)
    )
    assert taught == pytest.approx(loss_of(alone.tolist(), contrastive=0.0, **settings), abs=1e-5)
    assert contrasted == pytest.approx(-shared[0], abs=1e-5)
    both = loss_of(shared.tolist(), contrastive=0.25, within_list=True, seen=seen, **settings)
    assert both == pytest.approx(0.75 * taught + 0.25 * contrasted, abs=1e-5)


def test_suspected_false_negatives_do_not_count_as_negatives():
    logs = np.log([0.5, 0.3, 0.2]).tolist()
    whole = loss_of(logs, (1.0, 0.9, 0.0), contrastive=1.0)
    masked = loss_of(logs, (1.0, 0.9, 0.0), contrastive=1.0, mask_above=0.8)
    assert whole == pytest.approx(-np.log(0.5), abs=1e-6)
    assert masked == pytest.approx(-np.log(0.5 / 0.7), abs=1e-6)
    assert loss_of(logs, (0.0, 0.9, 0.5), contrastive=1.0, mask_above=0.8) < masked  # both others are rated above it
    assert loss_of(logs, (1.0, 0.5, 0.0), contrastive=1.0, mask_above=0.5) == whole  # as much is not above


@pytest.mark.parametrize("lead", [0.0, 0.1, 0.2, 1.0])
def test_a_suspected_false_negative_is_not_pushed_away_however_far_ahead_it_is(lead):
    """At CADET's temperatures a lead of 0.14 leaves less than a millionth of the softmax to all others."""
    cosines = torch.tensor([[[0.5, 0.5 + lead, 0.49, 0.3]]], requires_grad=True)  # the last one is of another query
    similarities = Similarities(cosines, torch.tensor([[0, 1, 2]]))
    loss = DistillationLoss(contrastive=1.0, mask_above=0.6, student_temperature=0.05, contrastive_temperature=0.01)(
        similarities, torch.tensor([[1.0, 0.95, 0.1]])
    )
    loss.sum().backward()
    expected = np.exp(np.array([0.5, 0.49, 0.3]) / 0.01)
    expected = expected / expected.sum() - [1, 0, 0]
    assert loss.item() == pytest.approx(-np.log(1 + expected[0]), rel=1e-4)
    assert cosines.grad is not None
    assert cosines.grad.flatten()[[0, 2, 3]].tolist() == pytest.approx((expected / 0.01).tolist(), rel=1e-3, abs=1e-6)
    assert cosines.grad.flatten()[1] == 0


@pytest.mark.parametrize("scores", [(0.0, 0.0, 0.7, 0.0), (0.2, 0.2, 0.9, 0.5)])
def test_a_source_rated_worst_makes_no_positives_of_documents_rated_as_badly(scores):
    logs = np.log([0.1, 0.2, 0.3, 0.4]).tolist()
    assert loss_of(logs, scores, contrastive=1.0) == pytest.approx(-np.log(0.1), abs=1e-6)


def test_documents_with_the_good_score_of_the_source_are_positives():
    logs = np.log([0.1, 0.2, 0.3, 0.4]).tolist()
    expected = -(np.log(0.1) + np.log(0.3)) / 2
    assert loss_of(logs, (0.8, 0.1, 0.8, 0.0), contrastive=1.0) == pytest.approx(expected, abs=1e-6)
