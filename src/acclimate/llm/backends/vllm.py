"""An LLM on this machine's GPUs through vLLM, for large models and many prompts: `vllm:MODEL`.

vLLM batches by itself, and keeps what prompts share at their start. It is given tokens, not texts, so that prompts,
chat templates and cuts are those of `LocalLLM`, and its tokens are read again here, so that answers end where those
would. Greedy answers of the two may still differ where two tokens are nearly as likely: sums in another order round
otherwise.
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
MOST_CONTEXT = 8192  # tokens: vLLM does not start without room for one whole context, and prompts are far shorter
GPU_SHARE = 0.8  # of each GPU's memory, all of it taken at once; the rest is for the encoder that is loaded beside it


class _Engine:
    """vLLM with the model of that name, started when first needed; LLMs with different decodings share one."""

    def __init__(self, model: str) -> None:
        self.model, self.tokens = model, Tokenizer(model)

    @cached_property
    def context(self) -> int:
        """The most tokens that a prompt and its completion may have together."""
        from transformers import AutoConfig

        model = models.resolve(self.model)
        config: Any = AutoConfig.from_pretrained(model.path_or_id, revision=model.revision or "main")
        return min(MOST_CONTEXT, configuration.positions(config) or MOST_CONTEXT)

    @cached_property
    def module(self) -> Any:
        """The package. Raises MissingExtra without it."""
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")  # read when it is imported; the library is silent
        try:
            return importlib.import_module("vllm")
        except ImportError:
            raise _missing(self.model) from None

    @cached_property
    def llm(self) -> Any:
        """A `vllm.LLM`. Raises AcclimateError where it does not start."""
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
    """Implements `acclimate.llm.StreamingLLM`, whose answers all come at once: only so do many prompts reach vLLM
    together.

    The first special token chosen ends an answer. Log-probabilities are the model's own, whatever the temperature.
    """

    def __init__(self, name: str | _Engine, decoding: Decoding = Decoding()) -> None:  # noqa: B008 (immutable)
        self._engine = _Engine(name.removeprefix(PREFIX)) if isinstance(name, str) else name
        self.decoding = decoding

    @property
    def name(self) -> str:
        """As its user calls it."""
        return f"{PREFIX}{self._engine.model}"

    @property
    def fingerprint(self) -> str:
        """Of weights and decoding; the weights say what vLLM computes in."""
        return fingerprint("vllm", models.weights_fingerprint(self._engine.model), self.decoding.fingerprint)

    def check(self) -> None:
        """Raises SettingError, DataError or MissingExtra for a model that vLLM would not load."""
        if models.resolve(self._engine.model).gguf_file:
            raise SettingError(
                f"{self.name}: vLLM takes a folder or a Hugging Face id; a .gguf file runs as "
                f"llama.cpp:{self._engine.model}"
            )
        if importlib.util.find_spec("vllm") is None:
            raise _missing(self._engine.model)

    def decoding_as(self, decoding: Decoding) -> VllmLLM:
        """The same model, decoding so; what is loaded is shared."""
        return VllmLLM(self._engine, decoding)

    def cut(self, text: str, max_tokens: int) -> str:
        """The start of `text` in at most `max_tokens` tokens: to the end of a sentence, a word, or else a token."""
        return self._engine.tokens.cut(text, max_tokens)

    def cut_tokens(self, text: str, max_tokens: int) -> str:
        """What the tokenizer makes of the first `max_tokens` tokens of `text`."""
        return self._engine.tokens.cut_tokens(text, max_tokens)

    def complete(self, prompts: Sequence[str]) -> list[Completion]:
        """One completion per prompt, in order.

        Raises SettingError for a prompt that is empty or has no room for `max_new_tokens` in the model's context.
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
        """(place, completion), once all have come."""
        yield from enumerate(self.complete(prompts))

    def stop_asking(self) -> None:
        """Nothing: all have been asked."""

    def _sampling(self, prompt: str) -> Any:
        decoding = self.decoding
        return self._engine.module.SamplingParams(
            max_tokens=decoding.max_new_tokens,
            temperature=decoding.temperature,
            top_p=decoding.top_p,
            seed=decoding.draw_seed(prompt) if decoding.temperature else None,
            stop=[] if decoding.chat else list(decoding.stop),
            stop_token_ids=sorted(self._engine.tokens.end_ids),
            logprobs=0,  # of the chosen tokens alone
        )

    def _completion(self, prompt_tokens: int, output: Any) -> Completion:
        tokens = self._engine.tokens
        answer = Answer(self.decoding, tokens.decode, tokens.end_ids, prompt_tokens)
        for token, logprobs in zip(output.token_ids, output.logprobs, strict=True):
            if answer.is_open:
                answer.add(token, logprobs[token].logprob)
        if output.finish_reason != "length":
            answer.is_open = False  # the model's configuration may have ends of text that its tokenizer does not know
        answer.tokens = len(output.token_ids)  # those behind the answer were computed too
        return answer.completion()


def _missing(model: str) -> MissingExtra:
    return MissingExtra(f"{PREFIX}{model}", "pip install 'acclimate[vllm]'")
