"""How long and from what a student learns: steps and looks, ways drawn anew, what shares a softmax, and raw scores."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from test_distill import DEV, LEARN, TRAIN, key, log_probs, training_of

from acclimate.base import models
from acclimate.base.digests import folder_fingerprint
from acclimate.base.errors import SettingError
from acclimate.base.testing import DOCS
from acclimate.learn.students import token_vectors, training
from acclimate.learn.students.batches import mean_loss, read_batch
from acclimate.learn.students.checks import check_negatives
from acclimate.learn.students.distillation import shortened, untaught
from acclimate.learn.students.kinds import STUDENTS
from acclimate.learn.students.losses import DistillationLoss
from acclimate.learn.students.similarities import Similarities, of_one_form
from acclimate.learn.students.training import StudentTraining
from acclimate.records import NWay
from acclimate.search.members import Ids
from acclimate.stages.distill import distill, estimate


def read(course):
    """Run it without learning: the ids of the queries of each step."""
    steps = []
    course._share = lambda step: (course._batch(step), 1.0)
    course._step = lambda batch, weight: steps.append([example.query_id for example in batch])
    course.dev_loss = lambda: 1.0
    course.run(lambda step: None)
    return steps


@pytest.mark.parametrize("batch_size", [1, 5, 32, 50])
@pytest.mark.parametrize("max_steps", [1, 7, 20])
def test_so_many_full_steps_and_every_list_once_before_any_twice(batch_size, max_steps, base, lesson, tmp_path):
    steps = read(training_of("dense-query", base, lesson, tmp_path / "a", batch_size=batch_size, max_steps=max_steps))
    assert [len(step) for step in steps] == [batch_size] * max_steps
    stream = [query_id for step in steps for query_id in step]
    for start in range(0, len(stream), len(TRAIN)):
        once = stream[start : start + len(TRAIN)]
        assert len(set(once)) == len(once)
    if len(stream) >= 2 * len(TRAIN):
        assert stream[: len(TRAIN)] != stream[len(TRAIN) : 2 * len(TRAIN)]


@pytest.mark.parametrize("settings", [{"max_steps": 13}, {"max_steps": 13, "evaluations": 2}, {"evaluations": 1}])
def test_interrupted_anywhere_it_ends_with_the_same_bytes(settings, base, lesson, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "_MOST_LOST", 2)
    settings = {**settings, "batch_size": 5, "schedule": "constant"}
    whole = training_of("dense-query", base, lesson, tmp_path / "a", **settings)
    history = whole.run(lambda step: None)
    for stop in (1, 9):

        def interrupt(step, stop=stop):
            if step >= stop:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            training_of("dense-query", base, lesson, tmp_path / "b", **settings).run(interrupt)
    steps = []
    resumed = training_of("dense-query", base, lesson, tmp_path / "b", **settings)
    assert resumed.run(steps.append) == history
    assert 5 < steps[0] <= 9
    for name, weight in whole.weights.state_dict().items():
        assert torch.equal(weight, resumed.weights.state_dict()[name]), name


@pytest.mark.parametrize(("evaluations", "looks"), [(0, 10), (1, 1), (3, 3)])
def test_it_is_looked_at_as_often_as_asked(evaluations, looks, base, lesson, tmp_path):
    course = training_of("dense-query", base, lesson, tmp_path / "a", max_steps=23, evaluations=evaluations)
    assert len(course.run(lambda step: None)) == 1 + looks


def test_looked_at_once_the_last_weights_stay(base, lesson, tmp_path):
    ruinous = {"learning_rate": 5.0, "schedule": "constant"}
    last = training_of("dense-query", base, lesson, tmp_path / "a", evaluations=1, **ruinous)
    before, after = last.run(lambda step: None)
    assert after > before
    assert last.dev_loss() == pytest.approx(after, abs=1e-4)


def test_a_constant_rate_is_the_same_at_every_step(base, lesson, tmp_path):
    rates = []
    course = training_of("dense-query", base, lesson, tmp_path / "a", schedule="constant")
    step = course._step
    course._step = lambda *read: (rates.append(course.optimizer.param_groups[0]["lr"]), step(*read))
    course.run(lambda step: None)
    assert set(rates) == {LEARN["learning_rate"]}


def test_ways_at_random_are_others_each_time_and_follow_from_ids_alone():
    example = NWay("q", tuple("sabcdefgh"), (0.1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2))
    drawn = [shortened(example, 2, "random", f"0:{times}") for times in range(60)]
    assert {len(part.doc_ids) for part in drawn} == {2}
    assert {part.doc_ids[0] for part in drawn} == {"s"}
    assert {part.doc_ids[1] for part in drawn} == set("abcdefgh")
    scores = dict(zip(example.doc_ids, example.scores, strict=True))
    assert all(part.scores == tuple(scores[doc_id] for doc_id in part.doc_ids) for part in drawn)
    turned = example._replace(doc_ids=("s", *example.doc_ids[:0:-1]), scores=(0.1, *example.scores[:0:-1]))
    assert [shortened(turned, 2, "random", f"0:{times}") for times in range(60)] == drawn


def test_lists_of_one_query_are_lists_of_their_own(base, lesson, tmp_path):
    windows = [
        example._replace(doc_ids=(example.doc_ids[0], *part), scores=(1.0, 0.5, 0.2))
        for example in TRAIN[:6]
        for part in (example.doc_ids[1:3], example.doc_ids[3:5])
    ]
    student = STUDENTS["dense-query"].make(base.copy(), lesson)
    settings = {"epochs": 1, "learning_rate": 1e-3, "batch_size": 5, "seed": 0, "schedule": "linear"}
    course = StudentTraining(student, windows, DEV, DistillationLoss(), tmp_path / "b", **settings)
    assert set(course.priors) == {key(example) for example in (*windows, *DEV)}
    notes = [
        distill(lists, DEV, base, lesson, tmp_path / name, student=("dense-query",), max_queries=4, **LEARN)
        for name, lists in (("c", windows), ("d", windows[::-1]))
    ]
    assert notes[0] == notes[1]
    assert (notes[0]["dense"]["queries"], notes[0]["dense"]["lists"]) == (4, 8)
    assert folder_fingerprint(tmp_path / "c") == folder_fingerprint(tmp_path / "d")


# What shares a softmax


def scores_of(student, batch):
    """(n_queries, n_docs) of examples that have equally many documents."""
    (similarities,) = student.similarities(student.read(batch))
    return similarities.scores[0]


@pytest.mark.parametrize("name", STUDENTS)
def test_a_list_by_itself_divides_all_of_the_probability_and_more_documents_take_some(name, base, lesson):
    kind = STUDENTS[name]
    students = (kind.make(base.copy(), lesson, negatives) for negatives in ("list", "batch", None))
    shares = [log_probs(student, TRAIN[:4], 3 * kind.temperature)[0].exp().sum().item() for student in students]
    assert shares[0] == pytest.approx(1, abs=1e-4)
    assert shares[1] < 0.9999
    assert name in ("late-interaction", "late-interaction-query") or shares[2] <= shares[1] + 1e-6
    others = [example.doc_ids for example in TRAIN[1:4]]
    assert any(doc_id not in TRAIN[0].doc_ids for doc_ids in others for doc_id in doc_ids)


@pytest.mark.parametrize("name", STUDENTS)
def test_what_a_student_says_of_its_list_is_the_same_whatever_shares_the_softmax(name, base, lesson):
    margins = []
    for negatives in ("list", "batch"):
        logs = log_probs(STUDENTS[name].make(base.copy(), lesson, negatives), TRAIN[:4])[2]
        margins.append((logs - logs[0]).tolist())
    assert margins[0] == pytest.approx(margins[1], abs=2e-2)


def test_corpus_is_for_students_whose_documents_are_at_hand(base, lesson, tmp_path):
    with pytest.raises(SettingError, match=r"that late-interaction compares are not all at hand; expected auto"):
        distill(TRAIN, DEV, base, lesson, tmp_path, student=("late-interaction",), negatives="corpus")


def test_the_sum_over_a_querys_tokens_is_their_mean_times_their_number(base, lesson):
    mean, total = (
        scores_of(STUDENTS["late-interaction"].make(base.copy(), lesson, "list", max_sim=how), TRAIN[:3])
        for how in ("mean", "sum")
    )
    for example, one, other in zip(TRAIN, mean, total, strict=False):
        tokens = base.encode([lesson.queries[example.query_id]])[0].tokens
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
def test_similarities_are_in_float32_where_encoders_are_not(name, base, lesson, monkeypatch):
    monkeypatch.setattr(models, "fast_bf16", lambda: True)
    monkeypatch.setattr(models, "device", lambda: "cpu")
    student = STUDENTS[name].make(base.copy(), lesson)
    with torch.autocast("cpu", torch.bfloat16):
        (similarities,) = student.similarities(student.read(TRAIN[:1]))
    assert similarities.scores.dtype == torch.float32
    assert not torch.equal(similarities.scores, similarities.scores.bfloat16().float())


@pytest.mark.parametrize("negatives", ["list", "batch", None])
@pytest.mark.parametrize("name", STUDENTS)
def test_lists_of_all_lengths_and_kinds_in_a_batch_are_judged_each_by_itself(name, negatives, base, lesson):
    """Those that are alike are judged together, whatever the order."""
    student = STUDENTS[name].make(base.copy(), lesson, negatives)
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
        for numbers, similarities in zip(of_one_form(batch), shared, strict=True):
            for place, example in enumerate(batch[number] for number in numbers):
                prior = torch.tensor([priors[key(example)]]) if priors else None
                itself = Similarities(similarities.scores[:, place, None], similarities.places[place, None])
                scores = torch.tensor([example.scores])
                one_by_one.append(loss(itself, scores, prior, has_positive=example.has_positive).item())
    assert len(one_by_one) == 5
    assert together == pytest.approx(np.mean(one_by_one), abs=1e-4)


@pytest.mark.parametrize("name", ["late-interaction-query", "dense-query"])
def test_a_gpu_with_room_for_the_index_says_what_one_without_says(name, base, lesson, monkeypatch):
    logs = []
    for room in (0, 1 << 40):
        monkeypatch.setattr(token_vectors, "free_bytes", lambda room=room: room)
        logs.append(torch.stack(log_probs(STUDENTS[name].make(base.copy(), lesson), TRAIN[:4])))
    assert torch.equal(*logs)


# Without a teacher


def test_a_copy_of_the_source_in_the_batch_is_no_negative(base, lesson):
    copies = {TRAIN[0].doc_ids[0], TRAIN[1].doc_ids[0]}
    others = [doc.doc_id for doc in DOCS if doc.doc_id not in copies]
    batch = untaught([TRAIN[n]._replace(doc_ids=(TRAIN[n].doc_ids[0], others[n])) for n in range(3)])
    pooled = np.full_like(lesson.vectors.pooled, lesson.vectors.pooled.shape[1] ** -0.5)  # all near each other
    asked = []

    def alike(doc_id, other_id):
        asked.append((doc_id, other_id))
        return {doc_id, other_id} == copies

    lesson = replace(lesson, alike=alike, vectors=replace(lesson.vectors, pooled=pooled))
    for name, negatives in (("dense", "batch"), ("dense-query", "corpus"), ("late-interaction", "batch")):
        student = STUDENTS[name].make(base.copy(), lesson, negatives)
        (similarities,) = student.similarities(student.read(batch))
        columns = [doc.doc_id for doc in DOCS] if negatives == "corpus" else [d for e in batch for d in e.doc_ids]
        columns = list(dict.fromkeys(columns))
        hidden = ({TRAIN[1].doc_ids[0]}, {TRAIN[0].doc_ids[0]}, set())
        for scores, wanted in zip(similarities.scores[0], hidden, strict=True):
            assert {columns[place] for place in torch.isinf(scores).nonzero().flatten().tolist()} == wanted
        assert torch.isfinite(similarities.log_probs(0.05)).all()
    assert asked


def test_passages_of_one_document_answer_alike(lesson):
    parents = {DOCS[0].doc_id: "whole", DOCS[1].doc_id: "whole"}
    of_passages = replace(lesson, ids=Ids(lesson.ids.doc_ids, parents))
    batch = [NWay("q00", (DOCS[0].doc_id,)), NWay("q02", (DOCS[2].doc_id,))]
    doc_ids = [doc.doc_id for doc in DOCS[:4]]
    assert of_passages.answers(batch, doc_ids).tolist() == [[True, True, False, False], [False, False, True, False]]


@pytest.mark.parametrize("name", ["dense", "dense-query", "late-interaction", "static"])
def test_a_student_learns_without_a_teacher(name, base, lesson, tmp_path):
    train, dev = untaught(TRAIN), untaught(TRAIN[::4])
    settings = {"student": (name,), "loss": "contrastive", "contrastive": 0.0}
    (note,) = distill(train, dev, base, lesson, tmp_path, **settings, **LEARN).values()
    assert min(note["dev_loss"][1:]) < note["dev_loss"][0]
    only = [NWay(example.query_id, example.doc_ids[:1]) for example in TRAIN]  # the batch has the negatives
    (note,) = distill(untaught(only), untaught(only[:8]), base, lesson, tmp_path / "only", **settings, **LEARN).values()
    assert min(note["dev_loss"][1:]) < note["dev_loss"][0]


@pytest.mark.parametrize("changes", [{"negatives": "list"}, {"batch_size": 1}])
def test_a_student_that_compares_nothing_is_refused(changes):
    settings = {"student": ("dense",), "negatives": "auto", "batch_size": 8, "loss": "contrastive"}
    check_negatives(1, **settings)
    check_negatives(2, **{**settings, **changes})
    check_negatives(1, **{**settings, **changes, "loss": "kl"})
    with pytest.raises(SettingError, match=r"mine\.n_ways is 1 and distill.*compared with no other"):
        check_negatives(1, **{**settings, **changes})


# Raw scores


RAW = [example._replace(scores=tuple(9 * score - 5 for score in example.scores)) for example in TRAIN]


def test_margins_of_raw_scores_are_learned_from_one_negative_at_a_time(base, lesson, tmp_path):
    settings = {"student": ("dense",), "loss": "margin-mse", "contrastive": 0.0, "teacher_temperature": 1.0}
    settings |= {"document_ways": 2, "ways_by": "random", "max_steps": 30, "learning_rate": 1e-3, "batch_size": 8}
    (note,) = distill(RAW, RAW[:8], base, lesson, tmp_path, (), True, **settings).values()
    assert note["steps"] == 30
    assert note["dev_loss"][-1] < note["dev_loss"][0]


def test_raw_scores_shifted_teach_the_same(base, lesson, tmp_path):
    shifted = [example._replace(scores=tuple(score - 3 for score in example.scores)) for example in RAW]
    settings = {"student": ("dense-query",), "teacher_temperature": 2.0, "contrastive": 0.2, **LEARN}
    notes = [
        distill(lists, lists[:8], base, lesson, tmp_path / str(number), (), True, **settings)
        for number, lists in enumerate((RAW, shifted))
    ]
    assert notes[0]["dense"]["dev_loss"] == pytest.approx(notes[1]["dense"]["dev_loss"], abs=1e-4)


def test_a_share_of_a_raw_score_is_refused(base, lesson, tmp_path):
    with pytest.raises(SettingError, match=r"mask_above is 0.6, a share of scores in \[0, 1\]"):
        distill(RAW, RAW[:8], base, lesson, tmp_path, (), True, mask_above=0.6)


# What a run would take


@pytest.mark.parametrize(
    ("changes", "n_read"),
    [
        ({"epochs": 3}, 3 * 100),
        ({"max_steps": 140_000, "batch_size": 32}, 140_000 * 32),
        ({"epochs": 2, "windows": 15, "n_ways": 91}, 2 * 6 * 100),
        ({"epochs": 2, "windows": 15, "n_ways": 91, "loss": "contrastive"}, 2 * 100),
    ],
)
def test_the_estimate_follows_steps_and_lists(changes, n_read):
    label = {"windows": 0, "n_ways": 100} | {key: changes[key] for key in ("windows", "n_ways") if key in changes}
    distill = {"student": ("dense",), "epochs": 1, "max_steps": 0, "batch_size": 8, "loss": "kl"} | changes
    run = SimpleNamespace(settings={"label": label, "distill": distill})
    once = SimpleNamespace(settings={"label": {"windows": 0}, "distill": {**distill, "epochs": 1, "max_steps": 0}})
    assert estimate(run, 100).flop == pytest.approx(n_read / 100 * estimate(once, 100).flop)
