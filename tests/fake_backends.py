"""Fakes of `vllm` and `llama_cpp`: the functions that we call, by their documentation, computed by transformers with a
tiny model. They accept only arguments that the real ones have."""

from __future__ import annotations

import ctypes
import importlib.machinery
import random
import types
from dataclasses import dataclass, field
from pathlib import Path

import jinja2
import numpy as np


def module(name, **attributes):
    made = types.ModuleType(name)
    made.__spec__ = importlib.machinery.ModuleSpec(name, None)
    made.__dict__.update(attributes)
    return made


class Model:
    """Computes logits of the next token from the whole prompt, without a cache."""

    def __init__(self, folder):
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModelForCausalLM.from_pretrained(folder)

    def logits(self, ids):
        import torch

        with torch.no_grad():
            return self.model(torch.tensor([ids])).logits[0, -1].float().numpy()

    def text(self, ids):
        return self.tokenizer.decode(ids, skip_special_tokens=True)


def chosen(logits, temperature, top_p, rng):
    if not temperature:
        return int(logits.argmax())
    shares = np.exp((logits - logits.max()) / temperature)
    order = np.argsort(-shares, kind="stable")
    shares = shares[order] / shares.sum()
    kept = shares * (shares.cumsum() - shares < top_p)
    return int(order[np.searchsorted(kept.cumsum(), rng.random() * kept.sum(), side="right")])


def log_softmax(logits):
    return logits - logits.max() - np.log(np.exp(logits - logits.max()).sum())


# vLLM


@dataclass
class SamplingParams:
    max_tokens: int = 16
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    stop: list[str] = field(default_factory=list)
    stop_token_ids: list[int] = field(default_factory=list)
    logprobs: int | None = None


@dataclass
class Logprob:
    logprob: float
    rank: int | None = None
    decoded_token: str | None = None


@dataclass
class CompletionOutput:
    index: int
    text: str
    token_ids: list[int]
    logprobs: list[dict[int, Logprob]] | None
    finish_reason: str


@dataclass
class RequestOutput:
    prompt: str | None
    prompt_token_ids: list[int]
    outputs: list[CompletionOutput]


def vllm():
    """The module; `made` lists the engines that were started."""

    class LLM:
        made = []  # noqa: RUF012
        ends = frozenset({0})

        def __init__(
            self,
            model,
            *,
            revision=None,
            tokenizer_revision=None,
            load_format="auto",
            max_model_len=None,
            gpu_memory_utilization=0.9,
            enable_prefix_caching=None,
            seed=0,
        ):
            self.settings = dict(locals())
            self.model, self.calls, self.written = Model(model), [], 0
            LLM.made.append(self)

        def generate(self, prompts, sampling_params=None, *, use_tqdm=True, lora_request=None):
            assert len(prompts) == len(sampling_params)
            assert not use_tqdm
            self.calls.append(len(prompts))
            return [
                RequestOutput(None, prompt["prompt_token_ids"], [self._output(prompt["prompt_token_ids"], sampling)])
                for prompt, sampling in zip(prompts, sampling_params, strict=True)
            ]

        def _output(self, prompt, sampling):
            """Like vLLM: the tokens include those of the stop, the text does not."""
            ids, logprobs, rng = [], [], random.Random(sampling.seed)
            kept = None if sampling.logprobs is None else logprobs
            assert len(prompt) + sampling.max_tokens <= self.settings["max_model_len"]
            while len(ids) < sampling.max_tokens:
                logits = self.model.logits([*prompt, *ids])
                token = chosen(logits, sampling.temperature, sampling.top_p, rng)
                ids.append(token)
                self.written += 1
                logprobs.append({token: Logprob(float(log_softmax(logits)[token]))})
                text = self.model.text(ids)
                found = [stop for stop in sampling.stop if stop in text]
                if found or token in self.ends or token in sampling.stop_token_ids:
                    cut = min((text.index(stop) for stop in found), default=len(text))
                    return CompletionOutput(0, text[:cut], ids, kept, "stop")
            return CompletionOutput(0, self.model.text(ids), ids, kept, "length")

    return module("vllm", LLM=LLM, SamplingParams=SamplingParams, made=LLM.made)


# llama.cpp


