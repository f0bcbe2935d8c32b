"""How long and from what a student learns: steps and looks, ways drawn anew, and raw scores."""

from __future__ import annotations

from itertools import chain
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from distilling import DEV, LEARN, TRAIN, course_of_scores, key, training_of

from acclimate.base.digests import folder_fingerprint
from acclimate.base.errors import SettingError
from acclimate.learn.students import training
from acclimate.learn.students.kinds import STUDENTS
from acclimate.learn.students.losses import DistillationLoss
from acclimate.learn.students.train_student import shortened
from acclimate.learn.students.training import StudentTraining
from acclimate.records import NWay
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
def test_so_many_full_steps_and_every_list_once_before_any_twice(batch_size, max_steps, base, data, tmp_path):
    steps = read(training_of("dense-query", base, data, tmp_path / "a", batch_size=batch_size, max_steps=max_steps))
    assert [len(step) for step in steps] == [batch_size] * max_steps
    stream = [query_id for step in steps for query_id in step]
    for start in range(0, len(stream), len(TRAIN)):
        once = stream[start : start + len(TRAIN)]
        assert len(set(once)) == len(once)
    if len(stream) >= 2 * len(TRAIN):
        assert stream[: len(TRAIN)] != stream[len(TRAIN) : 2 * len(TRAIN)]


@pytest.mark.parametrize("settings", [{"max_steps": 13}, {"max_steps": 13, "evaluations": 2}, {"evaluations": 1}])
def test_interrupted_anywhere_it_ends_with_the_same_bytes(settings, base, data, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "_MOST_LOST", 2)
    settings = {**settings, "batch_size": 5, "schedule": "constant"}
    whole = training_of("dense-query", base, data, tmp_path / "a", **settings)
    history = whole.run(lambda step: None)
    for stop in (1, 9):

        def interrupt(step, stop=stop):
            if step >= stop:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            training_of("dense-query", base, data, tmp_path / "b", **settings).run(interrupt)
    steps = []
    resumed = training_of("dense-query", base, data, tmp_path / "b", **settings)
    assert resumed.run(steps.append) == history
    assert 5 < steps[0] <= 9
    for name, weight in whole.weights.state_dict().items():
        assert torch.equal(weight, resumed.weights.state_dict()[name]), name


@pytest.mark.parametrize(("evaluations", "looks"), [(0, 10), (1, 1), (3, 3)])
def test_it_is_looked_at_as_often_as_asked(evaluations, looks, base, data, tmp_path):
    course = training_of("dense-query", base, data, tmp_path / "a", max_steps=23, evaluations=evaluations)
    assert len(course.run(lambda step: None)) == 1 + looks


def test_looked_at_once_the_last_weights_stay(base, data, tmp_path):
    ruinous = {"learning_rate": 5.0, "schedule": "constant"}
    last = training_of("dense-query", base, data, tmp_path / "a", evaluations=1, **ruinous)
    before, after = last.run(lambda step: None)
    assert after > before
    assert last.dev_loss() == pytest.approx(after, abs=1e-4)


@pytest.mark.parametrize("losses", [(3, 1, 2), (1, 2, 3), (3, 2, 1), (2, 1, 1), (2, 2, 1), (1, 1, 1)])
def test_the_weights_of_the_first_of_the_lowest_losses_stay(losses, tmp_path):
    course = course_of_scores(tmp_path / "a")
    seen = []

    def look():
        seen.append(course.weights.scores.detach().clone())
        return float(losses[len(seen) - 1])

    course.dev_loss = look
    assert course.run(lambda step: None) == list(losses)
    assert [torch.equal(weights, course.weights.scores) for weights in seen].index(True) == losses.index(min(losses))
    assert not torch.equal(seen[0], seen[1])


def test_the_held_out_loss_is_of_what_training_reads_whatever_the_batch_size(tmp_path):
    settings = {"cut": lambda example, times: shortened(example, 2, "best", "")}
    courses = [course_of_scores(tmp_path / "a", batch_size=size, **settings) for size in (1, 3, 8)]
    assert {len(example.doc_ids) for course in courses for example in course.dev} == {2}
    assert len({round(course.dev_loss(), 5) for course in courses}) == 1


def test_the_order_of_lists_follows_from_the_seed_and_not_from_how_they_were_given(tmp_path):
    windows = [example._replace(doc_ids=(example.doc_ids[0], *part)) for example in TRAIN for part in ("ab", "cd")]
    once, turned, another = (
        [course._batch(step) for step in range(course.steps)]
        for course in (
            course_of_scores(tmp_path / "a", windows),
            course_of_scores(tmp_path / "a", windows[::-1]),
            course_of_scores(tmp_path / "a", windows, seed=1),
        )
    )
    assert once == turned != another
    assert sorted(map(key, chain(*once))) == sorted(map(key, chain(*another)))


