"""The reranker: it learns an easy task, loads with the plain library, sees every query, and is the same each time."""

from __future__ import annotations

import warnings

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from acclimate.errors import DataError, SettingError  # noqa: E402 (after the check for torch)
from acclimate.files import folder_fingerprint  # noqa: E402
from acclimate.records import Doc, NWay, Query  # noqa: E402
from acclimate.score.cross_encoder import CrossEncoderScorer  # noqa: E402
from acclimate.stages import train as stage  # noqa: E402
from acclimate.stages.train import train  # noqa: E402

# An easy task: whatever is asked, the documents about rice are right.
GOOD = {f"g{n}": Doc(f"g{n}", f"rice {word}") for n, word in enumerate("fish cheese wine garlic coffee sugar".split())}
BAD = {f"b{n}": Doc(f"b{n}", f"moon {word}") for n, word in enumerate("tide stars ocean coast rain snow".split())}
CORPUS = GOOD | BAD
TEXTS = {f"q{n:02}": "what about food" for n in range(30)}
EXAMPLES = [
    NWay(query_id, (f"g{n % 6}", f"b{n % 6}", f"b{(n + 1) % 6}", f"b{(n + 2) % 6}")) for n, query_id in enumerate(TEXTS)
]
TRAIN, DEV = EXAMPLES[:24], EXAMPLES[24:]
LEARN = {"learning_rate": 5e-3, "batch_size": 4, "epochs": 3, "max_tokens": 32}
QUERY = Query("q", "what about food")


def trained(base, folder, examples=TRAIN, dev=DEV, **changes):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return train(examples, dev, TEXTS, CORPUS, folder, base=str(base), **{**LEARN, **changes})


