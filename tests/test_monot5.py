"""Language models as rerankers: what they are asked, whose tokens count, what is cut, and that plain ones agree."""

from __future__ import annotations

import json
import shutil
import warnings
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from easy_task import BAD, CORPUS, DEV, GOOD, LEARN, QUERY, TEXTS, TRAIN
from tiny import write_gguf, write_llama, write_t5

from acclimate.base import models, progress
from acclimate.base.digests import folder_fingerprint
from acclimate.base.errors import DataError, MissingExtra, SettingError
from acclimate.learn.rerankers.checks import check_base
from acclimate.learn.rerankers.ranking import rank_held_out
from acclimate.learn.rerankers.texts import Texts
from acclimate.records import Doc
from acclimate.search import scorers
from acclimate.search.scorers import named, template
from acclimate.search.scorers.decoder import Decoder
from acclimate.search.scorers.monot5 import MonoT5
from acclimate.search.scorers.pairs import Lengths
from acclimate.stages.train import train

WORDS = sorted({word for doc in CORPUS.values() for word in doc.text.split()} | set("what about food".split()))
PAIRS = [(QUERY, doc_id) for doc_id in CORPUS]
LEARNING = {**LEARN, "learning_rate": 1e-2, "epochs": 2}


def trained(base, folder, **changes):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return train(TRAIN, DEV, TEXTS, CORPUS, folder, base=str(base), **{**LEARNING, **changes})


@pytest.fixture(scope="module")
def t5(tmp_path_factory):
    return write_t5(tmp_path_factory.mktemp("t5"), WORDS)


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return write_llama(tmp_path_factory.mktemp("llama"), texts=["Answer: yes", "Answer: no"] * 9)


@pytest.fixture(scope="module")
def made(t5, tmp_path_factory):
    return trained(t5, tmp_path_factory.mktemp("monot5"))


