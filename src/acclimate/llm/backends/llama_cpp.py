"""GGUF models through llama.cpp, in their own quantization: `llama.cpp:PATH.gguf`, `llama.cpp:embedded:NAME`.

For models too large for this machine in half precision. llama.cpp reads one prompt at a time and caches it, so prompts
are answered in token order: neighbors share the longest prefix, which is read once. The cache is cleared before each
call, so the same prompts get the same bytes.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
import os
from collections.abc import Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from acclimate.base import cgroups, models
from acclimate.base.digests import fingerprint
from acclimate.base.errors import DataError, MissingExtra, SettingError
from acclimate.llm.decoders.answer import Answer
from acclimate.llm.decoders.chat_template import OPTIONS, around
from acclimate.llm.decoding import Decoding
from acclimate.llm.lengths import check_room, cut_at
from acclimate.records import Completion

PREFIX = "llama.cpp:"
MOST_CONTEXT = 4096  # tokens; the whole context is allocated when the model is loaded
_TEMPLATE = "tokenizer.chat_template"  # a metadata key of the file


class _Gguf:
    """A GGUF file and its tokenizer, loaded on first use and shared by LLMs with different decodings.

    Special tokens in a prompt's text are not recognized: those of a chat template are added as ids.
    """

    def __init__(self, model: str) -> None:
        self.model = model

    @property
    def path(self) -> Path:
        """The path of the file. Raises SettingError for a model that is not a GGUF file."""
        model = models.resolve(self.model)
        if not model.gguf_file:
            raise SettingError(f"{PREFIX}{self.model}: expected a .gguf file that exists, or embedded:NAME of one")
        return Path(model.path_or_id) / model.gguf_file

    @cached_property
    def module(self) -> Any:
        """The llama_cpp package. Raises MissingExtra without it."""
        # Its threads synchronize some hundred times per token. With the default spinning they slow each other down if
        # the machine has other work: reading a prompt took up to 25 times as long.
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # read when the package is loaded
        try:
            return importlib.import_module("llama_cpp")
        except ImportError:
            raise _missing(self.model) from None

    @cached_property
    def llama(self) -> Any:
        """The `llama_cpp.Llama`. Raises DataError for an invalid file."""
        llama_cpp, threads, usable = self.module, os.environ.get(cgroups.THREADS, ""), cgroups.usable_cores()
        n_threads = int(threads) if threads.isdecimal() else None  # None: the package decides, by all cores
        if n_threads is None and usable < (os.cpu_count() or 1):
            n_threads = usable
        try:
            return llama_cpp.Llama(
                str(self.path),
                n_ctx=MOST_CONTEXT,
                n_gpu_layers=-1,
                n_threads=n_threads,
                n_threads_batch=n_threads,
                verbose=False,
            )
        except (RuntimeError, ValueError) as error:
            raise DataError(f"llama.cpp cannot open it: {error}", path=self.path) from None

    @cached_property
    def context(self) -> int:
        """Maximum tokens of a prompt and its completion together."""
        metadata = self.llama.metadata
        trained = metadata.get(f"{metadata.get('general.architecture')}.context_length", self.llama.n_ctx())
        return min(self.llama.n_ctx(), int(trained))

    @cached_property
    def end_ids(self) -> frozenset[int]:
        """The tokens that end an answer: ends of text, and all control tokens."""
        module, every = self.module, range(self.llama.n_vocab())
        vocab = module.llama_model_get_vocab(self.llama.model)
        return frozenset(
            token
            for token in every
            if module.llama_vocab_is_eog(vocab, token) or module.llama_vocab_is_control(vocab, token)
        )

    def ids(self, prompt: str, *, chat: bool) -> list[int]:
        """A prompt's tokens; with `chat`, as a message in the model's chat template, if it has one."""
        if not (chat and _TEMPLATE in self.llama.metadata):
            return self._ids(prompt, add_bos=True)
        before, after = self._template
        return [*before, *self._ids(prompt.strip()), *after]

    def _ids(self, text: str, *, add_bos: bool = False, special: bool = False) -> list[int]:
        return self.llama.tokenize(text.encode("utf-8", "replace"), add_bos=add_bos, special=special)

    @cached_property
    def _template(self) -> tuple[list[int], list[int]]:
        """Tokens of the chat template before and after a message."""
        begin, end = (
            self.llama.detokenize([token], special=True).decode() if token >= 0 else ""
            for token in (self.llama.token_bos(), self.llama.token_eos())
        )
        template, formatter = self.llama.metadata[_TEMPLATE], self.module.llama_chat_format.Jinja2ChatFormatter

        def render(messages: list[dict[str, Any]]) -> str:
            return formatter(template, bos_token=begin, eos_token=end)(messages=messages, **OPTIONS).prompt

        before, after = around(self.model, render)
        return self._ids(before, special=True), self._ids(after, special=True)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of tokens, without special ones."""
        return self.llama.detokenize(list(ids)).decode("utf-8", "replace")

    def cut(self, text: str, max_tokens: int) -> str:
        """Truncate `text` to `max_tokens` tokens: after a sentence, else a word, else a token."""
        ids = self._ids(text)
        if len(ids) <= max_tokens:
            return text
        start = self.llama.detokenize(ids[: max(0, max_tokens)]).decode("utf-8", "ignore")  # whole characters
        if not text.startswith(start):
            start = start.removeprefix(" ")  # some tokenizers add a space before a text
        return cut_at(text, len(start))

    def cut_tokens(self, text: str, max_tokens: int) -> str:
        """Decode the first `max_tokens` tokens of `text`; an incomplete character becomes U+FFFD."""
        return self.decode(self._ids(text)[:max_tokens])

    def logprob(self, token: int) -> float:
        """Natural log-probability of the token just chosen.

        Computed from its logits: llama-cpp-python's own would store the logits of every prompt token.
        """
        import numpy as np

        pointer = self.module.llama_get_logits_ith(self.llama.ctx, -1)
        logits = np.ctypeslib.as_array(pointer, shape=(self.llama.n_vocab(),)).astype(np.float64)
        top = logits.max()
        return float(logits[token] - top) - math.log(np.exp(logits - top).sum())