class Jinja2ChatFormatter:
    def __init__(self, template, eos_token, bos_token, add_generation_prompt=True, stop_token_ids=None):
        self.template, self.tokens = template, {"eos_token": eos_token, "bos_token": bos_token}

    def __call__(self, *, messages, **options):
        text = jinja2.Template(self.template).render(
            messages=messages, add_generation_prompt=True, **self.tokens, **options
        )
        return types.SimpleNamespace(prompt=text)


class Llama:
    """Reads a file that contains the name of a model's folder. `read` counts computed tokens, `begun` lists texts that
    were given the token that begins one."""

    made: list[Llama] = []  # noqa: RUF012

    def __init__(
        self,
        model_path,
        *,
        n_gpu_layers=0,
        n_ctx=512,
        n_threads=None,
        n_threads_batch=None,
        seed=0,
        logits_all=False,
        verbose=True,
    ):
        if not Path(model_path).read_text().startswith("/"):
            raise ValueError(f"Failed to load model from file: {model_path}")
        assert not (verbose or logits_all) and n_gpu_layers == -1  # all, where there is a GPU
        self.tiny, self._n_ctx = Model(Path(model_path).read_text()), n_ctx
        self.n_tokens, self.input_ids, self.read, self._seed = 0, [], 0, seed
        self.metadata = {"general.architecture": "llama", "llama.context_length": "512"}
        if self.tiny.tokenizer.chat_template:
            self.metadata["tokenizer.chat_template"] = self.tiny.tokenizer.chat_template
        self.ctx = self.model = self
        self.threads, self.begun = (n_threads, n_threads_batch), []
        Llama.made.append(self)

    def n_ctx(self):
        return self._n_ctx

    def n_vocab(self):
        return len(self.tiny.tokenizer)

    def token_bos(self):
        return -1

    def token_eos(self):
        return 0

    def tokenize(self, text, add_bos=True, special=False):
        self.begun += [text.decode()] * add_bos
        return self.tiny.tokenizer(text.decode(), split_special_tokens=not special, add_special_tokens=False)[
            "input_ids"
        ]

    def detokenize(self, tokens, prev_tokens=None, special=False):
        backend = self.tiny.tokenizer.backend_tokenizer
        letters = {letter: byte for byte, letter in _bytes_to_letters().items()}
        names = [backend.id_to_token(token) for token in tokens]
        specials = {str(about) for about in self.tiny.tokenizer.added_tokens_decoder.values()}
        return b"".join(
            (name.encode() if special else b"") if name in specials else bytes(letters[letter] for letter in name)
            for name in names
        )

    def reset(self):
        self.n_tokens = 0

    def set_seed(self, seed):
        self._seed = seed

    def generate(
        self,
        tokens,
        top_k=40,
        top_p=0.95,
        min_p=0.05,
        typical_p=1.0,
        temp=0.80,
        repeat_penalty=1.0,
    ):
        assert (top_k, min_p, typical_p, repeat_penalty) == (0, 0.0, 1.0, 1.0)
        rng, known = random.Random(self._seed), 0
        while known < min(self.n_tokens, len(tokens) - 1) and self.input_ids[known] == tokens[known]:
            known += 1
        self.input_ids = list(tokens)
        self.read += len(tokens) - known
        while True:
            self.n_tokens = len(self.input_ids)
            self.last = self.tiny.logits(self.input_ids).copy()
            token = chosen(self.last, temp, top_p, rng)
            yield token
            self.input_ids.append(token)
            self.read += 1


def _bytes_to_letters():
    """The characters by which a byte-level tokenizer represents bytes."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return {byte: chr(byte) for byte in plain} | {byte: chr(256 + at) for at, byte in enumerate(others)}


def llama_cpp():
    Llama.made.clear()
    return module(
        "llama_cpp",
        Llama=Llama,
        made=Llama.made,
        llama_chat_format=types.SimpleNamespace(Jinja2ChatFormatter=Jinja2ChatFormatter),
        llama_model_get_vocab=lambda model: model,
        llama_vocab_is_eog=lambda vocab, token: token == 0,
        llama_vocab_is_control=lambda vocab, token: token != 0 and token in vocab.tiny.tokenizer.added_tokens_decoder,
        llama_get_logits_ith=lambda ctx, at: ctx.last.ctypes.data_as(ctypes.POINTER(ctypes.c_float)),
    )
