"""Where models and their inputs are: on `models.device()`, whatever is loaded, copied, trained, searched or saved.

The device is one of `fake_device`, which mixes with the CPU as little as a GPU does.
"""

from __future__ import annotations

import inspect
import random
from collections.abc import Mapping

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from fake_device import NAME, waits
from sentence_transformers.base.modules import Transformer
from test_encoder import make
from tiny import PROMPTS, write_cross_encoder, write_llama, write_t5
from torch.utils._pytree import tree_leaves

from acclimate.base.testing import DOCS, QUERIES
from acclimate.learn.rerankers import training
from acclimate.learn.rerankers.hyperparameters import Hyperparameters
from acclimate.learn.rerankers.losses import LOSSES, pairs
from acclimate.learn.rerankers.ranking import rank_held_out
from acclimate.learn.rerankers.texts import Texts
from acclimate.learn.students.kinds import STUDENTS, save
from acclimate.learn.students.losses import DistillationLoss
from acclimate.learn.students.training import StudentTraining
from acclimate.learn.students.training_data import TrainingData
from acclimate.llm.backends.local import LocalLLM
from acclimate.llm.decoders.generic import Generic
from acclimate.llm.decoders.packed import Packed
from acclimate.llm.decoding import Decoding
from acclimate.records import NWay
from acclimate.search import scorers
from acclimate.search.encoder import Encoder
from acclimate.search.members import Ids
from acclimate.search.scorers.ensemble import Ensemble
from acclimate.search.scorers.likelihood import Likelihood
from acclimate.search.scorers.yes_no import YesNo
from acclimate.search.students import Students
from acclimate.search.system import System
from acclimate.search.vectors import encode_corpus
from acclimate.stages.distill import distill
from acclimate.stages.train import train

pytestmark = pytest.mark.filterwarnings("ignore")

CORPUS = {doc.doc_id: doc for doc in DOCS}
ASKED = [(QUERIES[0], doc.doc_id) for doc in DOCS[:3]]


def examples(numbers):
    made = []
    for number in numbers:
        others = random.Random(number).sample([doc.doc_id for at, doc in enumerate(DOCS) if at != number], 3)
        made.append(NWay(QUERIES[number].query_id, (DOCS[number].doc_id, *others), (1.0, 0.5, 0.2, 0.1)))
    return made


def places(module):
    """Where the weights and buffers of a module are."""
    return {tensor.device.type for tensor in (*module.parameters(), *module.buffers())}


def runs_of(module):
    """Note every time that a module is run."""
    runs = []
    module.register_forward_pre_hook(lambda *_: runs.append(1))
    return runs


def used(module):
    """Note where inputs of a module are, every time that it is run."""
    seen = []

    def note(_, args, kwargs):
        plain = [dict(one) if isinstance(one, Mapping) else one for one in args]  # a BatchEncoding is no tree
        seen.extend(one.device.type for one in tree_leaves((plain, kwargs)) if isinstance(one, torch.Tensor))

    module.register_forward_pre_hook(note, with_kwargs=True)
    return seen


def state(student, base):
    """All that a student shares with others, as far as saving could change it."""
    encoders = [base, student.encoder] if isinstance(student.encoder, Encoder) else [base, student.encoder.body]
    weights = [
        (name, id(tensor), tensor.device.type, tensor.requires_grad)
        for module in (*(encoder.model for encoder in encoders), student.encoder.model)
        for name, tensor in (*module.named_parameters(), *module.named_buffers())
    ]
    modes = [part.training for encoder in encoders for part in encoder.model.modules()]
    cuts = [encoder.model.tokenizer.backend_tokenizer.truncation for encoder in encoders]
    limits = [(encoder.model.max_seq_length, dict(encoder.model.prompts)) for encoder in encoders]
    return weights, modes, cuts, limits


