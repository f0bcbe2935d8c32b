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
    gate_up: Product
    down: Product

    @staticmethod
    def of(layer: Any) -> Layer:
        """Products that share their input are joined: fewer and larger. The parts are dropped as the whole is made."""
        attention, mlp = layer.self_attn, layer.mlp
        joined = Layer(
            norm_1=layer.input_layernorm.weight,
            qkv=product(torch.cat([attention.q_proj.weight, attention.k_proj.weight, attention.v_proj.weight])),
            out=product(attention.o_proj.weight),
            norm_2=layer.post_attention_layernorm.weight,
            gate_up=product(torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight])),
            down=product(mlp.down_proj.weight),
        )
        del attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj
        del mlp.gate_proj, mlp.up_proj, mlp.down_proj
        return joined


def product(weight: Tensor) -> Product:
    """x -> x @ weight.T, for weight (out, in).

    oneDNN copies a bfloat16 weight into a layout of its own at each product. The operators that torch.compile calls
    take a weight that was copied once.
    """
    weight = weight.detach()
    onednn = torch.ops.mkldnn
    is_bf16_on_cpu = weight.device.type == "cpu" and weight.dtype == torch.bfloat16
    if not (is_bf16_on_cpu and torch.backends.mkldnn.is_available() and onednn._is_mkldnn_bf16_supported()):
        return lambda x: F.linear(x, weight)
    laid_out = onednn._reorder_linear_weight(weight, _TYPICAL_ROWS)
    return lambda x: onednn._linear_pointwise(x, laid_out, None, "none", [], "")


def rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary position embedding (arXiv 2104.09864) of x (..., D)."""
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat([-second, first], -1) * sin