@pytest.fixture(scope="module")
def made(tiny_encoder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("train")
    return trained(tiny_encoder, folder)


def test_the_loss_falls_and_is_told(made):
    losses = [entry["dev_loss"] for entry in made.notes["dev_loss"]]
    assert [entry["step"] for entry in made.notes["dev_loss"]] == [4, 8, 12, 16, 18]
    assert losses[-1] < losses[0]
    assert min(losses) < 1.2  # the loss of a guess among four is ln 4 = 1.386
    assert (made.notes["queries"], made.notes["documents_per_query"], made.notes["steps"]) == (24, 4, 18)
    assert [path.name for path in made.path.parent.iterdir()] == ["reranker"]


def test_the_right_documents_score_higher_and_no_two_scores_are_the_same(made):
    scorer = CrossEncoderScorer(made.path, CORPUS, max_tokens=32)
    scores = dict(zip(CORPUS, scorer.score([(QUERY, doc_id) for doc_id in CORPUS]), strict=True))
    assert min(scores[doc_id] for doc_id in GOOD) > max(scores[doc_id] for doc_id in BAD)
    assert len(set(scores.values())) > 6  # no collapse


def test_plain_sentence_transformers_loads_it_and_gives_the_same_scores(made):
    from sentence_transformers import CrossEncoder

    scorer = CrossEncoderScorer(made.path, CORPUS, max_tokens=32)
    plain = CrossEncoder(str(made.path), device="cpu")
    expected = plain.predict([(QUERY.text, CORPUS[doc_id].default_text()) for doc_id in CORPUS])
    # Half precision where the machine is fast at it
    assert scorer.score([(QUERY, doc_id) for doc_id in CORPUS]) == pytest.approx(expected.tolist(), abs=0.1)


def test_scores_come_in_the_order_of_the_pairs(made):
    scorer = CrossEncoderScorer(made.path, {**CORPUS, "long": Doc("long", "rice " * 99)}, max_tokens=32)
    pairs = [(QUERY, doc_id) for doc_id in ("b0", "long", "g0", "b1")]
    steps = []
    together = scorer.score(pairs, progress=lambda done, total: steps.append((done, total)))
    assert steps[-1] == (4, 4)
    assert together == pytest.approx([scorer.score([pair])[0] for pair in pairs], abs=0.1)
    assert scorer.score([]) == []


def test_a_fingerprint_follows_how_much_is_read(made):
    one, other = (CrossEncoderScorer(made.path, CORPUS, max_tokens=limit).fingerprint for limit in (32, 16))
    assert one != other


def test_the_same_examples_in_any_order_make_the_same_bytes(made, tiny_encoder, tmp_path):
    torch.rand(7)  # whatever was drawn before
    again = trained(tiny_encoder, tmp_path, TRAIN[::-1], DEV[::-1])
    assert again.notes == made.notes
    assert folder_fingerprint(again.path) == folder_fingerprint(made.path)


def test_another_seed_makes_another_reranker(made, tiny_encoder, tmp_path):
    assert folder_fingerprint(trained(tiny_encoder, tmp_path, seed=1).path) != folder_fingerprint(made.path)


@pytest.mark.parametrize("after", [5, 10])
def test_training_goes_on_from_its_last_checkpoint(made, tiny_encoder, tmp_path, after):
    steps = []

    def stop(done, total):
        if done == after * LEARN["batch_size"]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(tiny_encoder, tmp_path, progress=stop)
    assert not (tmp_path / "reranker").exists()
    resumed = trained(tiny_encoder, tmp_path, progress=lambda done, total: steps.append((done, total)))
    last_checkpoint = after // 4 * 4
    assert steps == [(4 * step, 72) for step in range(last_checkpoint + 1, 19)]
    assert resumed.notes == made.notes
    assert folder_fingerprint(resumed.path) == folder_fingerprint(made.path)


def test_every_query_is_learned_from_first_middle_and_last(tiny_encoder, tmp_path, monkeypatch):
    seen = []
    dataset = stage._dataset
    monkeypatch.setattr(
        stage,
        "_dataset",
        lambda examples, *rest: seen.append([e.query_id for e in examples]) or dataset(examples, *rest),
    )
    notes = trained(tiny_encoder, tmp_path, epochs=1, max_queries=10, batch_size=3).notes
    assert seen == [[f"q{n:02}" for n in range(10)], [f"q{n:02}" for n in range(24, 30)]]
    assert (notes["queries"], notes["steps"]) == (10, 4)  # the last, smaller batch is a step


def test_the_columns_hold_the_texts_and_the_positive_first():
    rows = list(stage._dataset(TRAIN[:2], TEXTS, CORPUS, (1.0, 0.0)))
    assert rows[1] == {
        "query": "what about food",
        "docs": ["rice cheese", "moon stars", "moon ocean", "moon coast"],
        "labels": [1.0, 0.0, 0.0, 0.0],
    }
    assert len(rows) == 2


@pytest.mark.parametrize("loss", ["lambda", "ranknet"])
def test_the_other_losses_learn_too(loss, tiny_encoder, tmp_path):
    made = trained(tiny_encoder, tmp_path, loss=loss)
    scorer = CrossEncoderScorer(made.path, CORPUS, max_tokens=32)
    good, bad = (scorer.score([(QUERY, doc_id) for doc_id in docs]) for docs in (GOOD, BAD))
    assert sum(good) / len(good) > sum(bad) / len(bad)


def test_examples_of_different_widths(tiny_encoder, tmp_path):
    uneven = [example._replace(doc_ids=example.doc_ids[: 2 + n % 3]) for n, example in enumerate(TRAIN)]
    assert trained(tiny_encoder, tmp_path, uneven, epochs=1).notes["documents_per_query"] == 4


def test_what_cannot_be_learned_from_is_refused(tiny_encoder, tmp_path):
    for examples, dev in (([], DEV), (TRAIN, [])):
        with pytest.raises(DataError, match="expected both"):
            trained(tiny_encoder, tmp_path, examples, dev)
    with pytest.raises(SettingError, match="Did you mean 'listwise'"):
        trained(tiny_encoder, tmp_path, loss="listwize")
    assert list(tmp_path.iterdir()) == []