def taught(base, folder):
    vectors = encode_corpus(base, CORPUS, folder / "vectors")
    return TrainingData({query.query_id: query.text for query in QUERIES}, CORPUS, Ids(list(CORPUS)), vectors)


@pytest.mark.parametrize("name", STUDENTS)
def test_a_student_is_made_trained_and_searched_on_the_device(name, as_cuda, tiny_encoder, tmp_path):
    base = Encoder.load(str(tiny_encoder), max_tokens=64)
    assert places(base.model) == places(base.copy().model) == {NAME}
    data = taught(base, tmp_path)
    sides = examples(range(8)), examples(range(8, 12))
    notes = distill([sides], base, data, tmp_path, student=(name,), epochs=1, learning_rate=1e-3)
    assert places(base.model) == {NAME}
    found = Students(tmp_path, notes, lambda: data.vectors, CORPUS, max_tokens=64, max_active_dims=16)
    found = Students(tmp_path, found.index(), lambda: data.vectors, CORPUS, max_tokens=64, max_active_dims=16)
    weights = dict.fromkeys(members := found.members(), 1.0)
    hits = list(System(data.ids, members, list(members), weights, 5).candidates(QUERIES[:2]))
    assert len(hits) == 2


@pytest.mark.parametrize("loss", ["kl", "margin-mse"])
@pytest.mark.parametrize("name", STUDENTS)
def test_a_step_of_training_waits_for_no_number_of_the_device(name, loss, as_cuda, tiny_encoder, tmp_path):
    base = Encoder.load(str(tiny_encoder), max_tokens=64)
    student = STUDENTS[name].make(base.copy(), taught(base, tmp_path))
    lists = [*examples(range(8)), *(one._replace(has_positive=False) for one in examples(range(8, 12)))]
    training = StudentTraining(
        student,
        lists,
        examples(range(12, 14)),
        DistillationLoss(loss, mask_above=0.4),
        tmp_path / "state",
        epochs=0,
        max_steps=6,
        evaluations=1,
        learning_rate=1e-3,
        batch_size=4,
        seed=0,
        schedule="linear",
    )
    forward_passes = runs_of(student.encoder.model) if isinstance(student.encoder, Encoder) else []
    waited = []

    def note(step):
        # transformers asks, at each forward pass, whether any token is masked.
        waited.append([len(waits) - len(forward_passes), {*waits} - {"aten._local_scalar_dense.default"}])
        waits.clear()
        forward_passes.clear()

    training.run(note)
    assert waited[1:] == [[0, set()]] * 5
    assert waits  # at the end


@pytest.mark.parametrize("name", STUDENTS)
def test_saving_a_student_changes_nothing_that_is_in_use(name, elsewhere, tiny_encoder, tmp_path):
    base = Encoder.load(str(tiny_encoder), max_tokens=64)
    student = STUDENTS[name].make(base.copy(), taught(base, tmp_path))
    before = state(student, base)
    save(student, base, tmp_path / "saved")
    assert state(student, base) == before


def test_training_that_was_interrupted_goes_on_on_the_device(as_cuda, tiny_encoder, tmp_path):
    base = Encoder.load(str(tiny_encoder), max_tokens=64)
    data = taught(base, tmp_path)

    def training_from_start():
        student = STUDENTS["dense-query"].make(base.copy(), data)
        sides = examples(range(4)), examples(range(4, 6))
        return StudentTraining(
            student,
            *sides,
            DistillationLoss(),
            tmp_path / "state",
            epochs=2,
            learning_rate=1e-3,
            batch_size=4,
            seed=0,
            schedule="linear",
        )

    def stop(step):
        if step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training_from_start().run(stop)
    (again := training_from_start()).run(lambda step: None)
    moments = [one for slots in again.optimizer.state.values() for name, one in slots.items() if name != "step"]
    assert {one.device.type for one in moments} == places(again.weights) == {NAME}


