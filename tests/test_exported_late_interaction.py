"""Late interaction as PyLate and ColBERT save it: read back, it makes our vectors."""

from __future__ import annotations

import json
import shutil

import pytest

torch = pytest.importorskip("torch")
from safetensors.torch import load_file, save_file

import acclimate
from acclimate.base.errors import DataError
from acclimate.base.testing import DOCS
from acclimate.deploy.exports import model_checks as checks
from acclimate.deploy.exports.late_interaction_folders import reading_of, write_colbert, write_pylate
from acclimate.deploy.exports.model_sides import TASKS, Side
from acclimate.search.encoder import Encoder
from acclimate.search.members import LateInteractionMember
from acclimate.search.vectors import TOKENS, encode_corpus

TEXTS = ["lava and ash", "cheese, pressed!", "a"]


@pytest.fixture(scope="module")
def colbert(tiny_encoder, tmp_path_factory):
    """A checkpoint of ColBERT with random weights, read."""
    folder = tmp_path_factory.mktemp("colbert")
    weights = {f"bert.{name}": value for name, value in load_file(tiny_encoder / "model.safetensors").items()}
    torch.manual_seed(0)
    save_file(weights | {"linear.weight": torch.randn(16, 32)}, folder / "model.safetensors", {"format": "pt"})
    config = json.loads((tiny_encoder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"architectures": ["HF_ColBERT"]}))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tiny_encoder / name, folder)
    said = {"dim": 16, "query_maxlen": 12, "doc_maxlen": 20, "mask_punctuation": True}
    (folder / "artifact.metadata").write_text(json.dumps(said))
    return Encoder.load(str(folder), max_tokens=48)


@pytest.mark.parametrize("write", [write_pylate, write_colbert])
def test_a_colbert_comes_back_with_its_marks_lengths_and_vectors(colbert, tmp_path, write):
    query, document = (Side(task, "late-interaction", list(colbert.model), colbert.prompts[task], 48) for task in TASKS)
    reading = reading_of(query, document)
    assert (reading.query_length, reading.document_length, reading.is_filled) == (12, 20, True)
    write(query, reading, tmp_path)
    again = Encoder.load(str(tmp_path), max_tokens=48)
    for task in TASKS:
        for ours, theirs in zip(colbert.encode(TEXTS, task), again.encode(TEXTS, task), strict=True):
            assert theirs.tokens == pytest.approx(ours.tokens, abs=1e-5)


def test_a_student_is_written_for_pylate_without_marks_and_with_the_identity(finished, tmp_path):
    export = acclimate.open(finished).export("pylate", tmp_path / "out", system="late-interaction:adapted")
    folder = export.folder / "late-interaction-adapted" / "query"
    config = json.loads((folder / "config_sentence_transformers.json").read_text())
    assert (config["query_prefix"], config["do_query_expansion"], config["model_type"]) == ("", False, "ColBERT")
    assert {"[CLS]", "[SEP]"} <= set(config["skiplist_words"])
    assert torch.equal(load_file(folder / "1_Dense" / "model.safetensors")["linear.weight"], torch.eye(32))
    assert min(export.manifest["notes"]["late-interaction:adapted"].values()) > 0.999
    assert export.counts == {"models": 2}
    assert export.manifest["notes"]["top ten, without the vectors of [CLS] and [SEP],"] == pytest.approx(1, abs=0.03)


def test_colbert_would_read_other_texts_than_such_a_student_knows(finished, tmp_path):
    with pytest.raises(DataError, match=r"ColBERT adds a marker to every text .* use the format pylate"):
        acclimate.open(finished).export("colbert", tmp_path / "out", system="late-interaction:adapted")
    assert not any(tmp_path.iterdir())  # nothing is left where nothing was written


def test_a_system_without_late_interaction_has_none_to_write(finished, tmp_path):
    with pytest.raises(DataError, match="dense has no late interaction; expected another system, with --system"):
        acclimate.open(finished).export("pylate", tmp_path / "out", system="dense")


@pytest.mark.parametrize("tokens_as", TOKENS)
def test_documents_are_compared_with_an_index_as_far_as_it_rounds(tokens_as, base, tmp_path):
    vectors = encode_corpus(base, {doc.doc_id: doc for doc in DOCS}, tmp_path, tokens_as=tokens_as)
    member = LateInteractionMember(vectors, base)
    ours = [vectors.gather([row])[0] for row in range(len(DOCS))]
    theirs = [encoded.tokens for encoded in base.encode([doc.default_text() for doc in DOCS], "document")]
    assert (checks.least_cosine(ours, theirs) > checks.LEAST_COSINE["float32"]) is (tokens_as == "int8")
    assert 0.9999 < checks.least_cosine_of_documents(member, ours, theirs) <= 1
    nothing = [vectors[:0] for vectors in theirs]  # as of texts of special tokens alone
    assert checks.least_cosine_of_documents(member, ours, [*nothing[:1], *theirs[1:]]) > 0.9999
    assert checks.least_cosine(ours, nothing) == -1
    noise = torch.Generator().manual_seed(0)
    others = [of_doc + 0.02 * torch.randn(of_doc.shape, generator=noise).numpy() for of_doc in theirs]
    assert checks.least_cosine_of_documents(member, ours, others) < checks.LEAST_COSINE["float32"]
    assert checks.least_cosine_of_documents(member, ours, [*others[1:], others[0]]) < 0
