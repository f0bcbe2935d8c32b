"""Greedy decoding for models of the Llama architecture, with the shared start of the prompts computed once.

Transformers loads the weights; the forward pass is written out here because three things it cannot do there pay for
themselves on a CPU. The keys and values of the shared prefix exist once, not once per prompt, and all prompts attend
to them in one matrix product per head. The cache is allocated once and written in place. Prompts are read in groups
small enough to stay in the processor's cache, and only as far as each group's longest. Weights are laid out once as the
processor's products read them.

Letters in shapes: B prompts, T tokens read at once, P prefix tokens, S columns of a prompt's own cache, K key-value
heads, G query heads per key-value head, D numbers per head, L layers, C numbers per token (hidden size).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from acclimate.llm.decoders.decoder import Rows

PAIRS_AT_ONCE = 32  # rows behind starts, each with a copy of its start's keys and values
GROUP_TOKENS = 512  # prompts are read about so many tokens at a time: large products, activations still in cache


@dataclass
class Cache:
    """Keys and values so far. Columns of a prompt: its tokens, a gap up to the longest prompt's end, its answer."""

    prefix: Tensor  # (L, 2, K, P, D)
    suffix: Tensor  # (L, 2, K, B, S, D)
    gap: Tensor  # (B, 1, 1, S): 0 where a key is a token, -inf in the gap
    positions: Tensor  # (B,): of the next token
    filled: int  # columns in use

    def keep(self, rows: Tensor) -> None:
        """Forget all prompts but `rows`."""
        self.suffix = self.suffix.index_select(3, rows)
        self.gap = self.gap[rows]
        self.positions = self.positions[rows]


