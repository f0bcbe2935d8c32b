"""The reranker: it learns an easy task by every loss, loads with the plain library, and is the same each time."""

from __future__ import annotations

import math
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from easy_task import BAD, CORPUS, DEV, GOOD, LEARN, QUERY, TEXTS, TRAIN, trained
from transformers.optimization import Adafactor

from acclimate.base.digests import folder_fingerprint
from acclimate.base.errors import AcclimateError, DataError, SettingError
from acclimate.learn.rerankers import losses, training
from acclimate.learn.rerankers.ranking import has_collapsed, ranking_of
from acclimate.learn.rerankers.texts import Texts
from acclimate.learn.rerankers.train_all import TRAINING_QUERIES, _groups
from acclimate.records import Doc, Query
from acclimate.search.scorers.cross_encoder import CrossEncoderScorer, load
from acclimate.search.scorers.pairs import Lengths
from acclimate.stages.train import make


@pytest.fixture(scope="module")
def made(tiny_encoder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("train")
    return trained(tiny_encoder, folder)


def test_the_loss_falls_and_is_told(made):
    losses = [entry["dev_loss"] for entry in made.notes["rerankers"][0]["dev_loss"]]
    (note,) = made.notes["rerankers"]
    assert [entry["step"] for entry in note["dev_loss"]] == [5, 10, 15, 18]  # train.evaluations of them
    assert losses[-1] < losses[0]
    assert min(losses) < 1.2
    assert note["chance_loss"] == pytest.approx(math.log(4), abs=1e-4)  # a guess among four
    assert (note["name"], note["kind"], note["collapsed"]) == ("reranker", "cross-encoder", False)
    assert note["dev_ndcg_before"] < note["dev_ndcg"] == 1
    assert (made.notes["queries"], note["queries"], note["documents_per_query"], note["steps"]) == (24, 24, 4, 18)
    assert (note["rows_seen"], note["epochs"], note["effective_batch"]) == (24 * 4 * 3, 3, 4)
    # 18 steps: one up to the peak, then down in equal parts; the last one is one part from nothing
    assert note["last_learning_rate"] == pytest.approx(LEARN["learning_rate"] / 17)
    assert {path.name for path in made.path.parent.iterdir()} == {"reranker", TRAINING_QUERIES}


def test_the_right_documents_score_higher_and_no_two_scores_are_the_same(made):
    scorer = CrossEncoderScorer(made.path, CORPUS, Lengths(32))
    scores = dict(zip(CORPUS, scorer.score([(QUERY, doc_id) for doc_id in CORPUS]), strict=True))
    assert min(scores[doc_id] for doc_id in GOOD) > max(scores[doc_id] for doc_id in BAD)
    assert len(set(scores.values())) > 6  # no collapse


def test_plain_sentence_transformers_loads_it_and_gives_the_same_scores(made):
    from sentence_transformers import CrossEncoder

    scorer = CrossEncoderScorer(made.path, CORPUS, Lengths(32))
    plain = CrossEncoder(str(made.path), device="cpu")
    expected = plain.predict([(QUERY.text, CORPUS[doc_id].default_text()) for doc_id in CORPUS])
    # Half precision where the machine is fast at it
    assert scorer.score([(QUERY, doc_id) for doc_id in CORPUS]) == pytest.approx(expected.tolist(), abs=0.1)


def test_scores_come_in_the_order_of_the_pairs(made):
    scorer = CrossEncoderScorer(made.path, {**CORPUS, "long": Doc("long", "rice " * 99)}, Lengths(32))
    pairs = [(QUERY, doc_id) for doc_id in ("b0", "long", "g0", "b1")]
    assert scorer.score(pairs) == pytest.approx([scorer.score([pair])[0] for pair in pairs], abs=0.1)
    assert scorer.score([]) == []


def test_a_query_or_a_document_of_any_length_is_read(made):
    long = {**CORPUS, "long": Doc("long", "rice " * 99), "none": Doc("none", "")}
    asked = [(Query("q", f"{words}"), doc_id) for words in ("food " * 99, "", "food") for doc_id in ("long", "none")]
    for limit in (16, 32, 160):  # the model has 64 positions
        scorer = CrossEncoderScorer(made.path, long, Lengths(limit))
        scores = scorer.score(asked)
        assert scores == pytest.approx([scorer.score([pair])[0] for pair in asked], abs=0.1)
        rows = scorer._reader.tokens([(query.text, long[doc_id].text) for query, doc_id in asked])["input_ids"]
        assert max(map(len, rows)) == min(limit, 64)


def test_a_fingerprint_follows_how_much_is_read(made):
    one, other = (CrossEncoderScorer(made.path, CORPUS, Lengths(limit)).fingerprint for limit in (32, 16))
    assert one != other


def test_the_same_examples_in_any_order_make_the_same_bytes(made, tiny_encoder, tmp_path):
    torch.rand(7)  # whatever was drawn before
    again = trained(tiny_encoder, tmp_path, TRAIN[::-1], DEV[::-1])
    assert again.notes == made.notes
    assert folder_fingerprint(again.path) == folder_fingerprint(made.path)


def test_a_reranker_is_made_again_for_other_texts_of_queries_with_the_same_ids(tiny_encoder):
    """Provided queries have ids of their own, so examples of other texts may be the same bytes."""

    def inputs(**fingerprints):
        outputs = [SimpleNamespace(name=name, fingerprint=of) for name, of in fingerprints.items()]
        settings = {"train": {"base": str(tiny_encoder), "rerankers": "one"}}
        source = SimpleNamespace(corpus=SimpleNamespace(fingerprint=""))
        run = SimpleNamespace(settings=settings, input=source, make=lambda *_, inputs, **__: inputs)
        return make(run, *outputs)  # pyright: ignore[reportArgumentType]

    same = {"sample": "1", "filter": "1", "mine": "1"}
    assert inputs(**same) == inputs(**same) != inputs(**same | {"filter": "2"})


def test_another_seed_makes_another_reranker(made, tiny_encoder, tmp_path):
    assert folder_fingerprint(trained(tiny_encoder, tmp_path, seed=1).path) != folder_fingerprint(made.path)


def test_the_columns_hold_the_texts_and_the_positive_first():
    rows = list(losses.lists((1.0, 0.0))(TRAIN[:2], Texts(TEXTS, CORPUS)))
    assert rows[1] == {
        "query": "what about food",
        "docs": ["rice cheese", "moon stars", "moon ocean", "moon coast"],
        "labels": [1.0, 0.0, 0.0, 0.0],
    }
    assert len(rows) == 2


@pytest.mark.parametrize("loss", ["lambda", "ranknet", "margin-mse", "bce"])
def test_the_other_losses_learn_too(loss, tiny_encoder, tmp_path):
    made = trained(tiny_encoder, tmp_path, loss=loss)
    (note,) = made.notes["rerankers"]
    assert (note["collapsed"], note["steps"], note["rows_seen"]) == (False, 18, 288)
    assert min(one["dev_loss"] for one in note["dev_loss"]) < note["chance_loss"]
    scorer = CrossEncoderScorer(made.path, CORPUS, Lengths(32))
    good, bad = (scorer.score([(QUERY, doc_id) for doc_id in docs]) for docs in (GOOD, BAD))
    assert sum(good) / len(good) > sum(bad) / len(bad)


def test_examples_of_different_widths(tiny_encoder, tmp_path):
    uneven = [example._replace(doc_ids=example.doc_ids[: 2 + n % 3]) for n, example in enumerate(TRAIN)]
    assert trained(tiny_encoder, tmp_path, uneven, epochs=1).notes["rerankers"][0]["documents_per_query"] == 4


def test_pairs_are_flattened_with_the_positive_first_and_weighed_up(tiny_encoder):
    rows = list(losses.pairs(TRAIN[:1], Texts(TEXTS, CORPUS)))
    assert [list(row.values()) for row in rows] == [
        ["what about food", "rice fish", 1.0],
        ["what about food", "moon tide", 0.0],
        ["what about food", "moon stars", 0.0],
        ["what about food", "moon ocean", 0.0],
    ]
    made = losses.LOSSES["bce"].make(load(str(tiny_encoder), max_tokens=32), TRAIN, 32)
    assert made.pos_weight.item() == 3


def test_margins_are_those_of_the_teacher_where_there_is_one():
    uneven = [TRAIN[0]._replace(scores=(9.0, 5.0, 4.0, 0.5)), TRAIN[1]._replace(doc_ids=TRAIN[1].doc_ids[:3])]
    rows = list(losses.margins(uneven, Texts(TEXTS, CORPUS)))
    assert [row["label"] for row in rows] == [[9.0, 5.0, 4.0, 0.5], [1.0, 0.0, 0.0, 0.0]]
    assert list(rows[1].values())[:-1] == ["what about food", "rice cheese", "moon stars", "moon ocean", "moon stars"]


def test_fewer_ways_read_the_first_documents(tiny_encoder, tmp_path):
    (note,) = trained(tiny_encoder, tmp_path, n_ways=2, epochs=1).notes["rerankers"]
    assert (note["documents_per_query"], note["rows_seen"]) == (2, 48)
    assert note["chance_loss"] == pytest.approx(math.log(2), abs=1e-4)


def test_adafactor_steps_in_proportion_to_the_weights_as_t5_was_trained(made, tiny_encoder, tmp_path, monkeypatch):
    settings = []
    begin = Adafactor.__init__
    monkeypatch.setattr(
        Adafactor, "__init__", lambda self, *args, **kwargs: (settings.append(kwargs), begin(self, *args, **kwargs))[1]
    )
    again = trained(tiny_encoder, tmp_path, optimizer="adafactor")
    (given,) = settings
    assert (given["scale_parameter"], given["relative_step"], given["lr"]) == (True, False, LEARN["learning_rate"])
    assert folder_fingerprint(again.path) != folder_fingerprint(made.path)


def test_a_reranker_that_has_collapsed_is_told_and_warned_of(tiny_encoder, tmp_path, caplog):
    (note,) = trained(tiny_encoder, tmp_path, learning_rate=1e-12, epochs=1).notes["rerankers"]
    assert note["collapsed"]
    assert "reranker has collapsed" in caplog.text


@pytest.mark.parametrize(
    ("spread", "best", "chance", "collapsed"),
    [
        (0.5, 1.0, 1.2, False), (0.5, 1.2, 1.2, True), (0.5, 9.0, None, False), (0.5, math.inf, None, True),
        (1e-4, 1.0, 1.2, True), (math.nan, 1.0, 1.2, True), (0.5, math.nan, 1.2, True),
    ],
)  # fmt: skip
def test_a_reranker_whose_scores_differ_and_that_beats_chance_has_not_collapsed(spread, best, chance, collapsed):
    assert has_collapsed(spread, best, chance) == collapsed


def test_ties_and_scores_that_are_no_numbers_are_no_success():
    assert ranking_of([[1.0, 0.0], [2.0, 1.0, 0.5]]).ndcg == 1
    assert ranking_of([[0.0, 0.0]]) == (1 / math.log2(3), 0.0)
    assert ranking_of([[0.0, *[1.0] * 10]]).ndcg == 0
    assert ranking_of([[math.nan, 0.0], [-math.inf, 5.0]]) == (0, 0)


@pytest.mark.parametrize(("n_processes", "batch_size"), [(1, 99), (2, 4), (3, 4), (3, 9), (3, 8), (7, 2), (9, 1)])
def test_every_process_has_a_batch_and_a_held_out_query_or_training_is_refused(n_processes, batch_size, monkeypatch):
    """Whoever had none would wait for the others, and they for it."""
    monkeypatch.setenv("WORLD_SIZE", str(n_processes))
    hyperparameters: Any = SimpleNamespace(batch_size=batch_size)
    settings = {"rerankers": "one", "min_queries": 1, "seed": 0, "n_ways": 0, "max_queries": 99, "max_steps": 0}
    settings |= {"batch_size": batch_size, "gradient_accumulation": 1}
    is_enough = n_processes == 1 or (len(DEV) >= n_processes and len(TRAIN) >= n_processes * batch_size)
    refused = pytest.raises(DataError, match=f"too few for {n_processes} processes with batches of {batch_size}")
    with nullcontext() if is_enough else refused:
        (group,) = _groups(TRAIN, DEV, {}, hyperparameters, settings)
        assert (group.examples, group.dev) == (TRAIN, DEV)


def test_what_cannot_be_learned_from_is_refused(tiny_encoder, tmp_path):
    for examples, dev in (([], DEV), (TRAIN, [])):
        with pytest.raises(DataError, match="expected both"):
            trained(tiny_encoder, tmp_path, examples, dev)
    for changes, said in (
        ({"loss": "listwize"}, "Did you mean 'listwise'"),
        ({"precision": "float16"}, "no precision named 'float16'"),
        ({"merge": "mean"}, "no merge named 'mean'"),
        (
            {"max_steps": 1000, "batch_size": 1_000_000},
            "would read 1,000,000,000 queries; expected 100,000,000 at most",
        ),
        ({"optimizer": "sgd"}, "There are: adafactor, adamw"),
        ({"schedule": "cosine"}, "There are: constant, linear"),
        ({"template": "monot"}, "Did you mean 'monot5'"),
        ({"n_ways": 1}, "expected a whole number: 0, or 2 to"),
        ({"epochs": 0}, "epochs is 0; expected a whole number: 1 to"),
        ({"rerankers": "two"}, "expected one, prompt, or 1 to 1,000"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0; expected a number: above 0"),
        ({"max_tokens": 3}, "max_tokens is 3; expected a whole number: 8 to"),
        ({"loss": "token"}, "a cross-encoder outputs no tokens"),
    ):
        with pytest.raises(SettingError, match=said):
            trained(tiny_encoder, tmp_path, **changes)
    with pytest.raises(SettingError, match=r"mine\.n_ways is 1, and a reranker needs negatives"):
        trained(tiny_encoder, tmp_path, [example._replace(doc_ids=example.doc_ids[:1]) for example in TRAIN])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("said", "is_another_s"),
    [
        ("[third_party/gloo/gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:46506", True),
        ("NCCL error in: ProcessGroupNCCL.cpp:3690, remote process exited or there was a network error", True),
        ("shapes cannot be multiplied", False),
    ],
)
def test_a_process_that_ends_while_rerankers_train_ends_the_others_with_a_line(said, is_another_s):
    def train(**_):
        raise RuntimeError(said)

    trainer: Any = SimpleNamespace(model=[SimpleNamespace()], train=train)
    with pytest.raises(AcclimateError if is_another_s else RuntimeError) as raised:
        training._trained(trainer, None)
    assert ("another process of this run has ended" in str(raised.value)) == is_another_s