class LlamaCppLLM:
    """Implements `acclimate.llm.LLM`.

    The first special token ends an answer, and is counted. With a temperature above 0 each prompt has its own seed for
    llama.cpp's sampler, which applies `top_p` before the temperature. Log-probabilities are the model's own, at
    temperature 1.
    """

    def __init__(self, name: str | _Gguf, decoding: Decoding = Decoding()) -> None:
        self._gguf = _Gguf(name.removeprefix(PREFIX)) if isinstance(name, str) else name
        self.decoding = decoding

    @property
    def name(self) -> str:
        """The name given by the user."""
        return f"{PREFIX}{self._gguf.model}"

    @property
    def fingerprint(self) -> str:
        """Of weights and decoding."""
        self._gguf.path  # noqa: B018 (raises for weights that are no GGUF file)
        return fingerprint("llama.cpp", models.weights_fingerprint(self._gguf.model), self.decoding.fingerprint)

    def check(self) -> None:
        """Raises SettingError, DataError or MissingExtra for a model that llama.cpp cannot load."""
        self._gguf.path  # noqa: B018
        if importlib.util.find_spec("llama_cpp") is None:
            raise _missing(self._gguf.model)

    def decoding_as(self, decoding: Decoding) -> LlamaCppLLM:
        """The same model with another decoding; what is loaded is shared."""
        return LlamaCppLLM(self._gguf, decoding)

    def cut(self, text: str, max_tokens: int) -> str:
        """Truncate `text` to `max_tokens` tokens: after a sentence, else a word, else a token."""
        return self._gguf.cut(text, max_tokens)

    def cut_tokens(self, text: str, max_tokens: int) -> str:
        """Decode the first `max_tokens` tokens of `text`."""
        return self._gguf.cut_tokens(text, max_tokens)

    def complete(self, prompts: Sequence[str]) -> list[Completion]:
        """One completion per prompt, in order.

        Raises SettingError for an empty prompt, or one that leaves no room for `max_new_tokens` in the context.
        """
        if not prompts:
            return []
        gguf, decoding = self._gguf, self.decoding
        rows = [gguf.ids(prompt, chat=decoding.chat) for prompt in prompts]
        for prompt, row in zip(prompts, rows, strict=True):
            check_room(self.name, prompt, len(row), decoding.max_new_tokens, gguf.context)
        gguf.llama.reset()
        order = sorted(range(len(rows)), key=lambda index: (rows[index], prompts[index]))
        answers = {index: self._answer(prompts[index], rows[index]) for index in order}
        return [answers[index] for index in range(len(rows))]

    def _answer(self, prompt: str, row: list[int]) -> Completion:
        gguf, decoding = self._gguf, self.decoding
        answer = Answer(decoding, gguf.decode, gguf.end_ids, len(row))
        gguf.llama.set_seed(decoding.draw_seed(prompt))
        chosen = gguf.llama.generate(  # without the package's default sampling parameters
            row, temp=decoding.temperature, top_p=decoding.top_p, top_k=0, min_p=0.0, typical_p=1.0, repeat_penalty=1.0
        )
        for token in islice(chosen, decoding.max_new_tokens):
            answer.add(token, gguf.logprob(token))
            if not answer.is_open:
                break
        return answer.completion()


def _missing(model: str) -> MissingExtra:
    return MissingExtra(f"{PREFIX}{model}", "pip install 'acclimate[llama-cpp]'")
