"""LLMs on this machine's GPUs through vLLM, for large models and many prompts: `vllm:MODEL`.

vLLM does batching and prefix caching. It gets tokens rather than texts, so prompts, chat templates and truncation are
those of `LocalLLM`, and its tokens are decoded here, so answers end at the same place. Greedy answers may still differ
from `LocalLLM`'s at near ties, because of rounding.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

from acclimate.base import models
from acclimate.base.digests import fingerprint
from acclimate.base.errors import AcclimateError, MissingExtra, SettingError
from acclimate.llm.decoders import configuration
from acclimate.llm.decoders.answer import Answer
from acclimate.llm.decoders.tokenizer import Tokenizer
from acclimate.llm.decoding import Decoding
from acclimate.llm.lengths import check_room
from acclimate.records import Completion

PREFIX = "vllm:"
MOST_CONTEXT = 8192  # tokens; vLLM allocates one whole context at startup
GPU_SHARE = 0.8  # of each GPU's memory, allocated at once; the rest is for the encoder


class _Engine:
    """A vLLM engine, started on first use and shared by LLMs with different decodings."""

    def __init__(self, model: str) -> None:
        self.model, self.tokens = model, Tokenizer(model)

    @cached_property
    def context(self) -> int:
        """Maximum tokens of a prompt and its completion together."""
        from transformers import AutoConfig

        model = models.resolve(self.model)
        config: Any = AutoConfig.from_pretrained(model.path_or_id, revision=model.revision or "main")
        return min(MOST_CONTEXT, configuration.positions(config) or MOST_CONTEXT)

    @cached_property
    def module(self) -> Any:
        """The vllm package. Raises MissingExtra without it."""
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")  # read on import; the library is silent
        # By default vLLM forks unless CUDA is initialized, though asking torch for a GPU already forbids it in a fork.
        os.environ.setdefault("VLLM_WORKER_MULTIPROC_METHOD", "spawn")
        try:
            return importlib.import_module("vllm")
        except ImportError:
            raise _missing(self.model) from None

    @cached_property
    def llm(self) -> Any:
        """The `vllm.LLM`. Raises AcclimateError if it does not start."""
        vllm, model = self.module, models.resolve(self.model)
        try:
            return vllm.LLM(
                model=model.path_or_id,
                revision=model.revision,
                tokenizer_revision=model.revision,
                load_format="safetensors",  # never pickled weights
                max_model_len=self.context,
                gpu_memory_utilization=GPU_SHARE,
                enable_prefix_caching=True,
                seed=0,
            )
        except (RuntimeError, ValueError) as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            raise AcclimateError(
                f"vLLM does not start with {self.model} ({reason}); VLLM_LOGGING_LEVEL=INFO says more, and "
                f"{self.model} without {PREFIX} runs by transformers"
            ) from None


class VllmLLM:
    """Implements `acclimate.llm.StreamingLLM`, with all answers at once, so that vLLM gets many prompts together.

    The first special token ends an answer. Log-probabilities are the model's own, at temperature 1.
    """

    def __init__(self, name: str | _Engine, decoding: Decoding = Decoding()) -> None:
        self._engine = _Engine(name.removeprefix(PREFIX)) if isinstance(name, str) else name
        self.decoding = decoding

    @property
    def name(self) -> str:
        """The name given by the user."""
        return f"{PREFIX}{self._engine.model}"

    @property
    def fingerprint(self) -> str:
        """Of weights, which determine vLLM's precision, and decoding."""
        return fingerprint("vllm", models.weights_fingerprint(self._engine.model), self.decoding.fingerprint)

    def check(self) -> None:
        """Raises SettingError, DataError or MissingExtra for a model that vLLM cannot load."""
        if models.resolve(self._engine.model).gguf_file:
            raise SettingError(
                f"{self.name}: vLLM takes a folder or a Hugging Face id; a .gguf file runs as "
                f"llama.cpp:{self._engine.model}"
            )
        if importlib.util.find_spec("vllm") is None:
            raise _missing(self._engine.model)

    def decoding_as(self, decoding: Decoding) -> VllmLLM:
        """The same model with another decoding; what is loaded is shared."""
        return VllmLLM(self._engine, decoding)

    def cut(self, text: str, max_tokens: int) -> str:
        """Truncate `text` to `max_tokens` tokens: after a sentence, else a word, else a token."""
        return self._engine.tokens.cut(text, max_tokens)

    def cut_tokens(self, text: str, max_tokens: int) -> str:
        """Decode the first `max_tokens` tokens of `text`."""
        return self._engine.tokens.cut_tokens(text, max_tokens)

    def complete(self, prompts: Sequence[str]) -> list[Completion]:
        """One completion per prompt, in order.

        Raises SettingError for an empty prompt, or one that leaves no room for `max_new_tokens` in the context.
        """
        if not prompts:
            return []
        self.check()
        rows = self._engine.tokens.rows(prompts, chat=self.decoding.chat)
        for prompt, row in zip(prompts, rows, strict=True):
            check_room(self.name, prompt, len(row), self.decoding.max_new_tokens, self._engine.context)
        llm = self._engine.llm
        outputs = llm.generate(
            [{"prompt_token_ids": row} for row in rows], [self._sampling(prompt) for prompt in prompts], use_tqdm=False
        )
        return [self._completion(len(row), output.outputs[0]) for row, output in zip(rows, outputs, strict=True)]

    def answers(self, prompts: Sequence[str]) -> Iterator[tuple[int, Completion]]:
        """(position, completion), after all have arrived."""
        yield from enumerate(self.complete(prompts))

    def stop_asking(self) -> None:
        """Does nothing, as all prompts are already sent."""

    def _sampling(self, prompt: str) -> Any:
        decoding = self.decoding
        return self._engine.module.SamplingParams(
            max_tokens=decoding.max_new_tokens,
            temperature=decoding.temperature,
            top_p=decoding.top_p,
            seed=decoding.draw_seed(prompt) if decoding.temperature else None,
            stop=[] if decoding.chat else list(decoding.stop),
            stop_token_ids=sorted(self._engine.tokens.end_ids),
            logprobs=0,  # of the chosen tokens only
        )

    def _completion(self, prompt_tokens: int, output: Any) -> Completion:
        tokens = self._engine.tokens
        answer = Answer(self.decoding, tokens.decode, tokens.end_ids, prompt_tokens)
        for token, logprobs in zip(output.token_ids, output.logprobs, strict=True):
            if answer.is_open:
                answer.add(token, logprobs[token].logprob)
        if output.finish_reason != "length":
            answer.is_open = False  # the model's configuration may have end tokens that its tokenizer does not know
        answer.tokens = len(output.token_ids)  # those after the answer were computed, too
        return answer.completion()


def _missing(model: str) -> MissingExtra:
    return MissingExtra(f"{PREFIX}{model}", "pip install 'acclimate[vllm]'")
