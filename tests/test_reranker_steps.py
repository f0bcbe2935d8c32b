"""How long a reranker learns, what each step reads, and that a killed training comes to the same bytes."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")


from easy_task import CORPUS, LEARN, TEXTS, TRAIN, stopping, trained
from hypothesis import given
from hypothesis import strategies as st
from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss

from acclimate.base.digests import folder_fingerprint
from acclimate.base.draw import subset
from acclimate.base.errors import SettingError
from acclimate.learn.rerankers import losses, training
from acclimate.learn.rerankers.checks import check_steps
from acclimate.learn.rerankers.divergence import StopDivergence
from acclimate.learn.rerankers.groups import Group
from acclimate.learn.rerankers.hyperparameters import Hyperparameters
from acclimate.learn.rerankers.order import cycled
from acclimate.learn.rerankers.ranking import Ranking
from acclimate.learn.rerankers.texts import Texts
from acclimate.learn.rerankers.train_all import _key, _limited
from acclimate.records import Doc, NWay

SETTINGS = Hyperparameters("", "", "listwise", 2, 0, "adamw", 1e-3, "linear", 0.0, 4, 1, 32, "float32", 4, 0, 0, 32, 0)


@pytest.fixture(scope="module")
def made(tiny_encoder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("train")
    return trained(tiny_encoder, folder)


@pytest.mark.parametrize("after", [7, 12])
def test_training_goes_on_from_its_last_checkpoint(made, tiny_encoder, tmp_path, after):
    steps = []

    def stop(done, total):
        if done == after * LEARN["batch_size"]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(tiny_encoder, tmp_path, progress=stop)
    assert not (tmp_path / "reranker").exists()
    resumed = trained(tiny_encoder, tmp_path, progress=lambda done, total: steps.append((done, total)))
    last_checkpoint = after // 5 * 5
    assert steps == [(4 * step, 72) for step in range(last_checkpoint + 1, 19)]
    assert resumed.notes == made.notes
    assert folder_fingerprint(resumed.path) == folder_fingerprint(made.path)


def test_every_query_is_learned_from_first_middle_and_last(tiny_encoder, tmp_path, monkeypatch):
    seen = []
    listwise = losses.LOSSES["listwise"]
    watched = listwise._replace(
        dataset=lambda examples, texts: seen.append([e.query_id for e in examples]) or listwise.dataset(examples, texts)
    )
    monkeypatch.setitem(losses.LOSSES, "listwise", watched)
    notes = trained(tiny_encoder, tmp_path, epochs=1, max_queries=10, batch_size=3).notes
    assert seen == [sorted(one.query_id for one in subset(TRAIN, 10, 0)), [f"q{n:02}" for n in range(24, 30)]]
    assert (notes["queries"], notes["steps"]) == (10, 4)  # the last, smaller batch is a step


def test_batches_add_up_to_a_step(tiny_encoder, tmp_path):
    (note,) = trained(
        tiny_encoder, tmp_path, batch_size=2, gradient_accumulation=3, epochs=2, schedule="constant"
    ).notes["rerankers"]
    assert (note["steps"], note["effective_batch"], note["rows_seen"]) == (8, 6, 192)
    assert note["last_learning_rate"] == LEARN["learning_rate"]


def test_a_reranker_is_kept_for_exactly_what_it_was_trained_on(monkeypatch):
    def key(query="?", checked="!", doc="text", scores=(), dev=("d",), dtype="float32", weights="w", **settings):
        monkeypatch.setattr("acclimate.base.models.dtype_name", lambda: dtype)
        monkeypatch.setattr("acclimate.base.models.weights_fingerprint", lambda base: weights)
        group = Group("reranker", [NWay("q", ("d", "e"), scores)], [NWay("r", dev)])
        corpus = {"d": Doc("d", doc), "e": Doc("e", "other")}
        settings = {
            "base": "b",
            "seed": 0,
            "rerankers": "one",
            "merge": "none",
            "min_queries": 1,
            "epochs": 1,
        } | settings
        return _key(group, Texts({"q": query, "r": checked}, corpus), settings)

    same = {key(), key(rerankers="3"), key(merge="slerp"), key(min_queries=9)}
    texts = {key(query="x"), key(checked="x"), key(doc="x"), key(scores=(1.0, 0.5)), key(dev=("e",))}
    assert (len(same), len(same | texts)) == (1, 6)
    assert len(same | texts | {key(dtype="x"), key(weights="x"), key(seed=1), key(epochs=2)}) == 10


def test_queries_are_drawn_by_seed_and_lists_cut_with_their_scores():
    examples = [NWay(f"q{n:02}", ("a", "b", "c"), (1.0, 0.5, 0.2)) for n in range(30)]
    first, second = (
        _limited(Group("reranker", examples[::way], examples), 2, 9, seed) for way, seed in ((1, 0), (-1, 0))
    )
    assert first == second != _limited(Group("reranker", examples, examples), 2, 9, 1)
    assert (len(first.examples), len(first.dev)) == (9, 30)
    assert {example[1:3] for example in (*first.examples, *first.dev)} == {(("a", "b"), (1.0, 0.5))}


def test_steps_that_would_read_absurdly_many_queries_are_refused():
    check_steps(max_steps=1000, batch_size=1000, gradient_accumulation=100)
    for setting in ("max_steps", "batch_size", "gradient_accumulation"):
        settings = {"max_steps": 1000, "batch_size": 1000, "gradient_accumulation": 100}
        with pytest.raises(SettingError, match="100,000,000 at most"):
            check_steps(**{**settings, setting: settings[setting] + 1})


@pytest.mark.parametrize(("loss", "rows"), [("listwise", 4), ("bce", 4)])
@pytest.mark.parametrize(("batch_size", "gradient_accumulation", "max_steps"), [(4, 1, 5), (2, 3, 7), (5, 2, 11)])
def test_as_many_steps_as_asked_each_of_as_many_queries(
    loss, rows, batch_size, gradient_accumulation, max_steps, tiny_encoder, tmp_path
):
    (note,) = trained(
        tiny_encoder, tmp_path, loss=loss, epochs=9, batch_size=batch_size, max_steps=max_steps,
        gradient_accumulation=gradient_accumulation,
    ).notes["rerankers"]  # fmt: skip
    per_step = batch_size * gradient_accumulation
    queries = min(24, per_step * max_steps)
    assert (note["queries"], note["steps"], note["effective_batch"]) == (queries, max_steps, per_step)
    assert note["rows_seen"] == rows * per_step * max_steps
    assert note["epochs"] == pytest.approx(per_step * max_steps / queries, abs=1e-3)
    # linear over these steps: a tenth of them up, and at the last one part from nothing
    up = max(1, max_steps // 10)
    assert note["last_learning_rate"] == pytest.approx(LEARN["learning_rate"] / (max_steps - up))


@pytest.mark.parametrize("count", [1, 23, 24, 25, 100])
def test_every_row_is_read_once_before_any_is_read_twice(count):
    rows = losses.lists((1.0, 0.0))(TRAIN, Texts({query_id: query_id for query_id in TEXTS}, CORPUS))
    read = cycled(rows, count, seed=3)["query"]
    passes = [read[start : start + 24] for start in range(0, count, 24)]
    assert len(read) == count
    assert all(len(set(one)) == len(one) for one in passes)
    assert read == cycled(rows, 100, seed=3)["query"][:count]
    assert count < 20 or read != cycled(rows, count, seed=4)["query"]
    assert len(passes) < 3 or passes[0] != passes[1]


@pytest.mark.parametrize("max_steps", [0, 9])
def test_a_batch_of_pairs_is_of_many_queries_in_an_order_that_follows_from_the_seed(
    max_steps, tiny_encoder, tmp_path, monkeypatch
):
    """In the order of the queries, every fourth pair would be relevant."""
    read: list[list[tuple[str, float]]] = []
    forward = BinaryCrossEntropyLoss.forward

    def watched(self, inputs, labels, *rest, **more):
        if torch.is_grad_enabled():
            read.append(list(zip(inputs[1], labels.tolist(), strict=True)))
        return forward(self, inputs, labels, *rest, **more)

    monkeypatch.setattr(BinaryCrossEntropyLoss, "forward", watched)
    orders = []
    for number, seed in enumerate((0, 0, 1)):
        read.clear()
        trained(tiny_encoder, tmp_path / str(number), loss="bce", epochs=1, max_steps=max_steps, seed=seed)
        orders.append([pair for batch in read for pair in batch])
        assert all([label for _, label in batch] != [1.0, 0.0, 0.0, 0.0] * 4 for batch in read)
        pairs = sorted((CORPUS[doc_id].text, float(not n)) for one in TRAIN for n, doc_id in enumerate(one.doc_ids))
        assert sorted(orders[-1][: len(pairs)]) == pairs
    assert orders[0] == orders[1] != orders[2]


@pytest.mark.parametrize("changes", [{}, {"evaluations": 1}, {"evaluations": 1, "optimizer": "adafactor"}])
def test_a_killed_training_of_so_many_steps_comes_to_the_same_bytes(changes, tiny_encoder, tmp_path):
    settings = {"max_steps": 13, "batch_size": 5, "loss": "bce", **changes}
    whole = trained(tiny_encoder, tmp_path / "a", **settings)
    with pytest.raises(KeyboardInterrupt):
        trained(tiny_encoder, tmp_path / "b", progress=stopping(11 * 5), **settings)
    steps = []
    resumed = trained(tiny_encoder, tmp_path / "b", progress=lambda done, total: steps.append(done // 5), **settings)
    assert steps[0] > 6
    assert resumed.notes == whole.notes
    assert folder_fingerprint(tmp_path / "a") == folder_fingerprint(tmp_path / "b")


def test_looked_at_once_it_is_the_last_weights_that_stay(tiny_encoder, tmp_path):
    base = shutil.copytree(tiny_encoder, tmp_path / "base")
    without_dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}  # each look draws numbers, too
    config = base / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | without_dropout))
    settings = {"learning_rate": 0.5, "schedule": "constant", "max_steps": 12}  # far too fast: the last are the worst
    (last,) = trained(base, tmp_path / "last", evaluations=1, patience=3, **settings).notes["rerankers"]
    (best,) = trained(base, tmp_path / "best", evaluations=12, **settings).notes["rerankers"]
    assert last["dev_loss"] == best["dev_loss"][-1:]
    assert folder_fingerprint(tmp_path / "last") != folder_fingerprint(tmp_path / "best")


def test_training_ends_early_where_nothing_gets_better_and_a_killed_one_does_too(tiny_encoder, tmp_path):
    settings = {"patience": 2, "evaluations": 12, "epochs": 4, "learning_rate": 0.5}  # far too fast

    def stop(done, total):
        if done >= 4 * stop.after:
            raise KeyboardInterrupt

    early = trained(tiny_encoder, tmp_path / "a", **settings)
    (note,) = early.notes["rerankers"]
    losses_seen = [one["dev_loss"] for one in note["dev_loss"]]
    assert note["steps"] < 24
    assert len(losses_seen) == losses_seen.index(min(losses_seen)) + 3
    stop.after = note["steps"] - 1
    with pytest.raises(KeyboardInterrupt):
        trained(tiny_encoder, tmp_path / "b", progress=stop, **settings)
    assert trained(tiny_encoder, tmp_path / "b", **settings).notes == early.notes
    assert folder_fingerprint(tmp_path / "a") == folder_fingerprint(tmp_path / "b")


def test_checkpoints_of_another_training_are_not_resumed_from(made, tiny_encoder, tmp_path):
    def stop(done, total):
        if done == 48:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(tiny_encoder, tmp_path, seed=1, progress=stop)
    assert list((tmp_path / "checkpoints").glob("checkpoint-*"))
    assert trained(tiny_encoder, tmp_path).notes == made.notes
    assert folder_fingerprint(tmp_path / "reranker") == folder_fingerprint(made.path)


@pytest.mark.parametrize("loss", ["listwise", "bce"])
def test_several_processes_take_steps_of_their_batches_together(loss, monkeypatch):
    hyperparameters = dataclasses.replace(SETTINGS, loss=loss)
    alone = hyperparameters.steps(TRAIN)  # 24 queries
    assert (alone, hyperparameters.queries_at_once) == (12, 4)
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert (hyperparameters.steps(TRAIN), hyperparameters.queries_at_once) == (4, 12)


def test_a_step_reads_batch_size_lists_whole_however_long_each_is():
    examples = [NWay("q", tuple("abcdefg"[:n_ways])) for n_ways in (2, 7, 3, 2, 2)]
    for loss, rows, at_once in (("listwise", 5, 4), ("bce", 16, 28)):  # pairs, for a pointwise loss
        one = dataclasses.replace(SETTINGS, loss=loss, epochs=1)
        assert (one.rows(examples), one.rows_at_once(examples)) == (rows, at_once)
        assert one.steps(examples) == math.ceil(rows / at_once)


@pytest.mark.parametrize(("evaluations", "ndcg", "spread"), [(3, 0.8, 0.5), (1, 0.3, 0.7)])
def test_what_is_noted_of_held_out_lists_is_of_the_weights_that_are_kept(
    evaluations, ndcg, spread, tmp_path, monkeypatch
):
    def trainer_of(*made_of, **_):
        made_of[5].update({5: Ranking(0.8, 0.5), 10: Ranking(0.3, 0.7)})
        state = SimpleNamespace(log_history=[], global_step=10, best_global_step=5, epoch=1.0)
        schedule = SimpleNamespace(lr_lambdas=[lambda step: 1.0], last_epoch=10)
        return SimpleNamespace(state=state, lr_scheduler=schedule, evaluate=lambda: {"eval_loss": 1.0})

    for name, made in (("load", lambda wanted: torch.nn.Linear(1, 1)), ("_trainer", trainer_of)):
        monkeypatch.setattr(training, name, made)
    monkeypatch.setattr(training, "rank_held_out", lambda *_: Ranking(0.1, 0.1))
    monkeypatch.setattr(training.scorers, "kind_of", lambda name: "cross-encoder")
    monkeypatch.setattr(training, "_trained", lambda *_: True)
    monkeypatch.setattr(training, "equal_scores", nullcontext)
    monkeypatch.setattr(training, "_save", lambda model, path: None)
    settings = dataclasses.replace(SETTINGS, evaluations=evaluations)
    notes = training.train_reranker(Group("one", TRAIN, TRAIN), Texts(TEXTS, CORPUS), tmp_path, settings, key="")
    assert (notes["dev_ndcg_before"], notes["dev_ndcg"], notes["spread"]) == (0.1, ndcg, spread)


@given(st.integers(2, 40), st.integers(1, 9))
def test_smaller_batches_add_up_to_the_same_steps(batch_size, accumulation):
    settings = dataclasses.replace(SETTINGS, batch_size=batch_size, gradient_accumulation=accumulation)
    smaller = settings.in_smaller_batches()
    assert smaller.batch_size < batch_size
    assert smaller.queries_at_once == batch_size * accumulation


@pytest.mark.parametrize(
    ("first", "checked", "saved_every"), [(1, 4, 4), (4, 4, 4), (5, 8, 4), (9, 10, 4), (7, 50, 999), (57, 60, 999)]
)
def test_losses_are_checked_before_weights_are_saved_and_at_the_end(first, checked, saved_every):
    """Else weights of a training that diverged would be kept; and no more than fifty losses wait."""
    n_steps = 60 if saved_every == 999 else 10
    callback = StopDivergence(n_steps, saved_every, 0.1)
    for step in range(1, n_steps + 1):
        callback.note(step, torch.tensor(float("nan") if step >= first else 1.0))
        if step == checked:
            break
        callback.on_step_end(None, SimpleNamespace(global_step=step, max_steps=n_steps), None)
    with pytest.raises(SettingError, match=rf"loss is nan after {first} of {n_steps} steps"):
        callback.on_step_end(None, SimpleNamespace(global_step=step, max_steps=n_steps), None)