def test_no_step_is_taken_on_gradients_longer_than_1(tmp_path):
    course = course_of_scores(tmp_path / "a")
    course.student.penalty = lambda: 100 * course.weights.scores.sum()
    lengths = []
    course.optimizer.register_step_pre_hook(lambda *_: lengths.append(course.weights.scores.grad.norm().item()))
    course.run(lambda step: None)
    assert lengths == pytest.approx([1.0] * course.steps, abs=1e-4)
    assert not course.weights.training  # nothing is dropped out, as in search


def test_a_training_that_diverges_stops_soon_after(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "_UNCHECKED", 5)
    course = course_of_scores(tmp_path / "a", max_steps=1000, evaluations=1)
    course.student.penalty = lambda: float("nan" if course.schedule.last_epoch >= 7 else 0)
    steps = []
    with pytest.raises(SettingError, match=r"dense student diverged: its loss is nan after 7 of 1,000 steps"):
        course.run(steps.append)
    assert steps[-1] == 10
    assert not (tmp_path / "a").exists()


def test_a_constant_rate_is_the_same_at_every_step(base, data, tmp_path):
    rates = []
    course = training_of("dense-query", base, data, tmp_path / "a", schedule="constant")
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


def test_lists_of_one_query_are_lists_of_their_own(base, data, tmp_path):
    windows = [
        example._replace(doc_ids=(example.doc_ids[0], *part), scores=(1.0, 0.5, 0.2))
        for example in TRAIN[:6]
        for part in (example.doc_ids[1:3], example.doc_ids[3:5])
    ]
    student = STUDENTS["dense-query"].make(base.copy(), data)
    settings = {"epochs": 1, "learning_rate": 1e-3, "batch_size": 5, "seed": 0, "schedule": "linear"}
    course = StudentTraining(student, windows, DEV, DistillationLoss(), tmp_path / "b", **settings)
    assert set(course.priors) == {key(example) for example in (*windows, *DEV)}
    notes = [
        distill([(lists, DEV)], base, data, tmp_path / name, student=("dense-query",), max_queries=4, **LEARN)
        for name, lists in (("c", windows), ("d", windows[::-1]))
    ]
    assert notes[0] == notes[1]
    assert (notes[0]["dense"]["queries"], notes[0]["dense"]["lists"]) == (4, 8)
    assert folder_fingerprint(tmp_path / "c") == folder_fingerprint(tmp_path / "d")


# Raw scores


RAW = [example._replace(scores=tuple(9 * score - 5 for score in example.scores)) for example in TRAIN]


def test_margins_of_raw_scores_are_learned_from_one_negative_at_a_time(base, data, tmp_path):
    settings = {"student": ("dense",), "loss": "margin-mse", "contrastive": 0.0, "teacher_temperature": 1.0}
    settings |= {"document_ways": 2, "ways_by": "random", "max_steps": 30, "learning_rate": 1e-3, "batch_size": 8}
    (note,) = distill([(RAW, RAW[:8])], base, data, tmp_path, True, **settings).values()
    assert note["steps"] == 30
    assert note["dev_loss"][-1] < note["dev_loss"][0]


def test_raw_scores_shifted_teach_the_same(base, data, tmp_path):
    shifted = [example._replace(scores=tuple(score - 3 for score in example.scores)) for example in RAW]
    settings = {"student": ("dense-query",), "teacher_temperature": 2.0, "contrastive": 0.2, **LEARN}
    notes = [
        distill([(lists, lists[:8])], base, data, tmp_path / str(number), True, **settings)
        for number, lists in enumerate((RAW, shifted))
    ]
    assert notes[0]["dense"]["dev_loss"] == pytest.approx(notes[1]["dense"]["dev_loss"], abs=1e-4)


def test_a_share_of_a_raw_score_is_refused(base, data, tmp_path):
    with pytest.raises(SettingError, match=r"mask_above is 0.6, a share of scores in \[0, 1\]"):
        distill([(RAW, RAW[:8])], base, data, tmp_path, True, mask_above=0.6)


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
    distill = {"student": ("dense",), "epochs": 1, "max_steps": 0, "batch_size": 8, "loss": "kl"}
    distill |= {"tune": (), "max_queries": 0, "base": "no/model", "document_ways": 8, **changes}
    settings = {"label": label, "mine": {"n_ways": 8}, "distill": distill}
    no_corpus = SimpleNamespace(corpus=())  # which is encoded once, whatever is learned
    run = SimpleNamespace(settings=settings, input=no_corpus)
    once = {**settings, "label": {**label, "windows": 0}, "distill": {**distill, "epochs": 1, "max_steps": 0}}
    flop = estimate(SimpleNamespace(settings=once, input=no_corpus), 100, 200).flop
    assert estimate(run, 100, 200).flop == pytest.approx(n_read / 100 * flop)
