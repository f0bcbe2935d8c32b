"""Sparse and static students: folders that plain libraries load, starts that find something."""

from __future__ import annotations

import json
import random
import tempfile

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from sentence_transformers import SentenceTransformer, SparseEncoder

from acclimate.base.digests import folder_fingerprint
from acclimate.base.errors import SettingError
from acclimate.base.testing import DOCS, QUERIES
from acclimate.learn.students import kinds, sparse, static
from acclimate.learn.students.losses import DistillationLoss
from acclimate.learn.students.occurrences import count_occurrences
from acclimate.learn.students.training import StudentTraining
from acclimate.records import NWay, Query
from acclimate.search.encoder import Encoder
from acclimate.search.members import DenseMember, Ids, SparseMember
from acclimate.search.sparse import Head, SparseIndex, build, centered
from acclimate.search.sparse_query import SparseQuery
from acclimate.search.static import StaticQuery, token_ids
from acclimate.search.system import System
from acclimate.search.views import Views
from acclimate.stages.distill import distill

IDS = Ids([doc.doc_id for doc in DOCS])
LEARN = {"epochs": 2, "batch_size": 8, "table_learning_rate": 5e-3}
STRANGE = ["", "   ", "zzzz qqqq", "[SEP]", "the " * 200]


def examples(numbers):
    made = []
    for number in numbers:
        others = random.Random(number).sample([doc.doc_id for at, doc in enumerate(DOCS) if at != number], 7)
        made.append(NWay(QUERIES[number].query_id, (DOCS[number].doc_id, *others), (1.0, *[0.1] * 7)))
    return made


TRAIN, DEV = examples(range(32)), examples(range(0, 32, 4))


@pytest.fixture(scope="module")
def trained(base, data, tmp_path_factory):
    """(folder, notes) of both students."""
    folder = tmp_path_factory.mktemp("distill")
    return folder, distill([(TRAIN, DEV)], base, data, folder, student=("sparse", "static"), **LEARN)


@pytest.fixture(scope="module")
def untrained(base, data):
    """The untrained sparse student, and the untrained table of the static one."""
    return sparse.Sparse(base, data, "list", sparsity=0.25), static.start(base, data)


def sparse_member(folder, data, index, most=0):
    head, size = Head.open(folder)
    build(data.vectors, head, size, index, max_active_dims=most)
    return SparseMember(SparseIndex.open(index), SparseQuery.open(folder))


def test_both_learn_and_say_how_it_went(trained):
    folder, notes = trained
    models = sorted(path.name for path in folder.iterdir() if path.is_dir())
    assert models == ["sparse", "sparse-start", "static", "static-start"]
    for kind in ("sparse", "static"):
        assert min(notes[kind]["dev_loss"][1:]) < notes[kind]["dev_loss"][0]
    assert notes["static"]["keeps_index"]
    assert not notes["sparse"]["keeps_index"]
    assert 0 < notes["sparse"]["query_dims"] < 20


def test_a_sparse_student_starts_as_discriminants_of_its_tokens_and_static_as_their_means(untrained, base, data):
    weights, corpus = untrained[0].encoder.model, count_occurrences(base, data, centered)
    head, live = weights.head(), np.flatnonzero(corpus.counts)
    assert head.tokens.tolist() == live.tolist()
    assert np.allclose(weights.query_weights().detach().numpy(), corpus.idf()[live])
    mean = corpus.sums.sum(axis=0) / corpus.counts.sum()
    covariance = corpus.products / corpus.counts.sum() - np.outer(mean, mean)
    covariance += 0.05 * np.trace(covariance) / len(mean) * np.eye(len(mean))
    away = corpus.sums[live] / corpus.counts[live, None] - mean
    apart = head.weights @ covariance
    lengths = np.linalg.norm(away, axis=1) * np.linalg.norm(apart, axis=1)
    assert np.allclose((away * apart).sum(axis=1), lengths, rtol=1e-3)

    table, corpus = untrained[1].table.detach().numpy(), count_occurrences(base, data, lambda vectors: vectors)
    expected = corpus.sums / np.maximum(corpus.counts, 1)[:, None] * corpus.idf()[:, None]
    assert np.allclose(table / np.linalg.norm(table), expected / np.linalg.norm(expected), atol=1e-6)
    assert np.linalg.norm(table[live], axis=1).mean() == pytest.approx(1)


