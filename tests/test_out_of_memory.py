"""Models that fail above some batch size, wherever one is read or trained: the same numbers come out, in smaller parts.

Training that diverges is told at the step.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="torch is not installed")

from distilling import training_of
from easy_task import DEV as PAIRS_DEV
from easy_task import TRAIN as PAIRS_TRAIN
from easy_task import trained
from safetensors.torch import load_file
from test_memory import SAID
from tiny import write_cross_encoder, write_llama, write_t5

from acclimate.base import memory, models
from acclimate.base.errors import OutOfMemory, SettingError, is_out_of_memory
from acclimate.base.memory import Halving, batches
from acclimate.base.testing import DOCS, QUERIES
from acclimate.cli import main as cli
from acclimate.learn.rerankers import training
from acclimate.search import scorers
from acclimate.search.encoder import Encoder
from acclimate.search.scorers.yes_no import YesNo

CORPUS = {doc.doc_id: doc for doc in DOCS}
TEXTS = [doc.default_text() for doc in DOCS]
ASKED = [(query, doc.doc_id) for query in QUERIES[:3] for doc in DOCS[:7]]
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def exact(monkeypatch):
    monkeypatch.setattr(models, "dtype", lambda: torch.float32)


def with_room_for(module, most, error=SAID[0], *, learning=False):
    """Let a module fail above so many numbers of its first input; returns how many it was tried with."""
    tried = []

    def guard(_, args):
        if torch.is_grad_enabled() or not learning:
            tried.append(args[0].numel())
            if args[0].numel() > most:
                raise error

    module.register_forward_pre_hook(guard)
    return tried


def reading_with_room_for(reader, most):
    """The same of a reader of pairs whose model is no module."""
    read, tried = reader.logits, []

    def guarded(rows):
        tried.append(sum(map(len, rows["input_ids"])))
        if tried[-1] > most:
            raise SAID[0]
        return read(rows)

    reader.logits = guarded
    return tried


def embeddings(model):
    """What reads tokens; of a T5, those of its encoder."""
    body = model.encoder if hasattr(model, "encoder") else model
    return next(part for part in body.modules() if isinstance(part, torch.nn.Embedding))


@pytest.mark.parametrize("error", [*SAID, MemoryError()])
def test_texts_are_encoded_in_smaller_batches(error, tiny_encoder):
    plain, encoder = (Encoder.load(str(tiny_encoder), max_tokens=64) for _ in range(2))
    tried = with_room_for(embeddings(encoder.model), 300, error)
    for _ in range(2):
        tried.clear()
        for one, other in zip(encoder.encode(TEXTS), plain.encode(TEXTS), strict=True):
            assert one.pooled == pytest.approx(other.pooled, abs=1e-5)
            assert one.tokens == pytest.approx(other.tokens, abs=1e-5)
    assert max(tried) <= 300  # what had room is remembered


def test_one_text_that_does_not_fit_is_told_what_to_do(encoder):
    with_room_for(embeddings(encoder.model), 3)
    with pytest.raises(OutOfMemory, match=r"one text of \d+ tokens in .*; lower index.max_tokens"):
        encoder.encode(TEXTS)


def test_other_failures_are_not_taken_for_it(encoder):
    tried = with_room_for(embeddings(encoder.model), 3, RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes"):
        encoder.encode(TEXTS)
    assert len(tried) == 1
    assert not is_out_of_memory(ValueError("out of memory"))


@pytest.mark.parametrize("kind", ["cross-encoder", "monot5"])
def test_pairs_are_rated_in_smaller_batches(kind, tiny_encoder, tmp_path):
    cross = kind == "cross-encoder"
    path = write_cross_encoder(tmp_path, tiny_encoder) if cross else write_t5(tmp_path, TEXTS[0].split())
    plain, scorer = (scorers.load(path, CORPUS, max_tokens=64) for _ in range(2))
    reader = scorer.reader()
    tried = reading_with_room_for(reader, 200) if cross else with_room_for(embeddings(reader.model), 200)
    assert scorer.score(ASKED) == pytest.approx(plain.score(ASKED), abs=1e-4)
    assert max(tried) > 200


def test_queries_of_a_document_are_rated_in_smaller_batches(tmp_path):
    name = write_llama(tmp_path)
    plain, scorer = YesNo(name, CORPUS), YesNo(name, CORPUS)
    read, tried = scorer._reader.logits_of, []

    def guarded(starts, rows, of, tokens):
        tried.append(len(rows))
        if len(rows) > 4:
            raise SAID[0]
        return read(starts, rows, of, tokens)

    scorer._loaded.decoder.logits_of = guarded
    assert scorer.score(ASKED) == pytest.approx(plain.score(ASKED), abs=1e-3)
    assert tried[:3] == [21, 10, 5]


@pytest.mark.parametrize("name", ["dense", "dense-query"])
def test_a_student_encodes_less_at_once(name, base, data, tmp_path):
    plain = training_of(name, base, data, tmp_path / "plain", epochs=1).run(lambda step: None)
    one = training_of(name, base, data, tmp_path / "state", epochs=1)
    tried = with_room_for(embeddings(one.weights), 70, learning=True)
    assert one.run(lambda step: None) == pytest.approx(plain, abs=0.02)
    assert max(tried) > 70


def test_a_step_that_does_not_fit_is_told_what_to_lower(base, data, tmp_path):
    one = training_of("dense", base, data, tmp_path / "state", epochs=1)
    with_room_for(embeddings(one.weights), 3, learning=True)
    with pytest.raises(OutOfMemory, match=r"lower distill.batch_size"):
        one.run(lambda step: None)


def test_a_reranker_takes_the_same_steps_in_smaller_batches(tiny_encoder, tmp_path, monkeypatch):
    plain = trained(tiny_encoder, tmp_path / "plain", epochs=1)
    load, tried = training.load, []

    def guarded(wanted):
        model = load(wanted)
        tried.append((wanted.batch_size, wanted.gradient_accumulation))
        with_room_for(embeddings(model), 80, learning=True)
        return model

    monkeypatch.setattr(training, "load", guarded)
    made = trained(tiny_encoder, tmp_path / "halved", epochs=1)
    assert tried == [(4, 1), (2, 2)]
    (one,), (other,) = plain.notes["rerankers"], made.notes["rerankers"]
    assert [one[name] for name in ("steps", "effective_batch", "rows_seen")] == [
        other[name] for name in ("steps", "effective_batch", "rows_seen")
    ]
    weights = [load_file(result.path / "model.safetensors") for result in (plain, made)]
    for name, weight in weights[0].items():
        assert weights[1][name].numpy() == pytest.approx(weight.numpy(), abs=0.05), name  # dropout draws otherwise


def test_a_query_that_does_not_fit_is_told_what_to_lower(tiny_encoder, tmp_path, monkeypatch):
    load = training.load
    monkeypatch.setattr(
        training,
        "load",
        lambda wanted: (model := load(wanted), with_room_for(embeddings(model), 3, learning=True))[0],
    )
    with pytest.raises(OutOfMemory, match=r"lower train.batch_size"):
        trained(tiny_encoder, tmp_path, epochs=1)


def test_halves_keep_the_order_of_any_work():
    def work(rows):
        if sum(rows) > 9:
            raise MemoryError
        return [-row for row in rows]

    for rows in ([], [5], [9] * 8, list(range(10))):
        assert Halving()(work, rows, what="") == [-row for row in rows]
    halving = Halving()
    halving(lambda rows: work([9] * len(rows)), range(8), lengths=[10] * 8, what="")
    assert halving.max_size == 10
    sizes = []
    halving(lambda rows: (sizes.append(len(rows)), rows)[1], range(8), lengths=[5] * 8, what="")
    assert sizes == [2] * 4  # of shorter rows there is room for more
    halving(lambda rows: (sizes.append(len(rows)), rows)[1], range(2), lengths=[20] * 2, what="")
    assert sizes[4:] == [1, 1]  # of longer ones, for one at least


@settings(max_examples=30)
@given(st.lists(st.integers(1, 9), max_size=20), st.integers(9, 30), st.integers(1, 5))
def test_batches_are_of_rows_of_like_length_and_as_large_as_may_be(lengths, max_tokens, max_texts):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "_TEXTS_AT_ONCE", max_texts)
        groups = list(batches(lengths, max_tokens=max_tokens))
    assert [row for group in groups for row in group] == sorted(
        range(len(lengths)), key=lambda row: -lengths[row]
    )  # ties by position
    sizes = [(len(group), lengths[group[0]]) for group in groups]
    assert all(count <= max_texts and count * longest <= max_tokens for count, longest in sizes)
    assert all(count == max_texts or (count + 1) * longest > max_tokens for count, longest in sizes[:-1])


def test_one_row_is_tried_once_more_where_something_could_be_spared():
    tried = []

    def full(rows):
        tried.append(len(rows))
        raise MemoryError

    with pytest.raises(OutOfMemory, match="enough memory for it"):
        Halving()(full, [1, 2], what="it", free_caches=lambda: True)  # as one whose every try leaves something
    assert tried == [2, 1, 1]


@pytest.mark.parametrize("name", ["dense", "late-interaction-query", "static"])
def test_a_student_that_diverges_is_told_at_the_step(name, base, data, tmp_path):
    one = training_of(name, base, data, tmp_path / "state")
    steps = []

    def poison(step):
        steps.append(step)
        if step == 2:
            with torch.no_grad():
                next(weight for weight in one.weights.parameters() if weight.dim() == 2).fill_(float("nan"))

    rate = "table_learning_rate" if name == "static" else "learning_rate"
    with pytest.raises(
        SettingError, match=rf"student diverged: its loss is nan after 2 of 8 steps; lower distill.{rate}"
    ):
        one.run(poison)
    assert steps == [1, 2, 3, 4]  # up to where losses are looked at
    assert not (tmp_path / "state").exists()  # what is no number is not kept


def test_a_reranker_that_diverges_is_told_at_the_step(tiny_encoder, tmp_path, monkeypatch):
    load = training.load

    def poisoned(wanted):
        model = load(wanted)
        calls = []

        def guard(module, _, output):
            calls.extend([1] * torch.is_grad_enabled())
            return output * float("nan") if len(calls) > 2 else output

        embeddings(model).register_forward_hook(guard)
        return model

    monkeypatch.setattr(training, "load", poisoned)
    with pytest.raises(SettingError, match=r"diverged: its loss is nan after \d of 6 steps; lower train.learning_rate"):
        trained(tiny_encoder, tmp_path, PAIRS_TRAIN, PAIRS_DEV, epochs=1)


@pytest.mark.parametrize("error", [*SAID, MemoryError()])
def test_wherever_else_memory_runs_out_the_command_line_says_so(error, monkeypatch, capsys):
    def full(*_, **__):
        raise error

    monkeypatch.setattr(cli, "check_arguments", full)
    assert cli.main([]) == 2
    assert "memory" in capsys.readouterr().err
    monkeypatch.setattr(cli, "check_arguments", lambda _: [][0])
    with pytest.raises(IndexError):
        cli.main([])