def test_the_loss_of_an_answer_is_that_of_transformers_its_end_included(t5):
    reader = MonoT5.of(str(t5), Lengths(64)).eval()
    is_true = torch.tensor([True, False, False, True, False])
    features = reader.preprocess([(QUERY.text, CORPUS[doc_id].text) for doc_id in list(CORPUS)[: len(is_true)]])
    labels = reader.tokenizer(["true" if each else "false" for each in is_true], padding=True, return_tensors="pt")
    ids = labels["input_ids"].masked_fill(labels["attention_mask"] == 0, -100)
    assert (ids == reader.tokenizer.eos_token_id).sum() == len(is_true)
    expected = reader.model(**features, labels=ids).loss
    assert reader({**features, "is_true": is_true})["loss"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_held_out_lists_are_ranked_without_dropout(t5):
    model: Any = torch.nn.Sequential(MonoT5.of(str(t5), Lengths(64)))
    rankings = [rank_held_out(model.train(), 64, DEV, Texts(TEXTS, CORPUS)) for _ in range(2)]
    assert rankings[0] == rankings[1] == rank_held_out(model.eval(), 64, DEV, Texts(TEXTS, CORPUS))


def test_a_decoder_learns_the_first_token_of_its_answer(llama):
    reader = Decoder.of(str(llama), Lengths(64), is_new=True).eval()
    features = reader.preprocess([(QUERY.text, CORPUS[doc_id].text) for doc_id in list(CORPUS)[:2]])
    wanted = torch.tensor([reader.false_id, reader.true_id])
    expected = torch.nn.functional.cross_entropy(reader.first_logits(features).float(), wanted)
    learned = reader({**features, "is_true": torch.tensor([False, True])})["loss"]
    assert learned.item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.fixture(scope="module")
def adapted(llama, tmp_path_factory):
    pytest.importorskip("peft", reason="peft is not installed")
    return trained(llama, tmp_path_factory.mktemp("lora"), max_tokens=64)


@pytest.fixture
def in_float32(monkeypatch):
    monkeypatch.setattr(models, "dtype", lambda: torch.float32)


def separates(path, limit=64):
    scorer = scorers.load(path, CORPUS, max_tokens=limit)
    scores = dict(zip(CORPUS, scorer.score(PAIRS), strict=True))
    return min(scores[doc_id] for doc_id in GOOD) > max(scores[doc_id] for doc_id in BAD)


def test_the_kind_follows_from_the_configuration(t5, llama, tiny_encoder, made):
    assert [scorers.kind_of(str(name)) for name in (t5, llama, tiny_encoder)] == ["monot5", "decoder", "cross-encoder"]
    assert made.notes["rerankers"][0]["kind"] == "monot5"


def test_monot5_scores_are_the_log_odds_of_the_first_token_as_plain_transformers_has_them(made, in_float32):
    from transformers import AutoTokenizer, T5ForConditionalGeneration

    tokenizer = AutoTokenizer.from_pretrained(made.path)
    plain = T5ForConditionalGeneration.from_pretrained(made.path).eval()
    true, false = tokenizer.convert_tokens_to_ids(["▁true", "▁false"])
    expected = []
    for query, doc_id in PAIRS:
        ids = tokenizer(f"Query: {query.text} Document: {CORPUS[doc_id].text} Relevant:", return_tensors="pt")
        with torch.no_grad():
            logits = plain(**ids, decoder_input_ids=torch.tensor([[0]])).logits[0, 0]
        expected.append(torch.logit(logits[[false, true]].softmax(0)[1]).item())
    assert scorers.load(made.path, CORPUS, max_tokens=64).score(PAIRS) == pytest.approx(expected, abs=1e-3)
    assert separates(made.path)


def test_what_was_trained_is_a_folder_of_safetensors_with_its_template(made):
    names = {path.name for path in made.path.iterdir()}
    assert {"config.json", "model.safetensors", "reranker.json"} <= names
    assert not [name for name in names if name.endswith((".bin", ".pt", ".pkl"))]
    written = json.loads((made.path / "reranker.json").read_text())
    assert (written["true"], written["false"]) == ("true", "false")


def test_half_precision_orders_as_float32_does_and_ties_nothing(made, monkeypatch):
    monkeypatch.setattr(models, "dtype", lambda: torch.bfloat16)
    scores = dict(zip(CORPUS, scorers.load(made.path, CORPUS, max_tokens=64).score(PAIRS), strict=True))
    assert min(scores[doc_id] for doc_id in GOOD) > max(scores[doc_id] for doc_id in BAD)
    assert len(set(scores.values())) > 6


def test_half_precision_takes_the_place_of_the_weights_as_they_were_read(made, monkeypatch):
    monkeypatch.setattr(models, "dtype", lambda: torch.bfloat16)
    whole = MonoT5.of(str(made.path), Lengths(64))
    weights = {id(weight) for weight in whole.model.parameters()}
    halved = whole.to_half_precision().model
    assert sum(id(weight) not in weights for weight in halved.parameters()) == 1  # the last layer's
    in_float32 = [name for name, weight in halved.named_parameters() if weight.dtype == torch.float32]
    assert in_float32 == ["lm_head.weight"]


def test_a_renamed_folder_scores_the_same(made, tmp_path):
    flan = tmp_path / "flan-mt5-unicamp-gpt"
    shutil.copytree(made.path, flan)
    one, other = (scorers.load(path, CORPUS, max_tokens=64) for path in (made.path, flan))
    assert one.score(PAIRS) == other.score(PAIRS)
    assert one.fingerprint == other.fingerprint


def test_pickled_weights_are_refused(made, tmp_path):
    folder = tmp_path / "pickled"
    shutil.copytree(made.path, folder)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(DataError, match="pickled weights are never loaded"):
        scorers.load(folder, CORPUS, max_tokens=64)


def test_scores_do_not_depend_on_company(made, adapted, in_float32):
    corpus = {**CORPUS, "long": Doc("long", "rice " * 99)}
    pairs = [(QUERY, doc_id) for doc_id in ("b0", "long", "g0", "b1")]
    for path in (made.path, adapted.path):
        scorer = scorers.load(path, corpus, max_tokens=64)
        assert scorer.score(pairs) == pytest.approx([scorer.score([pair])[0] for pair in pairs], abs=1e-3)
        assert scorer.score([]) == []
        assert scorer.fingerprint != scorers.load(path, corpus, max_tokens=63).fingerprint


@pytest.mark.parametrize("loss", ["token", "bce"])
def test_pairs_teach_as_in_inpars(loss, t5, tmp_path):
    made = trained(t5, tmp_path, loss=loss, n_ways=2, schedule="constant", batch_size=3, gradient_accumulation=2)
    (note,) = made.notes["rerankers"]
    assert (note["steps"], note["effective_batch"], note["rows_seen"]) == (8, 6, 96)
    assert note["last_learning_rate"] == LEARNING["learning_rate"]
    assert note["dev_ndcg"] == 1
    assert separates(made.path)


@pytest.mark.parametrize("kind", ["t5", "llama"])
def test_a_killed_training_comes_to_the_same_bytes(kind, made, adapted, request, tmp_path):
    done, limit = (made, LEARN["max_tokens"]) if kind == "t5" else (adapted, 64)

    def stop(at, total):
        if at == 28:
            raise KeyboardInterrupt

    base = request.getfixturevalue(kind)
    with pytest.raises(KeyboardInterrupt):
        trained(base, tmp_path, progress=stop, max_tokens=limit)
    seen = []
    again = trained(base, tmp_path, progress=lambda at, total: seen.append(at), max_tokens=limit)
    assert seen[0] == 28  # step 7, after the checkpoint of step 6
    assert again.notes == done.notes
    assert folder_fingerprint(again.path) == folder_fingerprint(done.path)


def test_an_adapter_whose_base_has_other_weights_is_another_reranker(adapted, llama, tmp_path):
    base, adapter = shutil.copytree(llama, tmp_path / "base"), shutil.copytree(adapted.path, tmp_path / "adapter")
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": str(base)}))

    def fingerprints():
        assert named.fingerprint_of(str(adapter)) == named.fingerprint_of(f"decoder:{adapter}")
        return named.fingerprint_of(str(adapter)), scorers.load(str(adapter), CORPUS, max_tokens=64).fingerprint

    before = fingerprints()
    assert fingerprints() == before
    weights = base / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert all(one != other for one, other in zip(before, fingerprints(), strict=True))


def test_an_adapter_is_saved_as_plain_peft_has_it(adapted, llama, in_float32):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    assert sorted(path.name for path in adapted.path.iterdir())[:2] == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    assert separates(adapted.path)
    plain = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(llama), str(adapted.path)).eval()
    tokenizer = AutoTokenizer.from_pretrained(adapted.path)
    asked = template.saved(adapted.path)
    yes, no = (tokenizer(answer)["input_ids"][0] for answer in (" yes", " no"))
    texts = [(query.text, CORPUS[doc_id].text) for query, doc_id in PAIRS]
    expected = []
    for query, document in texts:
        ids = tokenizer(asked.fill(query, document), return_tensors="pt")["input_ids"]
        with torch.no_grad():
            logits = plain(input_ids=ids).logits[0, -1]
        expected.append((logits[yes] - logits[no]).item())
    assert max(len(row) for row in Decoder.of(llama, Lengths(99), is_new=True).tokens(texts)["input_ids"]) < 99
    scores = scorers.load(adapted.path, CORPUS, max_tokens=99).score(PAIRS)
    assert scores == pytest.approx(expected, abs=1e-3)


