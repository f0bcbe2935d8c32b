"""Students and their training: losses fall, saved folders load elsewhere, and every query is seen."""

from __future__ import annotations

import warnings
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from distilling import DEV, LEARN, TRAIN, key, log_probs, loss_of, training_of
from sentence_transformers import MultiVectorEncoder, SentenceTransformer

from acclimate.base.digests import folder_fingerprint
from acclimate.base.draw import subset
from acclimate.base.errors import DataError, SettingError
from acclimate.base.testing import DOCS, QUERIES
from acclimate.learn.students.checks import check_students
from acclimate.learn.students.dense import Dense
from acclimate.learn.students.distillation import _sampled, remove_notes
from acclimate.learn.students.encoding import encode_with_gradients
from acclimate.learn.students.kinds import STUDENTS
from acclimate.learn.students.late_interaction import max_sim
from acclimate.learn.students.token_vectors import document_of_token
from acclimate.learn.students.train_student import shortened
from acclimate.records import NWay
from acclimate.run.recipes import load_recipe
from acclimate.run.settings import resolve
from acclimate.search.encoder import Encoder
from acclimate.search.names import KINDS_WITHOUT_BASE, STUDENT_KINDS
from acclimate.stages.chain import STAGES
from acclimate.stages.distill import check, distill

PLAIN = {"dense": SentenceTransformer, "late-interaction": MultiVectorEncoder}


OF_ENCODERS = [
    name for name in STUDENTS if STUDENT_KINDS[name] not in KINDS_WITHOUT_BASE
]  # test_sparse_static.py has the others


def test_max_sim_is_the_plain_double_loop():
    rng = np.random.default_rng(0)
    query, documents, lengths = rng.normal(size=(3, 4)), rng.normal(size=(9, 4)), [2, 1, 6]
    ends = np.cumsum(lengths)
    plain = [
        np.mean([max(float(token @ other) for other in documents[end - length : end]) for token in query])
        for end, length in zip(ends, lengths, strict=True)
    ]
    found = max_sim(torch.tensor(query), torch.tensor(documents), document_of_token(lengths), len(lengths))
    assert found.tolist() == pytest.approx(plain)


@pytest.mark.parametrize("name", STUDENTS)
def test_every_student_gives_log_probabilities_of_its_documents_in_their_order(name, base, data):
    student = STUDENTS[name].make(base.copy(), data)
    together = log_probs(student, TRAIN[:3])
    assert [len(logs) for logs in together] == [8, 8, 8]
    assert all((logs <= 0).all() and logs.requires_grad for logs in together)
    swapped = [example._replace(doc_ids=example.doc_ids[::-1]) for example in TRAIN[:3]]
    for logs, back in zip(together, log_probs(student, swapped), strict=True):
        assert back.flip(0).tolist() == pytest.approx(logs.tolist(), abs=1e-3)


@pytest.mark.parametrize("name", ["late-interaction", "late-interaction-query"])
def test_late_interaction_sees_what_retrieval_scores(name, base, data):
    example = TRAIN[5]
    student = STUDENTS[name].make(base.copy(), data)
    rows = np.array([data.ids.row[doc_id] for doc_id in example.doc_ids])
    scores = data.vectors.max_sim(base.encode([data.queries[example.query_id]])[0].tokens, rows)
    expected = torch.log_softmax(torch.tensor(scores) / 0.03, dim=-1)
    # The index is in eight bits, a student is not, and the temperature enlarges the difference.
    assert log_probs(student, [example], 0.03)[0].tolist() == pytest.approx(expected.tolist(), abs=0.5)


