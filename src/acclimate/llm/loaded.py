"""A causal or sequence-to-sequence model of transformers, loaded when first needed: tokenizer, decoder, context.

Any number of `LocalLLM`s with different decodings share one. Special tokens are never read from a prompt's text: those
of a chat template are put around it as ids.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from acclimate import models
from acclimate.errors import MissingExtra
from acclimate.llm.decoding import cut_at

if TYPE_CHECKING:
    import torch

KEPT_PREFIXES = 4
RELATIVE_CONTEXT = 2048  # tokens, for models whose positions are relative and have no end
_MARK = "{prompt}"


class Decoder(Protocol):
    """Steps over a batch. What `prefix` returns may be given to any number of `start`s."""

    def prefix(self, ids: Sequence[int], /) -> Any: ...

    def start(self, prefix: Any, rows: Sequence[Sequence[int]], room: int, /) -> tuple[torch.Tensor, Any]: ...

    def step(self, tokens: torch.Tensor, cache: Any, /) -> torch.Tensor: ...


class Loaded:
    """The model of that name, in that precision."""

    def __init__(self, name: str, dtype: torch.dtype) -> None:
        self.name, self.dtype = name, dtype
        self.most_rows: int | None = None  # that memory was seen to have room for, once it had none for more
        self._prefixes: OrderedDict[tuple[int, ...], Any] = OrderedDict()

    @cached_property
    def tokenizer(self) -> Any:
        from transformers import AutoTokenizer

        model = models.resolve(self.name)
        with _quiet():
            return AutoTokenizer.from_pretrained(
                model.path_or_id, revision=model.revision or "main", **_gguf(model.gguf_file)
            )

    @cached_property
    def model(self) -> Any:
        from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM

        model = models.resolve(self.name)
        revision = model.revision or "main"
        extra: dict[str, Any] = {"use_safetensors": True}
        kind: Any = AutoModelForCausalLM
        if model.gguf_file:
            from transformers import GgufConfig

            extra = {**_gguf(model.gguf_file), "quantization_config": GgufConfig(dequantize=True)}
        elif AutoConfig.from_pretrained(model.path_or_id, revision=revision).is_encoder_decoder:
            kind = AutoModelForSeq2SeqLM
        with _quiet():
            loaded: Any = kind.from_pretrained(model.path_or_id, revision=revision, dtype=self.dtype, **extra)
        return loaded.to(models.device()).eval()

    @cached_property
    def decoder(self) -> Decoder:
        from acclimate.llm.generic import Generic
        from acclimate.llm.llama import Llama
        from acclimate.llm.seq2seq import Seq2Seq

        if self.is_seq2seq:
            return Seq2Seq(self.model)
        return Llama(self.model) if Llama.runs(self.model.config) else Generic(self.model)

    @property
    def is_seq2seq(self) -> bool:
        """True when an encoder reads the prompt and a decoder writes the answer: T5 and its like."""
        return self.model.config.is_encoder_decoder

    @cached_property
    def context(self) -> int:
        """The most tokens that a prompt and its completion may have together."""
        return int(getattr(self.model.config, "max_position_embeddings", None) or RELATIVE_CONTEXT)

    @cached_property
    def end_ids(self) -> frozenset[int]:
        """The tokens that end an answer."""
        configured = self.model.generation_config.eos_token_id
        ends = configured if isinstance(configured, list) else [configured]
        return frozenset(self.tokenizer.all_special_ids) | {end for end in ends if end is not None}

    def ids(self, prompt: str, *, chat: bool) -> list[int]:
        """The tokens of a prompt: as a message in the model's chat template, if that is asked for and it has one."""
        if not (chat and self.tokenizer.chat_template):
            return self.tokenizer(prompt, split_special_tokens=True)["input_ids"]
        before, after = self._template
        own = self.tokenizer(prompt.strip(), split_special_tokens=True, add_special_tokens=False)["input_ids"]
        return [*before, *own, *after]

    @cached_property
    def _template(self) -> tuple[list[int], list[int]]:
        """What the chat template puts before and behind a message."""
        message = [{"role": "user", "content": _MARK}]
        text = self.tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
        before, _, after = text.partition(_MARK)
        return tuple(self.tokenizer(part, add_special_tokens=False)["input_ids"] for part in (before, after))

    def cut(self, text: str, max_tokens: int) -> str:
        """The start of `text` in at most `max_tokens` tokens: to the end of a sentence, a word, or else a token."""
        offsets = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        if len(offsets) <= max_tokens:
            return text
        # A character of several tokens stays whole.
        end = min(offsets[max_tokens - 1][1], offsets[max_tokens][0]) if max_tokens > 0 else 0
        return cut_at(text, end) if end else ""

    def prefix(self, ids: list[int]) -> Any:
        """What the decoder remembers of tokens that prompts share; the last few are kept."""
        key = tuple(ids)
        if key not in self._prefixes:
            self._prefixes[key] = self.decoder.prefix(ids)
        self._prefixes.move_to_end(key)
        while len(self._prefixes) > KEPT_PREFIXES:
            self._prefixes.popitem(last=False)
        return self._prefixes[key]

    def forget_prefixes(self) -> None:
        """Give their memory back."""
        self._prefixes.clear()


def _gguf(gguf_file: str | None) -> dict[str, str]:
    if not gguf_file:
        return {}
    if importlib.util.find_spec("gguf") is None:
        raise MissingExtra("A GGUF model", "pip install gguf")
    return {"gguf_file": gguf_file}


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars and no advice from transformers: the library is silent."""
    from transformers.utils import logging

    gguf_loader: Any = importlib.import_module("transformers.modeling_gguf_pytorch_utils")
    had_bars, verbosity, bar = logging.is_progress_bar_enabled(), logging.get_verbosity(), gguf_loader.tqdm
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    gguf_loader.tqdm = functools.partial(bar, disable=True)  # the one bar that does not ask
    try:
        yield
    finally:
        gguf_loader.tqdm = bar
        logging.set_verbosity(verbosity)
        if had_bars:
            logging.enable_progress_bar()
