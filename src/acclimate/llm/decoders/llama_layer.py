"""A layer of a Llama, its products laid out as the processor reads them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

Product = Callable[[Tensor], Tensor]  # (..., in) to (..., out)

_TYPICAL_ROWS = 512  # of an input, for which a weight is laid out


@dataclass(frozen=True)
class Layer:
    """C numbers per token, K key-value heads, G query heads for each, D numbers per head."""

    norm_1: Tensor
    qkv: Product  # C to (K * G + 2 * K) * D
    out: Product
    norm_2: Tensor
    mlp: Product

    @staticmethod
    def of(layer: Any) -> Layer:
        """The parts are dropped as the whole is made."""
        attention, mlp = layer.self_attn, layer.mlp
        joined = Layer(
            norm_1=layer.input_layernorm.weight,
            qkv=product(torch.cat([attention.q_proj.weight, attention.k_proj.weight, attention.v_proj.weight])),
            out=product(attention.o_proj.weight),
            norm_2=layer.post_attention_layernorm.weight,
            mlp=_mlp(mlp.gate_proj.weight, mlp.up_proj.weight, mlp.down_proj.weight),
        )
        del attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj
        del mlp.gate_proj, mlp.up_proj, mlp.down_proj
        return joined


def product(weight: Tensor) -> Product:
    """x -> x @ weight.T, for weight (out, in)."""
    weight = weight.detach()
    if not _is_laid_out(weight):
        return lambda x: F.linear(x, weight)
    laid_out = _laid_out(weight)
    return lambda x: torch.ops.mkldnn._linear_pointwise(x, laid_out, None, "none", [], "")


def _mlp(gate: Tensor, up: Tensor, down: Tensor) -> Product:
    """x -> (silu(x @ gate.T) * (x @ up.T)) @ down.T, with what follows a product done as it is written, or the two that
    share their input joined: fewer and larger."""
    to_output = product(down)
    if not _is_laid_out(gate):
        joined = product(torch.cat([gate, up]))

        def plain(x: Tensor) -> Tensor:
            gates, values = joined(x).chunk(2, -1)
            return to_output(F.silu(gates).mul_(values))

        return plain
    pointwise, gate, up = torch.ops.mkldnn._linear_pointwise, _laid_out(gate.detach()), _laid_out(up.detach())

    def fused(x: Tensor) -> Tensor:
        gates = pointwise(x, gate, None, "swish", [], "")
        return to_output(pointwise.binary(x, gates, up, None, "mul"))

    return fused


def _is_laid_out(weight: Tensor) -> bool:
    """Whether oneDNN would copy it into a layout of its own at each product, as it does with bfloat16 on a CPU.

    The operators that torch.compile calls take a weight that was copied once.
    """
    is_bf16_on_cpu = weight.device.type == "cpu" and weight.dtype == torch.bfloat16
    return is_bf16_on_cpu and torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def _laid_out(weight: Tensor) -> Tensor:
    return torch.ops.mkldnn._reorder_linear_weight(weight, _TYPICAL_ROWS)


def rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary position embedding (arXiv 2104.09864) of x (..., D)."""
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat([-second, first], -1) * sin
