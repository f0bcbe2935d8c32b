"""The forward pass of BERT-shaped encoders (BERT, RoBERTa, XLM-RoBERTa, CamemBERT), for inference alone.

Transformers loads the weights; the pass is written out here because four things it cannot do there pay for themselves.
Products take the tokens of all texts together, with no padding between them: on a CPU, texts of one length stand in a
block of their own. Weights are laid out once as the processor's products read them, bias and activation are computed
with the product, and the scores of attention stay in the processor's cache. Who reads nothing but the first token (a
cross-encoder) has the last layer computed for that one alone. And on a CPU a text's numbers do not depend, to the last
bit, on what it is read with: each operation below treats a row alike, whatever the others are.

Letters in shapes: B texts of a block, T tokens of its longest, N tokens of all blocks together, H heads, D numbers per
head, C numbers per token (hidden size).
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
_FUSED = {  # oneDNN's names of the activations that it computes with a product, and of how
    "gelu": ("gelu", "none"),
    "gelu_new": _GELU_TANH,
    "gelu_pytorch_tanh": _GELU_TANH,
    "relu": ("relu", ""),
    "silu": ("swish", ""),
    "swish": ("swish", ""),
}
_SCORES_AT_ONCE = 4_000_000  # of a text's attention: more would leave the cache, and fill memory
ROWS_AT_ONCE = 512  # tokens of a product on a CPU: its activations stay in the cache


class Block(NamedTuple):
    """Texts side by side, each padded at the right to the longest."""

    ids: Tensor  # (B, T)
    types: Tensor | None = None  # (B, T): which of two texts a token is of; None: the first
    attend: Tensor | None = None  # (B, T): whether the others look at a token; None: at all of them


class Bert:
    """Last hidden states of blocks of texts, computed in `dtype`."""

    @staticmethod
    def runs(model: Any) -> bool:
        """True for the models of transformers whose every part is written out below."""
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
                if name.rpartition(".")[2] in ("query", "key", "value", "dense")  # no adapters, nothing quantized
            )
        )

    def __init__(self, model: Any, dtype: torch.dtype) -> None:
        self._embeddings = model.embeddings  # in float32, shared with the model
        self.padding: int | None = getattr(model.embeddings, "padding_idx", None)  # of RoBERTa's, which count it
        self._heads: int = model.config.num_attention_heads
        self._layers = [_Layer.of(layer, dtype) for layer in model.encoder.layer]
        self._dtype = dtype

    @property
    def width(self) -> int:
        """C."""
        return self._embeddings.word_embeddings.weight.shape[1]

    @property
    def is_alike(self) -> bool:
        """Whether a text's numbers are the same, to the last bit, in any company."""
        return _is_on_onednn(self._embeddings.word_embeddings.weight)

    def states(self, blocks: Sequence[Block]) -> list[Tensor]:
        """(B, T, C) of each block; what pads a text may be anything."""
        x = self._embedded(blocks)
        for layer in self._layers:
            x = layer(x, self._attended(layer.qkv(x), blocks))
        return [part.view(*block.ids.shape, -1) for part, block in zip(x.split(_sizes(blocks)), blocks, strict=True)]

    def first_states(self, blocks: Sequence[Block]) -> Tensor:
        """(texts, C) of the first token of each text, block by block."""
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
        """(B, T): from 0 on, or as RoBERTa counts them: from behind the padding token, which has one place itself."""
        if self.padding is None:
            return torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
        is_token = ids.ne(self.padding)
        return is_token.cumsum(1) * is_token + self.padding

    def _attended(self, qkv: Tensor, blocks: Sequence[Block], queries: int | None = None) -> Tensor:
        """(N, C) what tokens, or the first `queries` of each text, gather of their text; qkv: (N, 3 * C)."""
        gathered: list[Tensor] = []
        for part, block in zip(qkv.split(_sizes(blocks)), blocks, strict=True):
            heads = part.view(*block.ids.shape, 3, self._heads, -1).permute(2, 0, 3, 1, 4)
            q, k, v = heads if models.uses_amx(heads) else heads.contiguous()  # (B, H, T, D) each
            attend = None if block.attend is None else block.attend[:, None, None].bool()
            gathered.append(_attention(q[:, :, :queries], k, v, attend).transpose(1, 2).flatten(0, 1).flatten(1))
        return torch.cat(gathered)


def of_one_length(lengths: Sequence[int]) -> list[list[int]]:
    """Positions of texts, by block, longest first: a CPU pads nothing, where a GPU takes all of them together."""
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
    """(B, H, queries, D) of queries that are scaled already: by torch's own kernel, but on most CPUs by two products
    and a softmax, as long as scores stay in the cache."""
    if q.device.type != "cpu" or models.uses_amx(q) or k.shape[1] * k.shape[2] ** 2 > _SCORES_AT_ONCE:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=attend, scale=1.0)
    scores = q @ k.mT
    if attend is not None:
        scores.masked_fill_(~attend, float("-inf"))
    return torch.softmax(scores, -1, out=scores) @ v


_EXACT, _STEP = 64, 16  # rows: a product of more is filled up to the next step
Product = Callable[[Tensor], Tensor]  # (rows, in) to (rows, out)


@dataclass(frozen=True)
class _Layer:
    qkv: Product  # C to 3 * C; queries are scaled
    out: Product
    norm_1: Callable[[Tensor], Tensor]
    up: Product  # with its activation
    down: Product
    norm_2: Callable[[Tensor], Tensor]

    @staticmethod
    def of(layer: Any, dtype: torch.dtype) -> _Layer:
        """Products that share their input are joined: fewer and larger."""
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
        """(rows, C), of what rows were and what they gathered."""
        x = self.norm_1(self.out(attended).add_(x))
        return self.norm_2(self.down(self.up(x)).add_(x))


def _linear(module: torch.nn.Linear, dtype: torch.dtype) -> Product:
    return _product(module.weight, module.bias, dtype)


def _norm(module: torch.nn.LayerNorm, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    weight, bias = module.weight.detach().to(dtype), module.bias.detach().to(dtype)
    return lambda x: F.layer_norm(x, module.normalized_shape, weight, bias, module.eps)


def _is_on_onednn(weight: Tensor) -> bool:
    return weight.device.type == "cpu" and torch.backends.mkldnn.is_available()


def _product(
    weight: Tensor,
    bias: Tensor,
    dtype: torch.dtype,
    activation: str | None = None,
    function: Callable[[Tensor], Tensor] = lambda x: x,
) -> Product:
    """x -> function(x @ weight.T + bias), for weight (out, in); `activation` is the function's name.

    oneDNN copies a weight into a layout of its own at each product. The operators that torch.compile calls take a
    weight that was copied once, and compute the activation while the product is in registers. A single row goes
    through another of its kernels, which rounds differently: it is given a companion. For each number of rows that it
    meets it keeps megabytes for good, so of large numbers it meets few.
    """
    weight, bias = weight.detach().to(dtype), bias.detach().to(dtype)
    if not _is_on_onednn(weight):
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