@pytest.mark.parametrize("kind", ["plain", "prompts not pooled", "colbert", "colbert-min"])
def test_every_kind_of_encoder_reads_on_the_device(kind, as_cuda, tiny_encoder, tmp_path):
    make(kind, Transformer.load(str(tiny_encoder))).save_pretrained(str(tmp_path / "model"), create_model_card=False)
    encoder = Encoder.load(str(tmp_path / "model"), max_tokens=64)
    seen = used(encoder.model[-1])
    for task in ("query", "document"):
        assert all(np.isfinite(one.pooled).all() for one in encoder.encode(["rice and fish", "", "moon"], task))
    assert set(seen) == {NAME}


def rerankers(folder, encoder):
    words = [word for doc in DOCS for word in doc.default_text().split()][:300]
    return {
        "cross-encoder": lambda: write_cross_encoder(folder / "cross", encoder),
        "monot5": lambda: write_t5(folder / "t5", words),
        "decoder": lambda: write_llama(folder / "llama", texts=["Answer: yes", "Answer: no"] * 9),
    }  # each writes one


@pytest.mark.parametrize("kind", ["cross-encoder", "monot5", "decoder"])
def test_rerankers_of_every_kind_rate_and_learn_on_the_device(kind, as_cuda, tiny_encoder, tmp_path):
    base = rerankers(tmp_path, tiny_encoder)[kind]()
    given = {"base": base, "max_tokens": 96, "lora_rank": 0, "precision": "float32"}
    defaults = {name: one.default for name, one in inspect.signature(train).parameters.items()} | given
    model = training.load(Hyperparameters(**{name: defaults[name] for name in Hyperparameters.__dataclass_fields__}))
    seen = used(model)
    assert places(model) == {NAME}
    lists = examples(range(3))
    texts = Texts({query.query_id: query.text for query in QUERIES}, CORPUS)
    assert np.isfinite(rank_held_out(model, 96, lists, texts).spread)
    for name in ("listwise", "bce", "token") if kind != "cross-encoder" else set(LOSSES) - {"token"}:
        rows = LOSSES[name].dataset(lists, texts)
        *columns, labels = (list(rows[column]) for column in rows.column_names)
        is_ragged = LOSSES[name].dataset is not pairs and name != "margin-mse"
        on = [torch.tensor(one).to(NAME) for one in labels] if is_ragged else torch.tensor(labels).to(NAME)
        model.zero_grad()
        LOSSES[name].make(model, lists, 2)(columns, on).backward()
        assert {weight.grad.device.type for weight in model.parameters() if weight.grad is not None} == {NAME}
    assert set(seen) == {NAME}
    folder = tmp_path / "saved"
    training._save(model, folder)
    assert places(model) == {NAME}
    scorer = scorers.load(folder, CORPUS, max_tokens=96)
    assert np.isfinite(Ensemble({"a": scorer, "b": scorer}).score(ASKED)).all()


@pytest.mark.parametrize(
    ("kind", "temperature"), [("llama", 0.0), ("llama", 1.0), ("fixed llama", 0.0), ("generic", 0.0), ("t5", 0.0)]
)
def test_llms_answer_on_the_device(kind, temperature, as_cuda, tmp_path):
    name = write_t5(tmp_path / "t5", ["some", "words"]) if kind == "t5" else write_llama(tmp_path / "llama")
    llm = LocalLLM(name, Decoding(4, temperature=temperature))
    if kind == "generic":
        llm._loaded.__dict__["decoder"] = Generic(llm._loaded.model)
    if kind == "fixed llama":
        llm._loaded.__dict__["decoder"] = Packed(llm._loaded.model, for_gpu=True)
    assert places(llm._loaded.model) == {NAME}
    assert len(llm.complete(PROMPTS)) == len(PROMPTS)
    if kind != "t5":
        for scorer in (YesNo(name, CORPUS), Likelihood(name, CORPUS)):
            scorer.__dict__["_loaded"] = llm._loaded
            assert np.isfinite(scorer.score(ASKED)).all()
