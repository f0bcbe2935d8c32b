"""The forward pass of BERT-like encoders (BERT, RoBERTa, XLM-RoBERTa, CamemBERT), for inference only.

Transformers loads the weights; the forward pass is our own because it gains four things. Tokens of all texts share
matrix products without padding: on a CPU, texts of equal length form a block. Weights are packed once in oneDNN's
layout, bias and activation are fused into the product, and attention scores stay in the cache. If only the first token
is read (cross-encoders), the last layer is computed for that token alone. And in float32 on a CPU results are
batch-invariant: a text's numbers are bit-identical whatever else is in the batch, as each operation treats each row
alike.

Shapes: B texts per block, T tokens of the longest text, N tokens of all blocks, H heads, D numbers per head, C hidden
size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from acclimate.base import models

_MODELS = ("BertModel", "RobertaModel", "XLMRobertaModel", "CamembertModel")
_GELU_TANH = ("gelu", "tanh")
_FUSED = {  # oneDNN's names of fused activations, with their algorithm
    "gelu": ("gelu", "none"),
    "gelu_new": _GELU_TANH,
    "gelu_pytorch_tanh": _GELU_TANH,
    "relu": ("relu", ""),
    "silu": ("swish", ""),
    "swish": ("swish", ""),
}
_SCORES_AT_ONCE = 4_000_000  # of one text: more would leave the cache and fill memory
ROWS_AT_ONCE = 512  # tokens per product on a CPU, so that activations stay in the cache


class Block(NamedTuple):
    """Texts of a batch, right-padded to the longest."""

    ids: Tensor  # (B, T)
    types: Tensor | None = None  # (B, T) token types; None: all 0
    attend: Tensor | None = None  # (B, T) attention mask; None: all attend


class Bert:
    """Last hidden states of blocks of texts, computed in `dtype`."""

    @staticmethod
    def runs(model: Any) -> bool:
        """True for models of transformers that this module implements completely."""
        config = model.config
        return (
            type(model).__name__ in _MODELS
            and type(model).__module__.startswith("transformers.")
            and not (config.is_decoder or config.add_cross_attention)
            and getattr(config, "position_embedding_type", "absolute") == "absolute"
            and config.hidden_act in _FUSED
            and all(
                type(part) is torch.nn.Linear
                for name, part in model.encoder.named_modules()
                if name.rpartition(".")[2] in ("query", "key", "value", "dense")  # no adapters, no quantization
            )
        )

    def __init__(self, model: Any, dtype: torch.dtype) -> None:
        self._embeddings = model.embeddings  # float32, shared with the model
        # Of RoBERTa, whose positions begin after it.
        self.padding: int | None = getattr(model.embeddings, "padding_idx", None)
        self._heads: int = model.config.num_attention_heads
        self._layers = [_Layer.of(layer, dtype) for layer in model.encoder.layer]
        self._dtype = dtype

    @property
    def width(self) -> int:
        """Hidden size C."""
        return self._embeddings.word_embeddings.weight.shape[1]

    @property
    def is_batch_invariant(self) -> bool:
        """True if results are batch-invariant, i.e. bit-identical for every batch.

        In bfloat16 they are not: with AMX, oneDNN adds up products of a thousand inputs and more in an order that
        depends on the number of rows.
        """
        return self.is_nearly_batch_invariant and self._dtype == torch.float32

    @property
    def is_nearly_batch_invariant(self) -> bool:
        """True if results are batch-invariant but for rounding in bfloat16."""
        return models.on_onednn(self._embeddings.word_embeddings.weight.device, self._dtype)

    def states(self, blocks: Sequence[Block]) -> list[Tensor]:
        """(B, T, C) of each block; values at padding are undefined."""
        x = self._embedded(blocks)
        for layer in self._layers:
            x = layer(x, self._attended(layer.qkv(x), blocks))
        return [part.view(*block.ids.shape, -1) for part, block in zip(x.split(_sizes(blocks)), blocks, strict=True)]

    def first_states(self, blocks: Sequence[Block]) -> Tensor:
        """(n_texts, C) of the first token of each text, block by block."""
        x = self._embedded(blocks)
        *layers, last = self._layers
        for layer in layers:
            x = layer(x, self._attended(layer.qkv(x), blocks))
        mixed = self._attended(last.qkv(x), blocks, queries=1)
        firsts = [
            part.view(*block.ids.shape, -1)[:, 0] for part, block in zip(x.split(_sizes(blocks)), blocks, strict=True)
        ]
        return last(torch.cat(firsts), mixed)

    def _embedded(self, blocks: Sequence[Block]) -> Tensor:
        """(N, C)."""
        parts = self._embeddings
        ids, types, positions = (
            torch.cat([part.flatten() for part in of_blocks])
            for of_blocks in (
                [block.ids for block in blocks],
                [torch.zeros_like(block.ids) if block.types is None else block.types for block in blocks],
                [self._positions(block.ids) for block in blocks],
            )
        )
        x = parts.word_embeddings(ids) + parts.token_type_embeddings(types) + parts.position_embeddings(positions)
        return parts.LayerNorm(x).to(self._dtype)

    def _positions(self, ids: Tensor) -> Tensor:
        """(B, T) position ids: from 0, or for RoBERTa from behind the padding index."""
        if self.padding is None:
            return torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
        is_token = ids.ne(self.padding)
        return is_token.cumsum(1) * is_token + self.padding

    def _attended(self, qkv: Tensor, blocks: Sequence[Block], queries: int | None = None) -> Tensor:
        """(N, C) attention output of all tokens, or of the first `queries` of each text. qkv: (N, 3 * C)."""
        gathered: list[Tensor] = []
        for part, block in zip(qkv.split(_sizes(blocks)), blocks, strict=True):
            heads = part.view(*block.ids.shape, 3, self._heads, -1).permute(2, 0, 3, 1, 4)
            q, k, v = heads if models.uses_amx(heads) else heads.contiguous()  # each (B, H, T, D)
            attend = None if block.attend is None else block.attend[:, None, None].bool()
            gathered.append(_attention(q[:, :, :queries], k, v, attend).transpose(1, 2).flatten(0, 1).flatten(1))
        return torch.cat(gathered)


def of_one_length(lengths: Sequence[int]) -> list[list[int]]:
    """Positions of texts grouped into blocks, longest first; a CPU groups equal lengths, a GPU takes all together."""
    if models.device() != "cpu":
        return [[*range(len(lengths))]]
    by_length: dict[int, list[int]] = {}
    for position, length in enumerate(lengths):
        by_length.setdefault(length, []).append(position)
    at_once = {length: max(1, ROWS_AT_ONCE // max(1, length)) for length in by_length}
    return [
        by_length[length][start : start + at_once[length]]
        for length in sorted(by_length, reverse=True)
        for start in range(0, len(by_length[length]), at_once[length])
    ]


def _sizes(blocks: Iterable[Block]) -> list[int]:
    return [block.ids.numel() for block in blocks]


def _attention(q: Tensor, k: Tensor, v: Tensor, attend: Tensor | None) -> Tensor:
    """(B, H, queries, D) attention for queries that are scaled already.

    Uses torch's kernel, except on most CPUs, where two products and a softmax are faster while scores fit in the cache.
    """
    if q.device.type != "cpu" or models.uses_amx(q) or k.shape[1] * k.shape[2] ** 2 > _SCORES_AT_ONCE:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=attend, scale=1.0)
    scores = q @ k.mT
    if attend is not None:
        scores.masked_fill_(~attend, float("-inf"))
    return torch.softmax(scores, -1, out=scores) @ v


_EXACT, _STEP = 64, 16  # rows: larger products are padded to a multiple of the second
Product = Callable[[Tensor], Tensor]  # (rows, in) -> (rows, out)


@dataclass(frozen=True)
class _Layer:
    qkv: Product  # C -> 3 * C, with scaled queries
    out: Product
    norm_1: Callable[[Tensor], Tensor]
    up: Product  # with activation
    down: Product
    norm_2: Callable[[Tensor], Tensor]

    @staticmethod
    def of(layer: Any, dtype: torch.dtype) -> _Layer:
        """Pack a layer's weights, joining products that share an input."""
        attention, scale = layer.attention.self, layer.attention.self.scaling
        q, k, v = attention.query, attention.key, attention.value
        up = layer.intermediate
        return _Layer(
            qkv=_product(
                torch.cat([q.weight * scale, k.weight, v.weight]), torch.cat([q.bias * scale, k.bias, v.bias]), dtype
            ),
            out=_linear(layer.attention.output.dense, dtype),
            norm_1=_norm(layer.attention.output.LayerNorm, dtype),
            up=_product(up.dense.weight, up.dense.bias, dtype, attention.config.hidden_act, up.intermediate_act_fn),
            down=_linear(layer.output.dense, dtype),
            norm_2=_norm(layer.output.LayerNorm, dtype),
        )

    def __call__(self, x: Tensor, attended: Tensor) -> Tensor:
        """(rows, C) output for hidden states `x` and attention output `attended`."""
        x = self.norm_1(self.out(attended).add_(x))
        return self.norm_2(self.down(self.up(x)).add_(x))