def test_spans_are_stretches_of_any_part_of_their_own_document(untrained, data):
    tokenizer, places = untrained[1].tokenizer, set()
    for step in range(3):
        spans = static._spans(tokenizer, data, sorted(data.ids.doc_ids), step)
        assert len(spans.texts.starts) == len(spans.documents) == len(DOCS)
        ends = [*spans.texts.starts[1:].tolist(), len(spans.texts.tokens)]
        for start, end, vector in zip(spans.texts.starts.tolist(), ends, spans.documents, strict=True):
            row = int((torch.from_numpy(data.vectors.pooled) @ vector).argmax())
            (whole,) = token_ids(tokenizer, data.document_texts([data.ids.doc_ids[row]]))
            span = spans.texts.tokens[start:end].tolist()
            where = [place for place in range(len(whole)) if whole[place : place + len(span)] == span]
            assert where
            assert min(4, len(whole)) <= len(span) <= 24
            places |= {(where[0] > 0, where[-1] + len(span) == len(whole))}
    assert len(places) == 4  # at the beginning, at the end, in the middle, and whole


@pytest.mark.parametrize("name", ["dense-query", "sparse", "static"])
def test_a_saved_student_has_the_prompt_of_its_documents(name, base, data, tmp_path):
    prompted = base.copy()
    student = kinds.STUDENTS[name].make(prompted, data)
    prompted.prompts = {**prompted.prompts, "document": "salt : "}
    kinds.save(student, prompted, tmp_path / name)
    loaded = json.loads((tmp_path / name / "config_sentence_transformers.json").read_text(encoding="utf-8"))
    assert loaded["prompts"]["document"] == "salt : "


def test_what_a_sparse_student_compares_is_what_search_computes_and_its_cost_is_penalized(
    untrained, base, data, tmp_path
):
    student = untrained[0]
    (similarities,) = student.similarities(read := student.read(TRAIN[:4]))
    build(data.vectors, student.encoder.model.head(), student.encoder.model.n_vocabulary, tmp_path, max_active_dims=0)
    member = SparseMember(SparseIndex.open(tmp_path), student.encoder.model.query(base.model.tokenizer))
    for example, scores in zip(TRAIN[:4], similarities.scores[0], strict=True):
        (view,) = member.views([query for query in QUERIES if query.query_id == example.query_id], [], Views())
        expected = view.all_scores()[[data.ids.row[doc_id] for doc_id in example.doc_ids]]
        assert scores.detach().numpy() == pytest.approx(expected, abs=0.02 * float(expected.max()))
    documents = student.encoder.model.activations(read.vectors, read.lengths, read.tokens).detach()
    assert student.penalty().item() == pytest.approx(0.25 * (documents.mean(dim=0) ** 2).sum().item())


def test_a_sparse_student_learns_from_the_tokens_that_search_asks_for(tiny_encoder, data):
    prompted = Encoder.load(str(tiny_encoder), max_tokens=64, prompts={"query": "volcano : "})
    student = sparse.Sparse(prompted, data, "batch")
    plain = sparse.Sparse(Encoder.load(str(tiny_encoder), max_tokens=64), data, "batch")
    (ours,), (others,) = (each.similarities(each.read(TRAIN[:4])) for each in (student, plain))
    assert torch.allclose(ours.log_probs(3.0), others.log_probs(3.0), atol=1e-5)


def test_where_only_queries_learn_documents_stay_as_they_were(base, data, tmp_path):
    notes = distill([(TRAIN, DEV)], base, data, tmp_path, student=("sparse-query",), **LEARN)
    assert notes["sparse"]["keeps_index"]
    before, after = (Head.open(tmp_path / name)[0] for name in ("sparse-start", "sparse"))
    assert np.array_equal(before.weights, after.weights)
    assert np.array_equal(before.bias, after.bias)
    queries = [SparseQuery.open(tmp_path / name).weights for name in ("sparse-start", "sparse")]
    assert np.abs(queries[0] - queries[1]).max() > 1e-3
    assert min(notes["sparse"]["dev_loss"][1:]) < notes["sparse"]["dev_loss"][0]


