"""A model's tokenizer, loaded on first use: prompts to ids, ids to text, truncation by tokens.

Special tokens in a prompt's text are not recognized: those of a chat template are added as ids.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from acclimate.base import models
from acclimate.base.loading import naming
from acclimate.llm.decoders import gguf
from acclimate.llm.decoders.chat_template import OPTIONS, around
from acclimate.llm.decoders.unpacked import load_unpacked
from acclimate.llm.lengths import cut_at


class Tokenizer:
    """The tokenizer of a model by name."""

    def __init__(self, name: str) -> None:
        self.name = name

    @cached_property
    def tokenizer(self) -> Any:
        """The transformers tokenizer."""
        from transformers import AutoTokenizer

        model = models.resolve(self.name)
        load = functools.partial(AutoTokenizer.from_pretrained, revision=model.revision or "main")

        def unpack() -> Any:
            with gguf.read_once():
                return load(model.path_or_id, gguf_file=model.gguf_file)

        with naming(self.name):
            if model.gguf_file:
                return load_unpacked(self.name, "tokenizer", unpack, load)
            return load(model.path_or_id)

    @cached_property
    def end_ids(self) -> frozenset[int]:
        """The tokens that end an answer: all special ones, also unused ones."""
        added = self.tokenizer.added_tokens_decoder.items()
        return frozenset(self.tokenizer.all_special_ids) | {token for token, special in added if special.special}

    def ids(self, prompt: str, *, chat: bool) -> list[int]:
        """A prompt's tokens; with `chat`, as a message in the model's chat template, if it has one."""
        return self.rows([prompt], chat=chat)[0]

    def rows(self, prompts: Sequence[str], *, chat: bool) -> list[list[int]]:
        """`ids` of each prompt, in one call that can use several threads."""
        if not prompts:
            return []
        if not (chat and self.tokenizer.chat_template):
            return self.tokenizer(list(prompts), split_special_tokens=True)["input_ids"]
        before, after = self._template
        texts = [prompt.strip() for prompt in prompts]
        messages = self.tokenizer(texts, split_special_tokens=True, add_special_tokens=False)["input_ids"]
        return [[*before, *message, *after] for message in messages]

    @cached_property
    def _template(self) -> tuple[list[int], list[int]]:
        """Tokens of the chat template before and after a message."""
        render = functools.partial(
            self.tokenizer.apply_chat_template, tokenize=False, add_generation_prompt=True, **OPTIONS
        )
        before, after = around(self.name, render)
        return tuple(self.tokenizer(part, add_special_tokens=False)["input_ids"] for part in (before, after))

    def decode(self, ids: Sequence[int]) -> str:
        """The text of tokens, without special ones."""
        return self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def cut(self, text: str, max_tokens: int) -> str:
        """Truncate `text` to `max_tokens` tokens: after a sentence, else a word, else a token."""
        read = self.tokenizer(text, split_special_tokens=True, add_special_tokens=False, return_offsets_mapping=True)
        offsets = read["offset_mapping"]
        if len(offsets) <= max_tokens:
            return text
        # Keep a character of several tokens whole.
        end = min(offsets[max_tokens - 1][1], offsets[max_tokens][0]) if max_tokens > 0 else 0
        return cut_at(text, end)

    def cut_tokens(self, text: str, max_tokens: int) -> str:
        """Decode the first `max_tokens` tokens of `text`; an incomplete character becomes U+FFFD."""
        ids = self.tokenizer(text, split_special_tokens=True, add_special_tokens=False)["input_ids"]
        return self.tokenizer.decode(ids[:max_tokens])
