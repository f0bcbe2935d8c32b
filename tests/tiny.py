"""Tiny models for tests: random weights, and a byte-level tokenizer with tokens of several letters."""

from __future__ import annotations

import json
from itertools import compress

SHARED = "Example 1:\nDocument: some words of text\nQuery: what words\n\nExample 2:\nDocument: "
DOCS = ["the cat sat", "a", "rivers of the north and of the south", "two words", "what is the text of some words " * 3]
PROMPTS = [f"{SHARED}{doc}\nQuery:" for doc in DOCS]


def write_tokenizer(path, *special, chat_template=None, texts=()):
    """Save a tokenizer whose first special token is `<|end|>`, id 0; returns its number of tokens."""
    from tokenizers import Tokenizer, decoders, pre_tokenizers, trainers
    from tokenizers.models import BPE
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320 + len(special), special_tokens=["<|end|>", *special], initial_alphabet=alphabet
    )
    tokenizer.train_from_iterator([*texts, *PROMPTS], trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>", pad_token="<|end|>")
    fast.chat_template = chat_template
    fast.save_pretrained(path)
    return tokenizer.get_vocab_size()


def write_llama(path, *special, chat_template=None, texts=()):
    """A Llama with grouped heads."""
    return write_causal(path, "Llama", *special, chat_template=chat_template, texts=texts)


def write_causal(path, architecture, *special, chat_template=None, texts=(), **settings):
    """A causal model of an architecture of transformers (such as `Qwen2`), with grouped heads; unless it is a Llama,
    biases and norms are random too."""
    import torch
    import transformers

    size = write_tokenizer(path, *special, chat_template=chat_template, texts=texts)
    torch.manual_seed(0)
    shape = {
        "vocab_size": size,
        "hidden_size": 48,
        "intermediate_size": 96,
        "num_hidden_layers": 3,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "initializer_range": 0.3,
        "eos_token_id": 0,
        "bos_token_id": 1,
        "pad_token_id": None,
    }
    kind = getattr(transformers, f"{architecture}ForCausalLM")
    model = kind(kind.config_class(**(shape | settings)))
    if architecture != "Llama":
        with torch.no_grad():
            for weight in model.parameters():
                if weight.dim() == 1:
                    weight.add_(torch.randn_like(weight), alpha=0.3)
    model.save_pretrained(path)
    return str(path)


def write_gguf(path, *, texts=()):
    """A Llama as a GGUF file, with its tokenizer."""
    import gguf
    from safetensors.numpy import load_file
    from transformers import AutoConfig, AutoTokenizer

    folder = write_llama(path.with_suffix(""), texts=texts)
    config, tokenizer = AutoConfig.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokenizer.convert_ids_to_tokens(range(config.vocab_size)))
    writer.add_token_merges(
        [" ".join(pair) for pair in json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]]
    )
    writer.add_bos_token_id(config.bos_token_id)
    writer.add_eos_token_id(config.eos_token_id)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, weights in load_file(f"{folder}/model.safetensors").items():
        writer.add_tensor(names.get_name(name, try_suffixes=(".weight",)), weights)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def same(first, second, *, but=0):
    """Check that completions are equal, log-probabilities up to float32 rounding.

    but: number of completions that may differ, as a random number may fall between two tokens, and rounding decide.
    """
    import pytest

    pairs = list(zip(first, second, strict=True))
    equal = [one._replace(logprobs=()) == other._replace(logprobs=()) for one, other in pairs]
    assert equal.count(False) <= but, pairs[equal.index(False)]
    for one, other in compress(pairs, equal):
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)


def shrinks_and_moves_nothing(llm, prompts, alone, monkeypatch):
    """Check that answers in a batch that is compacted as rows finish equal those of each prompt alone."""
    sizes, step = [], llm._loaded.decoder.step
    monkeypatch.setattr(
        llm._loaded.decoder, "step", lambda tokens, cache: (sizes.append(len(tokens)), step(tokens, cache))[1]
    )
    together = llm.complete(prompts)
    same(together, alone)
    assert len({answer.completion_tokens for answer in together}) > 2
    assert len(set(sizes)) > 2
    assert sizes == sorted(sizes, reverse=True)


def write_cross_encoder(path, encoder):
    """A cross-encoder with one logit, the weights of `encoder` and a random head."""
    import torch
    from sentence_transformers import CrossEncoder

    torch.manual_seed(0)
    CrossEncoder(str(encoder), num_labels=1, device="cpu").save_pretrained(str(path), create_model_card=False)
    return str(path)


def write_t5(path, words, *, first=True):
    """A T5 (the original, or a later version), with words as tokens, including `▁true` and `▁false`."""
    import torch
    from tokenizers import Tokenizer, pre_tokenizers, processors
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

    asked = "Query: Document: Relevant: Is the following passage relevant to query? Passage: true false yes no"
    known = ["<pad>", "</s>", "<unk>", *dict.fromkeys(f"▁{word}" for word in [*asked.split(), *words])]
    tokenizer = Tokenizer(WordLevel({word: at for at, word in enumerate(known)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split("\n", "removed"), pre_tokenizers.Metaspace()]
    )
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    ).save_pretrained(path)
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=len(known),
        d_model=32,
        d_kv=16,
        d_ff=64,
        num_layers=2,
        num_heads=2,
        feed_forward_proj="relu" if first else "gated-gelu",
        tie_word_embeddings=first,
        decoder_start_token_id=0,
        eos_token_id=1,
        pad_token_id=0,
        initializer_factor=0.3,
    )
    T5ForConditionalGeneration(config).save_pretrained(path)
    return str(path)