def test_what_is_saved_is_the_head_that_was_made(trained, untrained):
    made = untrained[0].encoder.model
    head, size = Head.open(trained[0] / "sparse-start")
    assert size == made.n_vocabulary
    assert head.tokens.tolist() == made.head().tokens.tolist()
    assert head.weights == pytest.approx(made.head().weights)
    assert head.bias == pytest.approx(made.head().bias)
    assert SparseQuery.open(trained[0] / "sparse-start").weights == pytest.approx(made.query(None).weights)


@pytest.mark.parametrize("name", ["sparse-start", "sparse"])
def test_plain_sparse_encoder_ranks_as_the_index_does(trained, data, tmp_path, name):
    member = sparse_member(trained[0] / name, data, tmp_path)
    plain = SparseEncoder(str(trained[0] / name), device="cpu")
    documents = plain.encode_document([doc.default_text() for doc in DOCS], convert_to_sparse_tensor=False)
    queries = plain.encode_query([query.text for query in QUERIES], convert_to_sparse_tensor=False)
    assert torch.equal(plain.encode([query.text for query in QUERIES], convert_to_sparse_tensor=False), queries)
    assert (documents > 0).sum().item() / 40 == pytest.approx(member.index.active_dims, rel=0.1)
    for query, vector in zip(QUERIES, queries, strict=True):
        expected = (documents @ vector).numpy()
        # The index reads vectors in half precision, and thresholds make small differences larger.
        assert member.views([query], [], Views())[0].all_scores() == pytest.approx(
            expected, abs=0.1 * float(expected.max())
        )


@pytest.mark.parametrize("name", ["static-start", "static"])
def test_plain_sentence_transformer_encodes_as_the_static_member_does(trained, base, name):
    ours = StaticQuery.open(trained[0] / name)
    plain = SentenceTransformer(str(trained[0] / name), device="cpu")
    texts = [query.text for query in QUERIES]
    assert np.stack([one.pooled for one in ours.encode(texts)]) == pytest.approx(plain.encode_query(texts), abs=1e-6)
    assert np.array_equal(plain.encode(texts), plain.encode_query(texts))
    document = [DOCS[0].default_text()]
    assert plain.encode_document(document)[0] == pytest.approx(base.model.encode(document)[0], abs=1e-5)


def test_the_untouched_static_start_has_learned_nothing(trained, untrained, base, data, tmp_path):
    untouched = untrained[1].table.detach().numpy()
    assert StaticQuery.open(trained[0] / "static-start").table == pytest.approx(untouched)
    student = static.Static(base, data, "corpus")
    settings = {"epochs": 2, "batch_size": 8, "learning_rate": 5e-3, "seed": 0, "schedule": "linear"}

    def loss():
        temperature = kinds.STUDENTS["static"].temperature
        loss = DistillationLoss(student_temperature=temperature)
        return StudentTraining(student, TRAIN, DEV, loss, tmp_path / "x", **settings).dev_loss()

    before = loss()
    student.warm_up()
    assert loss() == pytest.approx(trained[1]["static"]["dev_loss"][0], abs=1e-4) != before
    assert np.abs(student.encoder.model.table.detach().numpy() - untouched).max() > 1e-3


def test_a_warm_up_reads_about_five_spans_of_each_document(base, data, monkeypatch):
    read, spans = [], static._spans
    monkeypatch.setattr(static, "_FEWEST_STEPS", 1)
    monkeypatch.setattr(static, "_BATCH", 16)
    monkeypatch.setattr(static, "_spans", lambda *of: read.append(spans(*of)) or read[-1])
    static.Static(base, data, "corpus").warm_up()
    assert len(read) == 5 * len(DOCS) // 16
    assert all(len(step.documents) == len(DOCS) for step in read)