class Llama:
    """A decoder: `prefix` once, then `start` and `step` until done. Logits are (B, vocabulary)."""

    @staticmethod
    def runs(config: Any) -> bool:
        """True for the models whose every part is written out below."""
        return (
            config.model_type == "llama"
            and config.hidden_act == "silu"
            and not (config.attention_bias or config.mlp_bias)
            and config.rope_parameters.get("rope_type", "default") in ("default", "linear", "llama3")
        )

    def __init__(self, model: Any) -> None:
        self._embeddings: Tensor = model.model.embed_tokens.weight
        self._head: Tensor = model.lm_head.weight
        self._norm: Tensor = model.model.norm.weight
        self._rotary = model.model.rotary_emb
        self._epsilon: float = model.config.rms_norm_eps
        self._kv_heads: int = model.config.num_key_value_heads
        self._groups: int = model.config.num_attention_heads // self._kv_heads
        self._head_size: int = model.model.layers[0].self_attn.head_dim
        self._layers = [_Layer.of(layer) for layer in model.model.layers]

    @torch.inference_mode()
    def prefix(self, ids: Sequence[int]) -> Tensor:
        """The keys and values of tokens that prompts share: (L, 2, K, P, D)."""
        nothing = self._embeddings.new_empty(self._kv_shape(0))
        suffix = self._embeddings.new_empty(self._kv_shape(1, len(ids)))
        if ids:
            self._read(torch.tensor([ids], device=suffix.device), 0, nothing, suffix)
        return suffix.squeeze(3)

    @torch.inference_mode()
    def start(self, prefix: Tensor, rows: Sequence[Sequence[int]], room: int) -> tuple[Tensor, Cache]:
        """Read what follows the prefix in each prompt (one token at least); `room` tokens may be added to each."""
        lengths = [len(row) for row in rows]
        suffix = self._embeddings.new_empty(self._kv_shape(len(rows), max(lengths) + room))
        last = []
        for first, end in _groups(lengths):
            longest = max(lengths[first:end])
            ids = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows[first:end]], device=suffix.device)
            suffix[:, :, :, first:end, longest : max(lengths)] = 0  # hidden, but a hidden NaN would still spread
            hidden = self._read(ids, prefix.shape[3], prefix, suffix[:, :, :, first:end])
            ends = torch.tensor(lengths[first:end], device=suffix.device) - 1
            last.append(hidden[torch.arange(end - first, device=suffix.device), ends])
        counts = torch.tensor(lengths, device=suffix.device)
        columns = torch.arange(suffix.shape[4], device=suffix.device)
        is_gap = (columns >= counts[:, None]) & (columns < max(lengths))
        gap = torch.zeros(is_gap.shape, dtype=suffix.dtype, device=suffix.device).masked_fill_(is_gap, float("-inf"))
        cache = Cache(prefix, suffix, gap[:, None, None], prefix.shape[3] + counts, max(lengths))
        return self._logits(torch.cat(last)), cache

    @torch.inference_mode()
    def step(self, tokens: Tensor, cache: Cache) -> Tensor:
        """Read one token (B,) per prompt."""
        hidden = F.embedding(tokens[:, None], self._embeddings)
        end = cache.filled + 1
        hidden = self._forward(hidden, cache.positions[:, None], cache.prefix, cache.suffix, end, cache.gap[..., :end])
        cache.filled, cache.positions = end, cache.positions + 1
        return self._logits(hidden[:, 0])

    @torch.inference_mode()
    def logits_of(self, starts: Rows, rows: Rows, start_of_row: Sequence[int], tokens: Sequence[int]) -> Tensor:
        """(n_rows, n_tokens) logits of some tokens as what follows each row behind its start, computed in float32."""
        head = self._head[list(tokens)].float()
        logits = head.new_empty(len(rows), len(tokens))
        for places, hidden in self._following(starts, rows, start_of_row):
            ends = [len(rows[place]) - 1 for place in places]
            logits[places] = F.linear(hidden[range(len(places)), ends], head)
        return logits

    @torch.inference_mode()
    def logprobs(self, starts: Rows, rows: Rows, start_of_row: Sequence[int]) -> list[Tensor]:
        """Per row: (its length - 1,) natural log-probabilities, in float32, of its tokens after the first."""
        logprobs: dict[int, Tensor] = {}
        for places, hidden in self._following(starts, rows, start_of_row):
            lengths = [len(rows[place]) - 1 for place in places]
            before = torch.cat([states[:length] for states, length in zip(hidden, lengths, strict=True)])
            after = torch.tensor([token for place in places for token in rows[place][1:]], device=hidden.device)
            logits = F.linear(before, self._head.float())
            logs = logits.gather(1, after[:, None])[:, 0] - logits.logsumexp(-1)
            logprobs.update(zip(places, logs.split(lengths), strict=True))
        return [logprobs[place] for place in range(len(rows))]

    def _following(self, starts: Rows, rows: Rows, start_of_row: Sequence[int]) -> Iterator[tuple[list[int], Tensor]]:
        """Some rows at a time, each read behind its start, which is read once: their places, and their
        last hidden states (B, T, C), normalized, in float32."""
        nothing = self._embeddings.new_empty(self._kv_shape(0))
        followers: list[list[int]] = [[] for _ in starts]
        for place, start in enumerate(start_of_row):
            followers[start].append(place)
        order = sorted(range(len(starts)), key=lambda start: (len(starts[start]), start))
        for first, end in _groups([len(starts[start]) for start in order]):
            group = order[first:end]
            longest = max(len(starts[start]) for start in group)
            starts_read = nothing.new_empty(self._kv_shape(len(group), longest))
            self._read(self._padded([starts[start] for start in group], longest), 0, nothing, starts_read)
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
                hidden = is_gap[:, None] | (columns > columns[longest:, None])  # (B, T, S): a gap, or the future
                mask = torch.zeros(hidden.shape, dtype=suffix.dtype, device=suffix.device).masked_fill_(
                    hidden, float("-inf")
                )
                x = F.embedding(self._padded([rows[place] for place in places], size), self._embeddings)
                positions = counts[:, None] + columns[:size]
                states = self._forward(x, positions, nothing, suffix, longest + size, mask[:, None]).float()
                yield places, F.rms_norm(states, states.shape[-1:], self._norm.float(), self._epsilon)

    def _padded(self, rows: Rows, length: int) -> Tensor:
        """(B, length) token ids, padded at the right."""
        return torch.tensor([[*row, *[0] * (length - len(row))] for row in rows], device=self._embeddings.device)

    def _kv_shape(self, *sizes: int) -> tuple[int, ...]:
        return len(self._layers), 2, self._kv_heads, *sizes, self._head_size

    def _read(self, ids: Tensor, position: int, prefix: Tensor, suffix: Tensor) -> Tensor:
        """Hidden states (B, T, C) of tokens (B, T), padded at the right, read from column 0 on."""
        parts = []
        size = max(1, GROUP_TOKENS // len(ids))  # long prompts are read piece by piece: scores are (T, P + S)
        for column in range(0, ids.shape[1], size):
            piece = ids[:, column : column + size]
            end = column + piece.shape[1]
            columns = torch.arange(end, device=ids.device)
            future = columns > columns[column:, None]  # (T, S); padding comes after every token, so this hides it too
            mask = torch.zeros(future.shape, dtype=suffix.dtype, device=suffix.device).masked_fill_(
                future, float("-inf")
            )
            positions = (position + columns[column:])[None].expand(len(ids), -1)
            parts.append(self._forward(F.embedding(piece, self._embeddings), positions, prefix, suffix, end, mask))
        return torch.cat(parts, 1)

    def _forward(self, x: Tensor, positions: Tensor, prefix: Tensor, suffix: Tensor, end: int, mask: Tensor) -> Tensor:
        """x (B, T, C) through all layers, its keys and values written to the T columns of `suffix` before `end`.

        mask is added to the scores of suffix keys: broadcastable to (B, G, T, end).
        """
        cos, sin = (angles[:, :, None] for angles in self._rotary(x, positions))  # (B, T, 1, D)
        for layer, shared, suffix_layer in zip(self._layers, prefix, suffix, strict=True):
            qkv = layer.qkv(F.rms_norm(x, x.shape[-1:], layer.norm_1, self._epsilon))
            qkv = qkv.unflatten(-1, (-1, self._head_size))
            qk, v = qkv.split((self._kv_heads * (self._groups + 1), self._kv_heads), 2)
            qk = qk * cos + _rotate_half(qk) * sin
            q, k = qk.split((self._kv_heads * self._groups, self._kv_heads), 2)
            suffix_layer[0, :, :, end - x.shape[1] : end] = k.permute(2, 0, 1, 3)
            suffix_layer[1, :, :, end - x.shape[1] : end] = v.permute(2, 0, 1, 3)
            x = x + layer.out(self._attend(q, shared, suffix_layer[:, :, :, :end], mask))
            gate, up = layer.gate_up(F.rms_norm(x, x.shape[-1:], layer.norm_2, self._epsilon)).chunk(2, -1)
            x = x + layer.down(F.silu(gate).mul_(up))
        return x

    def _attend(self, q: Tensor, shared: Tensor, suffix_layer: Tensor, mask: Tensor) -> Tensor:
        """q (B, T, K * G, D) over the prefix (2, K, P, D) and the suffix (2, K, B, S, D); returns (B, T, K * G * D).

        One softmax over both; the products with the prefix take all prompts at once.
        """
        batch, length = q.shape[:2]
        heads = (self._kv_heads, batch, self._groups, length)
        q = q.unflatten(2, (self._kv_heads, self._groups)).permute(2, 0, 3, 1, 4) * self._head_size**-0.5
        q = q.reshape(self._kv_heads, batch, self._groups * length, self._head_size)
        to_prefix = (q.flatten(1, 2) @ shared[0].mT).view(*heads, shared.shape[2])
        to_suffix = (q @ suffix_layer[0].mT).view(*heads, suffix_layer.shape[3]).add_(mask)
        weights = torch.cat([to_prefix, to_suffix], -1).softmax(-1)
        from_prefix, from_suffix = weights.split((to_prefix.shape[-1], to_suffix.shape[-1]), -1)
        mixed = (from_prefix.flatten(1, 3) @ shared[1]).view(q.shape)
        mixed = mixed + from_suffix.flatten(2, 3) @ suffix_layer[1]
        return mixed.view(*heads, -1).permute(1, 3, 0, 2, 4).reshape(batch, length, -1)

    def _logits(self, hidden: Tensor) -> Tensor:
        return F.linear(F.rms_norm(hidden, hidden.shape[-1:], self._norm, self._epsilon), self._head)


Product = Callable[[Tensor], Tensor]  # (..., in) to (..., out)


@dataclass(frozen=True)
class _Layer:
    norm_1: Tensor
    qkv: Product  # C to (K * G + 2 * K) * D
    out: Product
    norm_2: Tensor
    gate_up: Product
    down: Product

    @staticmethod
    def of(layer: Any) -> _Layer:
        """Products that share their input are joined: fewer and larger. The parts are dropped as the whole is made."""
        attention, mlp = layer.self_attn, layer.mlp
        joined = _Layer(
            norm_1=layer.input_layernorm.weight,
            qkv=_product(torch.cat([attention.q_proj.weight, attention.k_proj.weight, attention.v_proj.weight])),
            out=_product(attention.o_proj.weight),
            norm_2=layer.post_attention_layernorm.weight,
            gate_up=_product(torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight])),
            down=_product(mlp.down_proj.weight),
        )
        del attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj
        del mlp.gate_proj, mlp.up_proj, mlp.down_proj
        return joined