@pytest.mark.parametrize("name", OF_ENCODERS)
def test_a_student_learns_is_saved_and_loads_with_the_plain_library(name, base, data, tmp_path):
    before = {key: value.clone() for key, value in base.model.state_dict().items()}
    # Random weights have nothing to generalize from: what falls is the loss on queries that were seen.
    notes = distill([(TRAIN, TRAIN[::4])], base, data, tmp_path, student=(name,), **LEARN)
    kind = STUDENT_KINDS[name]
    note = notes[kind]
    assert list(notes) == [kind]
    assert note["student"] == name
    assert note["keeps_index"] == name.endswith("-query")
    assert len(note["dev_loss"]) == 3
    assert min(note["dev_loss"][1:]) < note["dev_loss"][0]
    assert note["best_epoch"] == note["dev_loss"].index(min(note["dev_loss"]))
    assert sorted(path.name for path in tmp_path.iterdir()) == [kind, f"{kind}.learned.json"]  # no state left
    assert all(torch.equal(value, before[key]) for key, value in base.model.state_dict().items())

    student = Encoder.load_student(tmp_path / kind, max_tokens=64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = PLAIN[kind](str(tmp_path / kind), device="cpu")
    queries = [query.text for query in QUERIES[:4]]
    documents = [doc.default_text() for doc in DOCS[:4]]
    sides = [(plain.encode_query, student, queries, "query")]
    sides.append((plain.encode_document, base if note["keeps_index"] else student, documents, "document"))
    for encode, ours, texts, task in sides:
        for text in texts:
            with torch.inference_mode():
                pooled, tokens = ours.forward(features := ours.features(ours.tokenize([text], task), task))
            found = np.asarray(torch.as_tensor(encode([text])[0]))
            expected = pooled[0] if kind == "dense" else tokens[0][features["keep"][0]]
            assert found == pytest.approx(expected.numpy(), abs=1e-4)
    # Whoever names no side asks the student, in every version of the library that has one.
    with torch.inference_mode():
        plainly, asked = (torch.as_tensor(encode(queries[:1])[0]) for encode in (plain.encode, plain.encode_query))
    assert torch.equal(plainly, asked)
    moved = student.encode(queries)[0].pooled - base.encode(queries)[0].pooled
    assert np.abs(moved).max() > 0.01


def test_a_student_learns_from_one_teacher_after_the_other(base, data, tmp_path):
    def learn(folder, *turns):
        steps = []
        notes = distill(
            [(turn, turn[:8]) for turn in turns], base, data, tmp_path / folder,
            student=("dense-query",), progress=lambda *done: steps.append(done), **LEARN,
        )  # fmt: skip
        assert len(notes["dense"].get("best_epoch_before", ())) == len(turns) - 1
        assert steps[-1] == (len(steps), len(steps))
        remove_notes(tmp_path / folder)
        assert [path.name for path in (tmp_path / folder).iterdir()] == ["dense"]
        return folder_fingerprint(tmp_path / folder), len(steps)

    half, rest = TRAIN[:16], TRAIN[16:]
    both, steps = learn("both", half, rest)
    assert steps == 2 * learn("first", half)[1]
    assert len({both, learn("first", half)[0], learn("second", rest)[0], learn("turned", rest, half)[0]}) == 4


def test_scores_on_another_scale_are_refused(base, data, tmp_path):
    raw = [example._replace(scores=tuple(7 * score - 3 for score in example.scores)) for example in TRAIN]
    for turns in ([(raw, DEV)], [(TRAIN, raw)], [(TRAIN, DEV), (TRAIN, raw)]):
        with pytest.raises(DataError, match=r"to 4; expected them in \[0, 1\]"):
            distill(turns, base, data, tmp_path, **LEARN)


def test_queries_of_students_are_drawn_for_themselves():
    drawn = {example.query_id for example in _sampled(TRAIN, 16, 0)}
    assert len(drawn) == 16
    assert drawn != {example.query_id for example in subset(TRAIN, 16, 0)}  # those of a reranker


def test_a_false_negative_made_a_positive_shares_what_is_set_aside(base, data, tmp_path):
    learner = training_of("dense-query", base, data, tmp_path / "x.state", contrastive=1.0)
    with torch.no_grad():
        for example in TRAIN[:3]:
            first, second = log_probs(learner.student, [example])[0][:2].tolist()
            alone = example._replace(scores=(0.5, 0.4, *example.scores[2:]))
            shared = example._replace(scores=(0.5, 0.5, *example.scores[2:]))
            assert loss_of(learner, [alone]) == pytest.approx(-first, abs=1e-3)
            assert loss_of(learner, [shared]) == pytest.approx(-(first + second) / 2, abs=1e-3)


def test_the_weights_kept_are_those_of_the_best_epoch(base, data, tmp_path):
    ruinous = training_of("dense-query", base, data, tmp_path / "a", learning_rate=5.0)
    history = ruinous.run(lambda step: None)
    assert min(history) == history[0]
    assert all(torch.equal(value, base.model.state_dict()[key]) for key, value in ruinous.weights.state_dict().items())
    good = training_of("dense-query", base, data, tmp_path / "b")
    history = good.run(lambda step: None)
    assert good.dev_loss() == pytest.approx(min(history), abs=1e-5)


def test_every_query_is_seen_once_an_epoch(base, data, tmp_path):
    seen = []
    one = training_of("dense-query", base, data, tmp_path / "a", batch_size=5)
    one._share = lambda step: (one._batch(step), 1.0)
    one._step = lambda batch, weight: seen.append([example.query_id for example in batch])
    one.dev_loss = lambda: 1.0
    one.run(lambda step: None)
    assert [len(batch) for batch in seen] == [5, 5, 5, 5, 5, 5, 2] * 2
    first, second = ([query for batch in half for query in batch] for half in (seen[:7], seen[7:]))
    assert sorted(first) == sorted(second) == [example.query_id for example in TRAIN]
    assert first != second != sorted(second)


def test_the_learning_rate_rises_and_ends_near_nothing(base, data, tmp_path):
    rates = []
    one = training_of("dense-query", base, data, tmp_path / "a", epochs=5)
    step = one._step
    one._step = lambda *read: (rates.append(one.optimizer.param_groups[0]["lr"]), step(*read))
    one.run(lambda step: None)
    assert len(rates) == 20
    assert max(rates) == LEARN["learning_rate"]
    assert rates[0] == max(rates) / 2
    assert rates[-1] == pytest.approx(max(rates) / 18)


def test_what_was_seen_is_those_of_the_untouched_student(base, data, tmp_path):
    one = training_of("dense-query", base, data, tmp_path / "a")
    said = log_probs(one.student, [TRAIN[5]])[0].exp().sum().item()
    assert one.priors[key(TRAIN[5])] == pytest.approx(said, abs=1e-5)
    assert set(one.priors) == {key(example) for example in (*TRAIN, *DEV)}
    one.run(lambda step: None)
    assert training_of("dense-query", base, data, tmp_path / "a").priors == one.priors
    assert training_of("late-interaction-query", base, data, tmp_path / "b").priors == {}


def test_documents_encoded_in_groups_give_the_same_gradients(base, data):
    gradients = []
    for at_once in (10_000, 40):
        student = Dense(base.copy(), data, "batch")
        student.encoder.tokens_at_once = at_once
        torch.stack([logs[0] for logs in log_probs(student, TRAIN[:4])]).sum().backward()
        gradients.append([weight.grad for weight in student.encoder.model.parameters() if weight.grad is not None])
    assert len(gradients[0]) == len(gradients[1]) > 5
    for whole, grouped in zip(*gradients, strict=True):
        assert torch.allclose(whole, grouped, atol=1e-4)
    assert max(float(gradient.abs().max()) for gradient in gradients[0]) > 1e-2


@pytest.mark.parametrize("at_once", [10_000, 8])
def test_what_compares_whole_texts_keeps_no_vectors_of_tokens(base, at_once):
    """Of CADET's 4,096 lists of 20 documents, those of the tokens would take 60 GB."""
    encoder = base.copy()
    encoder.tokens_at_once = at_once
    texts = ["salt keeps fish", "lava", "bees dance to tell each other where flowers are"]
    tokens = encoder.tokenize(texts, "document")
    with_them = encode_with_gradients(encoder, tokens, "document")
    without = encode_with_gradients(encoder, tokens, "document", with_tokens=False)
    assert torch.equal(with_them.pooled, without.pooled)
    assert (without.tokens.numel(), len(with_them.tokens)) == (0, sum(with_them.lengths))
    assert with_them.lengths == [sum(text.keep) for text in tokens]


@pytest.mark.parametrize("side", ["left", "right"])
def test_tokens_are_those_of_the_texts_on_whichever_side_they_are_padded(side, base):
    encoder = base.copy()
    encoder.model.tokenizer.padding_side = side
    tokens = encoder.tokenize(["salt keeps fish", "lava", "bees dance to tell each other"], "document")
    features = encoder.features(tokens, "document")
    _, whole = encoder.forward(features)
    encoded = encode_with_gradients(encoder, tokens, "document")
    assert torch.allclose(encoded.tokens, whole[features["keep"]], atol=1e-6)


def test_shortening_keeps_the_source_and_the_best_others():
    example = NWay("q", ("s", "a", "b", "c", "d"), (0.1, 0.5, 0.9, 0.5, 0.2))
    assert shortened(example, 3, "best", "") == NWay("q", ("s", "b", "a"), (0.1, 0.9, 0.5))
    assert shortened(example, 5, "best", "") == shortened(example, 9, "random", "") == example


@pytest.mark.parametrize("names", [("sparse", "dense", "dense-query"), ("dense", "static", "dense")])
def test_two_students_of_one_kind_are_refused(names):
    with pytest.raises(SettingError, match=f"has dense and {names[2]}, and both would be dense:adapted; name one"):
        check_students(names)


def test_an_unknown_student_is_named_with_the_nearest():
    with pytest.raises(SettingError, match=r"no distill.student named 'dense-qery'\. Did you mean 'dense-query'"):
        resolve(STAGES, {}, ["distill.student=dense-qery"])
    assert STUDENTS.keys() == STUDENT_KINDS.keys()
    check_students(("dense", "late-interaction-query"))


@pytest.mark.parametrize(
    ("changes", "n_processes", "said"),
    [
        (["distill.tune=epochs:1:2"], 2, "distill.tune takes one process"),
        (["distill.tune=epochs:1:2"], 1, None),
        ([], 2, None),
        (["label.normalize=none", "distill.mask_above=0.6"], 1, "mask_above is 0.6, a share of scores"),
        (["label.normalize=none", "distill.tune=mask_above:1:0.6"], 1, "mask_above is 0.6, a share of scores"),
        (["label.normalize=none", "distill.mask_above=0.6", "distill.loss=contrastive"], 1, None),
        (["distill.student=dense", "distill.tune=negatives:batch:corpus"], 1, "are available to dense"),
    ],
)
def test_what_no_student_could_learn_with_is_refused_before_the_run(changes, n_processes, said, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", str(n_processes))
    settings = resolve(STAGES, load_recipe("quick"), ["distill.base=some/base", "label.teachers=bm25", *changes])
    run: Any = SimpleNamespace(settings=settings)
    if said:
        with pytest.raises(SettingError, match=said):
            check(run, asks=False)
    else:
        check(run, asks=False)


def test_what_cannot_be_learned_from_is_refused(base, data, tmp_path):
    for sides in (([], DEV), (TRAIN, [])):
        for turns in ([sides], [(TRAIN, DEV), sides]):
            with pytest.raises(DataError, match="expected both"):
                distill(turns, base, data, tmp_path)
    with pytest.raises(DataError, match="without teacher scores"):
        distill([([TRAIN[0]._replace(scores=())], DEV)], base, data, tmp_path)
    for wrong in ({"contrastive": 1.5}, {"teacher_temperature": 0.0}, {"student_temperature": -1.0}):
        with pytest.raises(SettingError, match="expected"):
            distill([(TRAIN, DEV)], base, data, tmp_path, **wrong)
    assert list(tmp_path.iterdir()) == []