def test_the_untouched_starts_find_better_than_chance(trained, data, tmp_path):
    members = {
        "sparse": sparse_member(trained[0] / "sparse-start", data, tmp_path),
        "static": DenseMember(data.vectors, StaticQuery.open(trained[0] / "static-start")),
    }
    for name in members:
        found = System(IDS, members, [name], {name: 1.0}).search(QUERIES, 3)
        right = {(query.query_id, doc.doc_id) for query, doc in zip(QUERIES, DOCS, strict=True)}
        assert sum((hit.query_id, hit.doc_id) in right for hit in found) > 12  # by chance: 3 of 40


def test_odd_queries_crash_nothing(trained, data, tmp_path):
    members = {
        "sparse": sparse_member(trained[0] / "sparse", data, tmp_path),
        "static": DenseMember(data.vectors, StaticQuery.open(trained[0] / "static")),
    }
    queries = [Query(f"s{at}", text) for at, text in enumerate(STRANGE)]
    for name in members:
        found = System(IDS, members, [name], {name: 1.0}).search(queries, 5)
        assert all(np.isfinite(hit.score) for hit in found)
        unknown = System(IDS, members, [name], {name: 1.0}).search(queries[:4], 5)
        assert unknown == []  # nothing shared, nothing found


def test_the_same_bytes_twice_and_from_shuffled_examples(trained, base, data, tmp_path):
    shuffled = random.Random(1).sample(TRAIN, len(TRAIN))
    distill([(shuffled, DEV)], base, data, tmp_path, student=("sparse", "static"), **LEARN)
    assert folder_fingerprint(tmp_path) == folder_fingerprint(trained[0])


def test_sparsity_makes_fewer_active_dimensions(base, data, tmp_path):
    active = []
    for sparsity in (0.0, 1.0):
        folder = tmp_path / str(sparsity)
        distill([(TRAIN, DEV)], base, data, folder, student=("sparse",), sparsity=sparsity, **LEARN)
        active.append(sparse_member(folder / "sparse", data, folder / "index").index.active_dims)
    assert active[1] < active[0]


def test_a_document_keeps_its_largest_weights(trained, data, tmp_path):
    whole = sparse_member(trained[0] / "sparse", data, tmp_path / "a").index
    cut = sparse_member(trained[0] / "sparse", data, tmp_path / "b", most=4).index
    assert np.bincount(cut.documents, minlength=40).max() == 4
    assert cut.nbytes < whole.nbytes
    assert np.sort(cut.weights)[0] >= np.median(whole.weights) / 2


def test_a_base_without_a_place_for_a_head_is_refused(base, data):
    other = base.copy()
    other.model[0].model.config.model_type = "t5"
    with pytest.raises(SettingError, match="is a t5 model"):
        sparse.start(other, data)


def test_a_base_with_more_embeddings_than_tokens_makes_a_sparse_student(base, data, tmp_path):
    padded = base.copy()
    padded.model[0].model.resize_token_embeddings(len(base.model.tokenizer) + 7)
    distill([(TRAIN, DEV)], padded, data, tmp_path, student=("sparse",), **LEARN)
    member = sparse_member(tmp_path / "sparse", data, tmp_path / "index")
    plain = SparseEncoder(str(tmp_path / "sparse"), device="cpu")
    document, query = plain.encode_document(DOCS[0].default_text()), plain.encode_query(QUERIES[0].text)
    expected = float(document.to_dense() @ query.to_dense())
    assert member.views(QUERIES[:1], [], Views())[0].all_scores()[0] == pytest.approx(expected, rel=0.1)


def test_a_token_whose_bias_is_very_low_is_indexed_as_plain_libraries_see_it(base, data, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "full"))  # what is written is beside what is made
    made = sparse.Sparse(base, data, "batch")
    with torch.no_grad():
        made.encoder.model.bias[3] = -70.0
    (tmp_path / "student").mkdir()
    sparse.save(made.encoder, tmp_path / "student")
    assert [path.name for path in tmp_path.iterdir()] == ["student"]
    assert Head.open(tmp_path / "student")[0].tokens.tolist() == made.encoder.model.tokens.tolist()