def test_what_could_not_be_loaded_again_or_merged_is_refused_before_training(adapted, llama, t5, tmp_path):
    other = write_t5(tmp_path / "other", WORDS, first=False)
    prompts = {query_id: "ab"[n % 2] for n, query_id in enumerate(TEXTS)}
    for base, changes, said in (
        (adapted.path, {}, "is an adapter, and adapters cannot be stacked"),
        (llama, {"merge": "average", "rerankers": "prompt"}, "adapters cannot be merged"),
        (other, {}, "name its template"),
    ):
        with pytest.raises(SettingError, match=said):
            train(TRAIN, DEV, TEXTS, CORPUS, tmp_path / "train", prompts, base=str(base), **{**LEARNING, **changes})
    assert not (tmp_path / "train").exists()
    broken = shutil.copytree(adapted.path, tmp_path / "broken")
    config = json.loads((broken / "adapter_config.json").read_text())
    (broken / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": None}))
    with pytest.raises(DataError, match="the base model of the adapter"):
        Decoder.of(str(broken), Lengths(64))


def test_with_rank_0_all_weights_are_trained_and_no_adapter_is_needed(llama, adapted, tmp_path, monkeypatch):
    settings = {"template": "auto", "loss": "token", "rerankers": "one", "merge": "none"}
    with monkeypatch.context() as patch:
        patch.setattr("importlib.util.find_spec", lambda name, *_: None)
        check_base(base=llama, lora_rank=0, **settings)
        needs_peft = [lambda: check_base(base=llama, lora_rank=1, **settings)]
        needs_peft.append(lambda: check_base(base=str(adapted.path), lora_rank=0, **settings))
        needs_peft.append(lambda: named.check(f"decoder:{adapted.path}"))
        for check in needs_peft:
            with pytest.raises(MissingExtra, match=r"pip install 'acclimate\[lora\]'"):
                check()
    made = trained(llama, tmp_path, lora_rank=0, max_tokens=64, epochs=1)
    assert (made.path / "model.safetensors").exists()
    assert separates(made.path)


def test_an_embedded_llm_is_asked_and_trained_by_its_name(tmp_path, monkeypatch):
    """It is one GGUF file, weights and tokenizer."""
    pytest.importorskip("peft", reason="peft is not installed")
    # A name of its own: what is known of a name is known as long as a process lives.
    base, file = "embedded:tiny", write_gguf(tmp_path / "llama.gguf", texts=["Answer: yes", "Answer: no"] * 9)
    location = models.ModelName(str(file.parent), gguf_file=file.name)
    monkeypatch.setattr(models, "_embedded", {"tiny": location}.__getitem__)
    made = train(TRAIN[:4], DEV[:2], TEXTS, CORPUS, tmp_path / "a", base=base, max_tokens=96, learning_rate=1e-3)
    (note,) = made.notes["rerankers"]
    assert (note["kind"], note["steps"]) == ("decoder", 1)
    adapter = json.loads((made.path / "adapter_config.json").read_text())
    assert adapter["base_model_name_or_path"] == base
    assert len(set(scorers.load(made.path, CORPUS, max_tokens=96).score(PAIRS[:3]))) == 3


def test_evaluating_a_language_model_in_training_shows_progress(t5, tmp_path):
    seen = []
    with progress.shown(lambda *report: seen.append(report)):
        trained(t5, tmp_path, max_tokens=64, epochs=1, evaluations=2)
    n_passes = sum(done == total for _, done, total, unit in seen if unit == "held-out queries")
    assert n_passes >= 4  # the ranking before, two losses, the ranking of the best weights
    assert ("train", len(DEV), len(DEV), "held-out queries") in seen
