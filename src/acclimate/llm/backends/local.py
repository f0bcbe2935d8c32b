"""LLMs on this machine through transformers: batches of prompts, decoded greedily unless a temperature is set.

The common prefix of a batch (few-shot examples) is computed once and cached for later batches. It ends at a line end,
so that documents with a common beginning do not extend it, and depends on the batch alone: the same batch always gets
the same bytes.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import cached_property, partial

import torch

from acclimate.base import models
from acclimate.base.cores import check_cancelled, single_core, uses_single_core
from acclimate.base.digests import fingerprint
from acclimate.llm.decoders.answer import Answer
from acclimate.llm.decoders.loaded import Loaded
from acclimate.llm.decoders.packed import Packed
from acclimate.llm.decoding import Decoding
from acclimate.llm.lengths import check_room
from acclimate.llm.protocol import BatchSize
from acclimate.records import Completion

CPU_BATCH = BatchSize(64, 16384)  # more gains little, and an interrupted run would lose more
GPU_BATCH = BatchSize(512, 65536)  # a decoding step takes a GPU as long for one prompt as for hundreds
CORES = 4  # maximum; each holds a batch in memory
STEPS_UNREAD = 8  # tokens that a GPU generates before they are examined, to avoid waiting for each
COMPACT_BELOW = 0.8  # share of unfinished rows below which finished ones are removed, at the cost of about one step


class LocalLLM:
    """A causal or sequence-to-sequence model of transformers; implements `acclimate.llm.LLM`.

    The first special token ends an answer, and is counted. With a temperature above 0 each prompt has its own random
    numbers, independent of order and batch. Log-probabilities are the model's own, at temperature 1. If memory runs
    out, batches are halved.
    """

    def __init__(
        self,
        model: str | Loaded,
        decoding: Decoding = Decoding(),
        *,
        dtype: torch.dtype | None = None,
        share_prefix: bool = True,
    ) -> None:
        self._loaded = Loaded(model, dtype or models.dtype()) if isinstance(model, str) else model
        self.decoding = decoding
        self.share_prefix = share_prefix

    @property
    def name(self) -> str:
        """The name given by the user."""
        return self._loaded.name

    @property
    def fingerprint(self) -> str:
        """Of weights, precision and decoding."""
        weights = models.weights_fingerprint(self.name)
        return fingerprint("local", weights, str(self._loaded.dtype), self.decoding.fingerprint)

    def decoding_as(self, decoding: Decoding) -> LocalLLM:
        """The same model with another decoding; what is loaded is shared."""
        return LocalLLM(self._loaded, decoding, share_prefix=self.share_prefix)

    @property
    def maker(self) -> Callable[[], LocalLLM]:
        """Makes the same LLM in another process."""
        return partial(LocalLLM, self.name, dtype=self._loaded.dtype, share_prefix=self.share_prefix)

    def cut(self, text: str, max_tokens: int) -> str:
        """Truncate `text` to `max_tokens` tokens: after a sentence, else a word, else a token."""
        return self._loaded.cut(text, max_tokens)

    def cut_tokens(self, text: str, max_tokens: int) -> str:
        """Decode the first `max_tokens` tokens of `text`."""
        return self._loaded.cut_tokens(text, max_tokens)

    @property
    def cores(self) -> int:
        """Number of batches to answer at once on a CPU, one per core; 1: one on all cores. Loads the model."""
        self._loaded.tokenizer  # noqa: B018 (here, as several threads would load it several times)
        is_packed = isinstance(self._loaded.decoder, Packed)  # thread-safe
        return CORES if is_packed and uses_single_core(self._loaded.width) else 1

    @property
    def batch_size(self) -> BatchSize:
        """The batch size that suits the device."""
        return GPU_BATCH if models.device() == "cuda" else CPU_BATCH

    def complete(self, prompts: Sequence[str]) -> list[Completion]:
        """One completion per prompt, in order.

        Raises SettingError for an empty prompt, or one that leaves no room for `max_new_tokens` in the context.
        """
        model, room = self._loaded, self.decoding.max_new_tokens
        rows = model.rows(prompts, chat=self.decoding.chat)
        for prompt, row in zip(prompts, rows, strict=True):
            check_room(self.name, prompt, len(row), room, model.context)
        order = sorted(range(len(rows)), key=lambda index: (len(rows[index]), prompts[index]))
        answers: dict[int, Completion] = {}
        for first in range(0, len(order), self.batch_size.prompts):
            batch = order[first : first + self.batch_size.prompts]
            draws = [self.decoding.draws(prompts[index]) for index in batch]
            with single_core(model.width):
                completions = model.halving(
                    self._decode,
                    list(zip([rows[index] for index in batch], draws, strict=True)),
                    what=f"one prompt of {max(len(rows[index]) for index in batch)} tokens; shorten "
                    f"generate.max_doc_tokens, or use a smaller model than {self.name}",
                    free_caches=model.forget,
                )
            answers.update(zip(batch, completions, strict=True))
        return [answers[index] for index in range(len(rows))]

    def _decode(self, prompts: Sequence[tuple[list[int], str]]) -> list[Completion]:
        """Completions of one batch of (prompt tokens, key of the random numbers)."""
        model, decoding = self._loaded, self.decoding
        rows, draws = [row for row, _ in prompts], [random.Random(draw) for _, draw in prompts]
        shared = self._shared(rows)
        answers = [Answer(decoding, model.decode, model.end_ids, len(row)) for row in rows]
        live = list(range(len(rows)))  # cache row -> answer
        logits, cache = model.decoder.start(
            model.prefix(rows[0][:shared]), [row[shared:] for row in rows], decoding.max_new_tokens
        )
        unread = self._steps_unread
        tokens = torch.empty(0, dtype=torch.long)  # of the last step
        for left in range(decoding.max_new_tokens, 0, -unread):
            check_cancelled()
            points = [[draws[index].random() for index in live] for _ in range(min(unread, left))]
            chosen: list[tuple[torch.Tensor, torch.Tensor]] = []
            for step_points in torch.tensor(points, device=logits.device):
                if len(tokens):
                    logits = model.decoder.step(tokens, cache)
                tokens, logprobs = self._choose(logits, step_points)
                chosen.append((tokens, logprobs))
            written = (torch.stack(each).tolist() for each in zip(*chosen, strict=True))
            for step_tokens, step_logprobs in zip(*written, strict=True):
                for index, token, logprob in zip(live, step_tokens, step_logprobs, strict=True):
                    if answers[index].is_open:
                        answers[index].add(token, logprob)
            still = [row for row, index in enumerate(live) if answers[index].is_open]
            if not still:
                break
            if cache.shrinks and len(still) <= COMPACT_BELOW * len(live):
                rows_kept = torch.tensor(still, device=tokens.device)
                cache.keep(rows_kept)
                tokens, live = tokens[rows_kept], [live[row] for row in still]
        return [answer.completion() for answer in answers]

    @cached_property
    def _steps_unread(self) -> int:
        return 1 if models.device() == "cpu" else STEPS_UNREAD

    def _choose(self, logits: torch.Tensor, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(next token of each row, its natural log-probability). points: random numbers of the rows, for sampling."""
        temperature, top_p = self.decoding.temperature, self.decoding.top_p
        return _sampled(logits, points, temperature, top_p) if temperature else _greedy(logits)

    def _shared(self, rows: list[list[int]]) -> int:
        """Length of the common prefix to compute once, up to the last common line end; 0 for a single prompt."""
        if len(rows) == 1 or not self.share_prefix or self._loaded.is_seq2seq:
            return 0
        first, last = min(rows), max(rows)  # the extremes in sorted order share the shortest prefix
        common = next(
            (position for position, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(map(len, rows))
        )
        common = min(common, *(len(row) - 1 for row in rows))  # leave a token to read, for its logits
        while common and "\n" not in self._loaded.tokenizer.decode([first[common - 1]]):
            common -= 1
        return common


def _greedy(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The most likely token of each row, the lower id in a tie, and its natural log-probability in float32."""
    logits = logits.float()
    tokens = logits.argmax(-1)
    return tokens, logits.log_softmax(-1).gather(1, tokens[:, None])[:, 0]  # on a CPU twice as fast as logsumexp


def _sampled(
    logits: torch.Tensor, points: torch.Tensor, temperature: float, top_p: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """The token of each row at its point, in [0, 1), of the nucleus with probability `top_p`; returns as `_greedy`."""
    logits = logits.float()
    shares, order = (logits / temperature).softmax(-1).sort(dim=-1, descending=True, stable=True)
    is_likely = shares.cumsum(-1) - shares < top_p
    last = is_likely.sum(-1, keepdim=True).clamp_min(1) - 1
    shares = torch.where(is_likely, shares, 0.0).cumsum(-1)
    ranks = (shares <= points[:, None] * shares[:, -1:]).sum(-1, keepdim=True)
    tokens = order.gather(1, ranks.minimum(last))  # in float32 a point just below 1 is 1, above every sum
    return tokens[:, 0], logits.log_softmax(-1).gather(1, tokens)[:, 0]
