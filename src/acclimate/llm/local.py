"""An LLM on this machine: batches of prompts in, completions out, greedy ones unless a temperature is set.

What the prompts of a batch share at their start, the few-shot examples, is read once and kept for later batches. The
shared part ends at a line end, so that documents which happen to begin alike make no prefix of their own; it is a
function of the batch alone, never of what was asked before, so the same batch always gets the same bytes.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import random
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import torch

from acclimate import models
from acclimate.errors import MissingExtra, SettingError
from acclimate.files import fingerprint
from acclimate.llm.generic import Generic
from acclimate.llm.llama import Llama
from acclimate.records import Completion

BATCH = 64  # at most so many prompts are decoded together; whoever knows better sends fewer at a time
KEPT_PREFIXES = 4
COMPACT_BELOW = 0.8  # finished prompts leave the batch once so few of its rows are live: moving the cache costs a step


class Decoder(Protocol):
    """Steps over a batch. What `prefix` returns may be given to any number of `start`s."""

    def prefix(self, ids: Sequence[int], /) -> Any: ...

    def start(self, prefix: Any, rows: Sequence[Sequence[int]], room: int, /) -> tuple[torch.Tensor, Any]: ...

    def step(self, tokens: torch.Tensor, cache: Any, /) -> torch.Tensor: ...


class LocalLLM:
    """A causal model that transformers can load; implements `acclimate.records.LLM`.

    Special tokens are never read from a prompt and never returned; the first one chosen ends an answer. An answer's
    tokens are counted with the one that ended it. With a temperature above 0 each prompt's tokens are drawn from a
    sequence of its own, which follows from `seed` and the prompt: order and company change nothing. Log-probabilities
    are the model's own, whatever the temperature.
    """

    def __init__(
        self,
        model: str,
        *,
        max_new_tokens: int = 48,
        stop: Sequence[str] = ("\n",),
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
        dtype: torch.dtype | None = None,
        share_prefix: bool = True,
    ) -> None:
        if max_new_tokens < 1:
            raise SettingError(f"max_new_tokens is {max_new_tokens}; expected 1 or more")
        if temperature < 0 or not 0 < top_p <= 1:
            raise SettingError(f"temperature is {temperature} and top_p {top_p}; expected >= 0 and in (0, 1]")
        self.model = model
        self.temperature, self.top_p, self.seed = temperature, top_p, seed
        self.max_new_tokens = max_new_tokens
        self.stop = (stop,) if isinstance(stop, str) else tuple(stop)
        self.dtype = dtype or models.dtype()
        self.share_prefix = share_prefix
        self._prefixes: OrderedDict[tuple[int, ...], Any] = OrderedDict()

    @property
    def name(self) -> str:
        return self.model

    @property
    def fingerprint(self) -> str:
        """Of weights, precision and decoding parameters."""
        weights = models.weights_fingerprint(self.model)
        drawn = (self.temperature, self.top_p, self.seed) if self.temperature else ()
        return fingerprint("local", weights, str(self.dtype), self.max_new_tokens, self.stop, *drawn)

    def complete(self, prompts: Sequence[str]) -> list[Completion]:
        """One completion per prompt, in order.

        Raises SettingError for a prompt that is empty or has no room for `max_new_tokens` in the model's context.
        """
        rows = [self._ids(prompt) for prompt in prompts]
        for prompt, row in zip(prompts, rows, strict=True):
            if not row or len(row) + self.max_new_tokens > self.context:
                raise SettingError(
                    f"a prompt of {len(row)} tokens and {self.max_new_tokens} new ones: {self.model} takes 1 to "
                    f"{self.context} together; the prompt begins {prompt[:60]!r}"
                )
        order = sorted(range(len(rows)), key=lambda index: (len(rows[index]), prompts[index]))
        answers: list[Completion | None] = [None] * len(rows)
        for first in range(0, len(order), BATCH):
            batch = order[first : first + BATCH]
            draws = [random.Random(f"{self.seed}\0{prompts[index]}") for index in batch]
            for index, answer in zip(batch, self._decode([rows[index] for index in batch], draws), strict=True):
                answers[index] = answer
        return [answer for answer in answers if answer is not None]

    def cut(self, text: str, max_tokens: int) -> str:
        """The start of `text` in at most `max_tokens` tokens: to the end of a word where there is one, else a token."""
        offsets = self._tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        if len(offsets) <= max_tokens:
            return text
        if max_tokens < 1:
            return ""
        end = min(offsets[max_tokens - 1][1], offsets[max_tokens][0])  # a character of several tokens stays whole
        if not text[end].isspace():
            end = max((at for at in range(end) if text[at].isspace()), default=end)
        return text[:end].rstrip() or text[:end]

    @cached_property
    def context(self) -> int:
        """The most tokens that a prompt and its completion may have together."""
        return int(self._loaded.config.max_position_embeddings)

    @cached_property
    def _tokenizer(self) -> Any:
        from transformers import AutoTokenizer

        name = models.resolve(self.model)
        with _quiet():
            return AutoTokenizer.from_pretrained(
                name.path_or_id, revision=name.revision or "main", **_gguf(name.gguf_file)
            )

    @cached_property
    def _loaded(self) -> Any:
        from transformers import AutoModelForCausalLM

        name = models.resolve(self.model)
        extra: dict[str, Any] = {"use_safetensors": True}
        if name.gguf_file:
            from transformers import GgufConfig

            extra = {**_gguf(name.gguf_file), "quantization_config": GgufConfig(dequantize=True)}
        with _quiet():
            model: Any = AutoModelForCausalLM.from_pretrained(
                name.path_or_id, revision=name.revision or "main", dtype=self.dtype, **extra
            )
        return model.to(models.device()).eval()

    @cached_property
    def _decoder(self) -> Decoder:
        return Llama(self._loaded) if Llama.runs(self._loaded.config) else Generic(self._loaded)

    @cached_property
    def _end_ids(self) -> frozenset[int]:
        configured = self._loaded.generation_config.eos_token_id
        ends = configured if isinstance(configured, list) else [configured]
        return frozenset(self._tokenizer.all_special_ids) | {end for end in ends if end is not None}

    def _ids(self, prompt: str) -> list[int]:
        return self._tokenizer(prompt, split_special_tokens=True)["input_ids"]

    def _decode(self, rows: list[list[int]], draws: list[random.Random]) -> list[Completion]:
        """Completions of one batch of tokenized prompts, each with its own draws."""
        shared = self._shared(rows)
        answers = [_Answer(len(row)) for row in rows]
        live = list(range(len(rows)))  # answers by their row in the cache
        logits, cache = self._decoder.start(
            self._prefix(rows[0][:shared]), [row[shared:] for row in rows], self.max_new_tokens
        )
        for left in reversed(range(self.max_new_tokens)):
            if self.temperature:
                points = torch.tensor([draws[index].random() for index in live], device=logits.device)
                tokens, logprobs = _drawn(logits, points, self.temperature, self.top_p)
            else:
                tokens, logprobs = _greedy(logits)
            for index, token, logprob in zip(live, tokens.tolist(), logprobs.tolist(), strict=True):
                if answers[index].is_open:
                    self._add(answers[index], token, logprob)
            still = [row for row, index in enumerate(live) if answers[index].is_open]
            if not still or not left:
                break
            if len(still) <= COMPACT_BELOW * len(live):
                rows_kept = torch.tensor(still, device=tokens.device)
                cache.keep(rows_kept)
                tokens, live = tokens[rows_kept], [live[row] for row in still]
            logits = self._decoder.step(tokens, cache)
        return [answer.completion() for answer in answers]

    def _add(self, answer: _Answer, token: int, logprob: float) -> None:
        """Add a token; close the answer at an end of text, or at the first stop, cutting the text there."""
        answer.tokens += 1
        if token in self._end_ids:
            answer.is_open = False
            return
        answer.ids.append(token)
        answer.starts.append(len(answer.text))
        answer.logprobs.append(logprob)
        answer.text = self._tokenizer.decode(answer.ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        found = [at for at in map(answer.text.find, self.stop) if at >= 0]
        if found:
            answer.is_open = False
            answer.text = answer.text[: min(found)]
            kept = sum(start < min(found) for start in answer.starts)
            del answer.logprobs[kept:]

    def _shared(self, rows: list[list[int]]) -> int:
        """How many leading tokens to read once: up to the last line end that all have in common, 0 for one prompt."""
        if len(rows) == 1 or not self.share_prefix:
            return 0
        first, last = min(rows), max(rows)  # the extremes in order differ where any two do
        common = next((at for at, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(map(len, rows)))
        common = min(common, *(len(row) - 1 for row in rows))  # a token is left to read, whose logits are asked for
        while common and "\n" not in self._tokenizer.decode([first[common - 1]]):
            common -= 1
        return common

    def _prefix(self, ids: list[int]) -> Any:
        key = tuple(ids)
        if key not in self._prefixes:
            self._prefixes[key] = self._decoder.prefix(ids)
        self._prefixes.move_to_end(key)
        while len(self._prefixes) > KEPT_PREFIXES:
            self._prefixes.popitem(last=False)
        return self._prefixes[key]


@dataclass
class _Answer:
    """A completion being written."""

    prompt_tokens: int
    ids: list[int] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)  # where in the text each token begins
    logprobs: list[float] = field(default_factory=list)
    text: str = ""
    tokens: int = 0
    is_open: bool = True

    def completion(self) -> Completion:
        reason = "length" if self.is_open else "stop"
        return Completion(self.text, tuple(self.logprobs), self.prompt_tokens, self.tokens, reason)


def _greedy(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The likeliest token of each row, the lower id in a tie, and its natural log-probability in float32."""
    logits = logits.float()
    tokens = logits.argmax(-1)
    return tokens, logits.gather(1, tokens[:, None])[:, 0] - logits.logsumexp(-1)


def _drawn(
    logits: torch.Tensor, points: torch.Tensor, temperature: float, top_p: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """The token of each row at its point, in [0, 1), of the likeliest tokens that make up `top_p`; as `_greedy`."""
    logits = logits.float()
    shares, order = (logits / temperature).softmax(-1).sort(dim=-1, descending=True, stable=True)
    shares = torch.where(shares.cumsum(-1) - shares < top_p, shares, 0.0).cumsum(-1)
    at = (shares <= points[:, None] * shares[:, -1:]).sum(-1, keepdim=True).clamp_max(shares.shape[-1] - 1)
    tokens = order.gather(1, at)
    return tokens[:, 0], (logits.gather(1, tokens) - logits.logsumexp(-1, keepdim=True))[:, 0]


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
