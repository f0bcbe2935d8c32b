"""A transformer layer built from transformers' weights by its architecture, with weights in the processor's layout."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from acclimate.base import models
from acclimate.llm.decoders.architectures import Activation, Architecture

Function = Callable[[Tensor], Tensor]
Product = Function  # (..., in) -> (..., out)
Rotary = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]  # (x (B, T, C), positions (B, T)) -> (cosines, sines)

_TYPICAL_ROWS = 512  # rows of an input that the layout is optimized for


@dataclass(frozen=True)
class Norm:
    """RMS normalization (arXiv 1910.07467), in the weight's precision."""

    weight: Tensor  # (C,), or (heads, D) for several heads
    epsilon: float

    def __call__(self, x: Tensor) -> Tensor:
        weight, wide = self.weight, x.to(self.weight.dtype)
        if weight.dim() == 1:
            return F.rms_norm(wide, weight.shape, weight, self.epsilon).to(x.dtype)
        return (F.rms_norm(wide, weight.shape[-1:], None, self.epsilon) * weight).to(x.dtype)

    def float(self) -> Norm:
        """The same in float32."""
        return Norm(self.weight.float(), self.epsilon)


@dataclass(frozen=True)
class AttentionSpan:
    """A layer's view of other tokens: window and rotary angles."""

    rotary: Rotary
    window: int | None  # tokens visible to each, itself included; None: all earlier ones


@dataclass(frozen=True)
class Layer:
    """A layer with hidden size C, K key-value heads, G query heads for each, and D numbers per head."""

    span: AttentionSpan
    before_attention: Function  # this and the others are norms, or the identity
    qkv: Product  # C -> (K * G + 2 * K) * D
    of_heads: Function  # of queries and keys (..., K * G + K, D), before rotation
    out: Product
    after_attention: Function
    before_mlp: Function
    mlp: Product
    after_mlp: Function

    @staticmethod
    def of(layer: Any, span: AttentionSpan, architecture: Architecture, config: Any) -> Layer:
        """Build a layer, releasing transformers' weights part by part."""
        attention, mlp = layer.self_attn, layer.mlp
        before_attention, after_attention, before_mlp, after_mlp = (
            norm_of(getattr(layer, name), architecture, config) if name else _unchanged for name in architecture.norms
        )
        projections = attention.q_proj, attention.k_proj, attention.v_proj
        biases = [projection.bias for projection in projections if projection.bias is not None]
        joined = Layer(
            span=span,
            before_attention=before_attention,
            qkv=product(
                torch.cat([projection.weight for projection in projections]), torch.cat(biases) if biases else None
            ),
            of_heads=_norm_of_heads(attention, architecture, config) if architecture.norms_heads else _unchanged,
            out=product(attention.o_proj.weight, attention.o_proj.bias),
            after_attention=after_attention,
            before_mlp=before_mlp,
            mlp=_mlp(mlp.gate_proj.weight, mlp.up_proj.weight, mlp.down_proj.weight, architecture.activation(config)),
            after_mlp=after_mlp,
        )
        del attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj
        del mlp.gate_proj, mlp.up_proj, mlp.down_proj
        return joined


def _unchanged(x: Tensor) -> Tensor:
    return x


def norm_of(norm: Any, architecture: Architecture, config: Any) -> Norm:
    """Convert a norm of transformers."""
    return Norm(architecture.norm_weight(norm.weight.detach()), config.rms_norm_eps)


def _norm_of_heads(attention: Any, architecture: Architecture, config: Any) -> Norm:
    """One norm for all heads of queries and keys, concatenated."""
    of_q, of_k = (norm_of(norm, architecture, config) for norm in (attention.q_norm, attention.k_norm))
    of_each = [of_q.weight] * config.num_attention_heads + [of_k.weight] * config.num_key_value_heads
    return Norm(torch.stack(of_each), of_q.epsilon)


def product(weight: Tensor, bias: Tensor | None = None) -> Product:
    """x -> x @ weight.T + bias, for weight (out, in)."""
    weight, bias = weight.detach(), None if bias is None else bias.detach()
    if not _gains_from_layout(weight):
        return lambda x: F.linear(x, weight, bias)
    laid_out = _laid_out(weight)
    return lambda x: torch.ops.mkldnn._linear_pointwise(x, laid_out, bias, "none", [], "")


def _mlp(gate: Tensor, up: Tensor, down: Tensor, activation: Activation) -> Product:
    """x -> (activation(x @ gate.T) * (x @ up.T)) @ down.T.

    The activation is fused into its product, or the two products that share an input are joined.
    """
    to_output = product(down)
    if not _gains_from_layout(gate):
        joined = product(torch.cat([gate, up]))

        def plain(x: Tensor) -> Tensor:
            gates, values = joined(x).chunk(2, -1)
            return to_output(activation.function(gates).mul_(values))

        return plain
    pointwise, gate, up = torch.ops.mkldnn._linear_pointwise, _laid_out(gate.detach()), _laid_out(up.detach())

    def fused(x: Tensor) -> Tensor:
        gates = pointwise(x, gate, None, activation.onednn, [], activation.algorithm)
        return to_output(pointwise.binary(x, gates, up, None, "mul"))

    return fused


def _gains_from_layout(weight: Tensor) -> bool:
    """True if oneDNN would otherwise repack this weight at each product, as it does for bfloat16 on a CPU.

    The operators behind torch.compile take a weight packed once.
    """
    return weight.dtype == torch.bfloat16 and models.on_onednn(weight.device, weight.dtype)


def _laid_out(weight: Tensor) -> Tensor:
    return torch.ops.mkldnn._reorder_linear_weight(weight, _TYPICAL_ROWS)
