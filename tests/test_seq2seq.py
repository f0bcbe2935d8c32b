"""Sequence-to-sequence LLMs, against transformers' own greedy generation with a tiny random T5."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")

from tiny import PROMPTS, same, shrinks_and_moves_nothing, write_tokenizer

from acclimate.llm.backends.local import LocalLLM
from acclimate.llm.decoders.seq2seq import Seq2Seq
from acclimate.llm.decoding import Decoding


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A T5 with two layers on each side and random weights."""
    from transformers import T5Config, T5ForConditionalGeneration

    path = str(tmp_path_factory.mktemp("t5"))
    size = write_tokenizer(path)
    torch.manual_seed(1)
    config = T5Config(
        vocab_size=size,
        d_model=48,
        d_kv=16,
        d_ff=96,
        num_layers=2,
        num_heads=3,
        feed_forward_proj="gated-gelu",
        decoder_start_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
        tie_word_embeddings=False,
    )
    model = T5ForConditionalGeneration(config)
    for name, weight in model.named_parameters():  # T5's own initialization repeats the first token for ever
        if weight.dim() == 2:
            torch.nn.init.normal_(weight, std=0.5 if name in ("shared.weight", "lm_head.weight") else 0.15)
    model.save_pretrained(path)
    return path


def local(folder, **settings):
    return LocalLLM(folder, Decoding(**{"max_new_tokens": 12, "stop": (), **settings}), dtype=torch.float32)


def plain_greedy(folder, prompt, *, max_new_tokens):
    """(text, log-probabilities) by transformers' own loop over one prompt."""
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForSeq2SeqLM.from_pretrained(folder)
    ids = torch.tensor([tokenizer(prompt)["input_ids"]])
    made = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        num_beams=1,
        do_sample=False,
        max_new_tokens=max_new_tokens,
        return_dict_in_generate=True,
        output_logits=True,
    )
    tokens = made.sequences[0, 1:].tolist()
    logprobs = [
        float(logits[0].float().log_softmax(-1)[token]) for logits, token in zip(made.logits, tokens, strict=True)
    ]
    if tokens[-1] == 0:
        tokens, logprobs = tokens[:-1], logprobs[:-1]
    return tokenizer.decode(tokens), logprobs


def test_it_is_read_by_an_encoder(folder):
    llm = local(folder)
    assert llm._loaded.is_seq2seq
    assert isinstance(llm._loaded.decoder, Seq2Seq)
    assert llm._shared([llm._loaded.ids(prompt, chat=False) for prompt in PROMPTS]) == 0


def test_completions_are_those_of_transformers_in_a_batch_and_alone(folder):
    llm = local(folder)
    together = llm.complete(PROMPTS)
    for prompt, answer in zip(PROMPTS, together, strict=True):
        text, logprobs = plain_greedy(folder, prompt, max_new_tokens=12)
        assert answer.text == text
        assert answer.logprobs == pytest.approx(logprobs, abs=1e-4)
    assert len({answer.text for answer in together}) > 1
    same(together, [llm.complete([prompt])[0] for prompt in PROMPTS])
    same(together, llm.complete(PROMPTS[::-1])[::-1])


def test_finished_prompts_leave_the_batch_and_move_no_other(folder, monkeypatch):
    prompts = [f"{'so ' * (n % 5)}{n} words of {chr(97 + n % 26)}" for n in range(40)]
    free = local(folder).complete(prompts)
    letters = sorted({letter for answer in free for letter in answer.text})
    llm = local(folder, stop=tuple(letters[::4]))
    alone = [llm.complete([prompt])[0] for prompt in prompts]
    shrinks_and_moves_nothing(llm, prompts, alone, monkeypatch)


def test_a_stop_cuts_the_answer_that_would_have_been(folder):
    free = local(folder).complete(PROMPTS)
    stop = max((answer.text for answer in free), key=len)[4]
    for whole, part in zip(free, local(folder, stop=(stop,)).complete(PROMPTS), strict=True):
        assert part.text == whole.text.split(stop)[0]
        assert part.logprobs == pytest.approx(whole.logprobs[: len(part.logprobs)], abs=1e-4)


def test_drawn_answers_follow_from_seed_and_prompt_alone(folder):
    warm = local(folder, temperature=1.5, seed=1)
    first = warm.complete(PROMPTS)
    same(first, warm.complete(PROMPTS[::-1])[::-1])
    same(first, [warm.complete([prompt])[0] for prompt in PROMPTS])
    assert first != local(folder, temperature=1.5, seed=2).complete(PROMPTS)
    same(local(folder, temperature=1e-4).complete(PROMPTS), local(folder).complete(PROMPTS))