def _product(weight: Tensor) -> Product:
    """x -> x @ weight.T, for weight (out, in).

    oneDNN copies a bfloat16 weight into a layout of its own at each product, 7 % of all time here. The operators that
    torch.compile calls take a weight that was copied once.
    """
    weight = weight.detach()
    onednn = torch.ops.mkldnn
    is_bf16_on_cpu = weight.device.type == "cpu" and weight.dtype == torch.bfloat16
    if not (is_bf16_on_cpu and torch.backends.mkldnn.is_available() and onednn._is_mkldnn_bf16_supported()):
        return lambda x: F.linear(x, weight)
    laid_out = onednn._reorder_linear_weight(weight, GROUP_TOKENS)
    return lambda x: onednn._linear_pointwise(x, laid_out, None, "none", [], "")


def _rotate_half(x: Tensor) -> Tensor:
    first, second = x.chunk(2, -1)
    return torch.cat([-second, first], -1)


def _groups(lengths: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Runs of prompts (first, end) of at most GROUP_TOKENS tokens, padding included; at least one prompt each."""
    first = longest = 0
    for end, length in enumerate(lengths):
        if end > first and max(longest, length) * (end + 1 - first) > GROUP_TOKENS:
            yield first, end
            first, longest = end, 0
        longest = max(longest, length)
    yield first, len(lengths)