def _linear(module: torch.nn.Linear, dtype: torch.dtype) -> Product:
    return _product(module.weight, module.bias, dtype)


def _norm(module: torch.nn.LayerNorm, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    weight, bias = module.weight.detach().to(dtype), module.bias.detach().to(dtype)
    return lambda x: F.layer_norm(x, module.normalized_shape, weight, bias, module.eps)


def _product(
    weight: Tensor,
    bias: Tensor,
    dtype: torch.dtype,
    activation: str | None = None,
    function: Callable[[Tensor], Tensor] = lambda x: x,
) -> Product:
    """x -> function(x @ weight.T + bias) for a weight (out, in); `activation` names the function.

    oneDNN repacks a weight for every product; the operators behind torch.compile take weights packed once, and fuse the
    activation. A single row would use another kernel with different rounding, so it is padded to two. oneDNN caches
    megabytes per number of rows, so large numbers are rounded up.
    """
    weight, bias = weight.detach().to(dtype), bias.detach().to(dtype)
    if not models.on_onednn(weight.device, dtype):
        return lambda x: function(F.linear(x, weight, bias))
    kind, algorithm = _FUSED[activation] if activation else ("none", "")
    onednn = torch.ops.mkldnn
    laid_out = onednn._reorder_linear_weight(weight, ROWS_AT_ONCE)

    def multiply(x: Tensor) -> Tensor:
        wanted = x.shape[0]
        n_rows = max(2, wanted) if wanted <= _EXACT else -(-wanted // _STEP) * _STEP
        if n_rows == wanted:
            return onednn._linear_pointwise(x, laid_out, bias, kind, [], algorithm)
        filled = F.pad(x, (0, 0, 0, n_rows - wanted))
        return onednn._linear_pointwise(filled, laid_out, bias, kind, [], algorithm)[:wanted]

    return multiply
