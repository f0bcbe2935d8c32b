"""The fast decoder, for the architectures of `architectures.py`, computing the prompts' common prefix once.

Transformers loads the weights; the forward pass is our own because of what it gains. Keys and values of the prefix are
stored once, not per prompt, and all prompts attend to them in one matrix product per head. The cache is allocated once
and written in place, so each step is the same operations on the same memory: on a GPU, a CUDA graph. Prompts are read
in groups small enough for a CPU's cache, or large enough to fill a GPU, padded only to each group's longest. Weights
are packed once in oneDNN's layout. Layers with sliding windows have the same cache and mask what is too far.

Shapes: B prompts, T tokens read at once, P prefix tokens, S columns of a prompt's own cache, K key-value heads, G query
heads per key-value head, D numbers per head, L layers, C hidden size.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from acclimate.base import models
from acclimate.base.cores import check_cancelled
from acclimate.llm.decoders.architectures import WINDOWED, architecture_of
from acclimate.llm.decoders.attention import Reading, attend, attend_fused, mask_of, rotated
from acclimate.llm.decoders.configuration import text_config
from acclimate.llm.decoders.decoder import Rows
from acclimate.llm.decoders.packed_cache import Cache, FixedCaches, empty
from acclimate.llm.decoders.packed_layer import AttentionSpan, Layer, norm_of, product

PAIRS_AT_ONCE = 32  # rows scored at once, each with a copy of its start's keys and values
GROUP_TOKENS = 512  # tokens read at once: large products, with activations still in the cache
GPU_GROUP_TOKENS = 16384  # the same on a GPU, where small products would leave it idle
LONGEST_PIECE = 2048  # tokens of a prompt read at once
WORTH_TILES = 32  # tokens per prompt from which fused CPU attention is faster, on CPUs with tile instructions (AMX)
HEAD_ROWS = 8192  # vocabulary rows whose logits are computed at once in scoring


class Packed:
    """A decoder: `prefix` once, then `start` and `step` until done. Logits are (B, vocabulary)."""

    @staticmethod
    def runs(config: Any) -> bool:
        """True for models that are fully supported."""
        return architecture_of(config) is not None

    def __init__(self, model: Any, *, for_gpu: bool | None = None) -> None:
        """for_gpu: work as on a GPU; None: if the model is on one."""
        architecture, config, text = architecture_of(model.config), text_config(model.config), model.get_decoder()
        assert architecture is not None
        self._embedded = text.embed_tokens  # (B, T) -> (B, T, C)
        self._head: Tensor = model.lm_head.weight
        self._to_logits = product(self._head)
        self._norm = norm_of(text.norm, architecture, config)
        self._kv_heads: int = config.num_key_value_heads
        self._groups: int = config.num_attention_heads // self._kv_heads
        self._head_size: int = text.layers[0].self_attn.head_dim
        self._scale: float = text.layers[0].self_attn.scaling
        kinds = architecture.kinds(config)
        spans = {
            kind: AttentionSpan(
                partial(text.rotary_emb, layer_type=kind) if architecture.rotates_by_kind else text.rotary_emb,
                config.sliding_window if kind == WINDOWED else None,
            )
            for kind in {*kinds}
        }
        self._layers = [
            Layer.of(layer, spans[kind], architecture, config) for layer, kind in zip(text.layers, kinds, strict=True)
        ]
        self._for_gpu: bool = self._head.is_cuda if for_gpu is None else for_gpu
        self._fixed = FixedCaches() if self._for_gpu else None
        # Tokens read at once from which fused attention is used.
        self._fewest_fused = 2 if self._for_gpu else WORTH_TILES if models.uses_amx(self._head) else math.inf

    @torch.inference_mode()
    def prefix(self, ids: Sequence[int]) -> Tensor:
        """Keys and values of tokens that prompts share: (L, 2, K, P, D)."""
        nothing = self._head.new_empty(self._kv_shape(0))
        suffix = self._head.new_empty(self._kv_shape(1, len(ids)))
        if ids:
            self._read([ids], 0, nothing, suffix)
        return suffix.squeeze(3)

    @torch.inference_mode()
    def start(self, prefix: Tensor, rows: Sequence[Sequence[int]], room: int) -> tuple[Tensor, Cache]:
        """Read what follows the prefix in each prompt (at least one token); up to `room` tokens may be added."""
        lengths = [len(row) for row in rows]
        longest, shared = max(lengths), prefix.shape[3]
        make = partial(self._fixed.empty, step=self._advance) if self._fixed else empty
        cache = make(prefix, len(rows), longest + room)
        last = []
        for first, end in _groups(lengths, self._group_tokens):
            check_cancelled()
            last.append(self._read(rows[first:end], shared, prefix, cache.suffix[:, :, :, first:end]))
        counts = torch.tensor(lengths, device=prefix.device)
        columns = torch.arange(longest, device=prefix.device)
        is_gap = columns >= counts[:, None]
        cache.mask[: len(rows), 0, 0, :longest].zero_().masked_fill_(is_gap, float("-inf"))
        cache.positions[: len(rows)] = shared + counts
        # The answer begins in the column after the longest prompt, for every prompt.
        written = torch.arange(cache.key_positions.shape[1], device=prefix.device)
        behind = written - longest + counts[:, None]
        cache.key_positions[: len(rows)] = shared + torch.where(written < longest, written, behind)
        cache.column.fill_(longest)
        return self._logits(torch.cat(last)), cache

    @torch.inference_mode()
    def step(self, tokens: Tensor, cache: Cache) -> Tensor:
        """Read one token (B,) per prompt."""
        if cache.advance is None:
            cache.tokens = tokens
            return self._advance(cache)
        cache.tokens[: len(tokens)] = tokens
        return cache.advance()[: len(tokens)]

    def forget(self) -> bool:
        """Release memory kept between batches; returns whether there was any."""
        return self._fixed is not None and self._fixed.forget()

    def _advance(self, cache: Cache) -> Tensor:
        """One step on the cache's tensors."""
        cache.mask.index_fill_(3, cache.column, 0.0)
        reading = Reading(cache.positions[:, None], cache.column, cache.key_positions, cache.mask)
        x = self._forward(self._embedded(cache.tokens[:, None]), reading, cache.prefix, cache.suffix)
        cache.column += 1
        cache.positions += 1
        return self._logits(x[:, 0])

    @torch.inference_mode()
    def logits_of(self, starts: Rows, rows: Rows, start_of_row: Sequence[int], tokens: Sequence[int]) -> Tensor:
        """(n_rows, n_tokens) float32 logits of some tokens after each row following its start."""
        head = self._head[list(tokens)].float()
        logits = head.new_empty(len(rows), len(tokens))
        for places, hidden in self._following(starts, rows, start_of_row):
            ends = [len(rows[place]) - 1 for place in places]
            logits[places] = F.linear(hidden[range(len(places)), ends], head)
        return logits

    @torch.inference_mode()
    def logprobs(self, starts: Rows, rows: Rows, start_of_row: Sequence[int]) -> list[Tensor]:
        """For each row, (length - 1,) natural log-probabilities of its tokens after the first, in float32."""
        logprobs: dict[int, Tensor] = {}
        for places, hidden in self._following(starts, rows, start_of_row):
            lengths = [len(rows[place]) - 1 for place in places]
            before = torch.cat([states[:length] for states, length in zip(hidden, lengths, strict=True)])
            after = torch.tensor([token for place in places for token in rows[place][1:]], device=hidden.device)
            logprobs.update(zip(places, self._logprobs_of(after, before).split(lengths), strict=True))
        return [logprobs[place] for place in range(len(rows))]

    def _logprobs_of(self, tokens: Tensor, before: Tensor) -> Tensor:
        """(N,) log-probability of each token after its hidden state (N, C).

        Computed for some rows of the head at a time, as its float32 copy may not fit in memory.
        """
        logits_of_tokens, sums = before.new_zeros(len(before)), list[Tensor]()
        for first in range(0, len(self._head), HEAD_ROWS):
            logits = F.linear(before, self._head[first : first + HEAD_ROWS].float())
            columns = tokens - first
            within = columns.clamp(0, logits.shape[1] - 1)
            here = logits.gather(1, within[:, None])[:, 0]
            logits_of_tokens = torch.where(columns == within, here, logits_of_tokens)
            sums.append(logits.logsumexp(-1))
        return logits_of_tokens - torch.stack(sums).logsumexp(0)

    def _following(self, starts: Rows, rows: Rows, start_of_row: Sequence[int]) -> Iterator[tuple[list[int], Tensor]]:
        """(positions, last hidden states (B, T, C), normalized, float32) of batches of rows after their start."""
        nothing = self._head.new_empty(self._kv_shape(0))
        followers: list[list[int]] = [[] for _ in starts]
        for place, start in enumerate(start_of_row):
            followers[start].append(place)
        order = sorted(range(len(starts)), key=lambda start: (len(starts[start]), start))
        for first, end in _groups([len(starts[start]) for start in order], self._group_tokens):
            group = order[first:end]
            longest = max(len(starts[start]) for start in group)
            starts_read = nothing.new_empty(self._kv_shape(len(group), longest))
            self._read([starts[start] for start in group], 0, nothing, starts_read)
            pairs = [(number, place) for number, start in enumerate(group) for place in followers[start]]
            pairs.sort(key=lambda pair: (len(rows[pair[1]]), pair))
            for first_pair in range(0, len(pairs), PAIRS_AT_ONCE):
                numbers, places = (
                    list(part) for part in zip(*pairs[first_pair : first_pair + PAIRS_AT_ONCE], strict=True)
                )
                size = max(len(rows[place]) for place in places)
                suffix = nothing.new_empty(self._kv_shape(len(places), longest + size))
                suffix[:, :, :, :, :longest] = starts_read[:, :, :, numbers]
                counts = torch.tensor([len(starts[group[number]]) for number in numbers], device=suffix.device)
                columns = torch.arange(longest + size, device=suffix.device)
                is_gap = (columns >= counts[:, None]) & (columns < longest)  # (B, S)
                hidden = is_gap[:, None] | (columns > columns[longest:, None])  # (B, T, S): a gap, or a later token
                mask = mask_of(hidden, suffix.dtype)
                positions = counts[:, None] + columns[:size]
                key_positions = torch.cat([columns[:longest].expand(len(places), -1), positions], 1)
                reading = Reading(positions, slice(longest, None), key_positions, mask[:, None])
                x = self._embedded(self._padded([rows[place] for place in places], size))
                yield places, self._norm.float()(self._forward(x, reading, nothing, suffix).float())

    @property
    def _group_tokens(self) -> int:
        return GPU_GROUP_TOKENS if self._for_gpu else GROUP_TOKENS

    def _padded(self, rows: Rows, length: int) -> Tensor:
        """(B, length) token ids, right-padded."""
        return torch.tensor([[*row, *[0] * (length - len(row))] for row in rows], device=self._head.device)

    def _kv_shape(self, *sizes: int) -> tuple[int, ...]:
        return len(self._layers), 2, self._kv_heads, *sizes, self._head_size

    def _read(self, rows: Rows, position: int, prefix: Tensor, suffix: Tensor) -> Tensor:
        """(B, C) hidden states of each row's last token, reading all tokens from column 0."""
        ids = self._padded(rows, max(map(len, rows)))
        ends = torch.tensor([len(row) - 1 for row in rows], device=ids.device)
        states = self._head.new_empty(len(rows), self._head.shape[1])
        # Long prompts are read in pieces, as scores are (T, P + S).
        size = max(1, min(LONGEST_PIECE, self._group_tokens // len(ids)))
        for column in range(0, ids.shape[1], size):
            piece = ids[:, column : column + size]
            end = column + piece.shape[1]
            columns = torch.arange(end, device=ids.device)
            future = columns > columns[column:, None]  # (T, S); padding comes after every token, so this hides it, too
            mask = mask_of(future, suffix.dtype)
            positions = (position + columns)[None]
            asked = (ends - column).clamp(0, piece.shape[1] - 1)
            reading = Reading(positions[:, column:], slice(column, end), positions, mask[None, None], asked)
            x = self._forward(self._embedded(piece), reading, prefix, suffix[..., :end, :])
            states = torch.where((ends >= column)[:, None], x[:, 0], states)
        return states

    def _forward(self, x: Tensor, reading: Reading, prefix: Tensor, suffix: Tensor) -> Tensor:
        """x (B, T, C) through all layers, writing keys and values to `suffix`; (B, 1, C) if one token is asked for."""
        spans = {layer.span for layer in self._layers}
        masks_by = {span: reading.masks(span.window, prefix.shape[3]) for span in spans}
        angles_of = {
            span: [angles[:, :, None] for angles in span.rotary(x, reading.positions)]  # (B or 1, T, 1, D)
            for span in spans
        }
        attention = attend_fused if x.shape[1] >= self._fewest_fused else attend
        for layer, shared, suffix_layer in zip(self._layers, prefix, suffix, strict=True):
            masks = masks_by[layer.span]
            qkv = layer.qkv(layer.before_attention(x)).unflatten(-1, (-1, self._head_size))
            qk, v = qkv.split((self._kv_heads * (self._groups + 1), self._kv_heads), 2)
            qk = rotated(layer.of_heads(qk), *angles_of[layer.span])
            q, k = qk.split((self._kv_heads * self._groups, self._kv_heads), 2)
            suffix_layer[0][:, :, reading.columns] = k.permute(2, 0, 1, 3)
            suffix_layer[1][:, :, reading.columns] = v.permute(2, 0, 1, 3)
            if reading.asked is not None and layer is self._layers[-1]:
                row = torch.arange(len(x), device=x.device)
                x, q = x[row, reading.asked][:, None], q[row, reading.asked][:, None]
                attention, masks = attend, masks.by(reading.asked)
            x = x + layer.after_attention(layer.out(attention(q, shared, suffix_layer, masks, self._scale)))
            x = x + layer.after_mlp(layer.mlp(layer.before_mlp(x)))
        return x

    def _logits(self, hidden: Tensor) -> Tensor:
        return self._to_logits(self._norm(hidden))


def _groups(lengths: Sequence[int], most: int) -> Iterator[tuple[int, int]]:
    """(first, end) ranges of prompts with at most `most` tokens, padding included; at least one prompt each."""
    first = longest = 0
    for end, length in enumerate(lengths):
        if end > first and max(longest, length) * (end + 1 - first) > most:
            yield first, end
            first, longest = end, 0
        longest = max(longest, length)
    yield first, len(lengths)
