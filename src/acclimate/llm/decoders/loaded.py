"""A model of transformers, loaded on first use: tokenizer, decoder, context size.

`LocalLLM`s with different decodings share one.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acclimate.base import models
from acclimate.base.errors import DataError
from acclimate.base.loading import llm_class, loading
from acclimate.base.memory import Halving
from acclimate.base.modules import max_positions
from acclimate.base.text import counted
from acclimate.llm.decoders import configuration, gguf
from acclimate.llm.decoders.decoder import Decoder
from acclimate.llm.decoders.tokenizer import Tokenizer
from acclimate.llm.decoders.unpacked import load_unpacked

if TYPE_CHECKING:
    import torch

KEPT_PREFIXES = 4
RELATIVE_CONTEXT = 2048  # tokens, for models with relative positions and so without a limit


class Loaded(Tokenizer):
    """A model in one precision, and its tokenizer."""

    def __init__(self, name: str, dtype: torch.dtype) -> None:
        super().__init__(name)
        self.dtype = dtype
        self.halving = Halving()
        self._prefixes: OrderedDict[tuple[int, ...], Any] = OrderedDict()
        self._lock = threading.Lock()  # of the prefixes

    @cached_property
    def model(self) -> Any:
        """The model, on the device, in inference mode."""
        from transformers import AutoConfig, AutoModelForCausalLM, GgufConfig

        model = models.resolve(self.name)
        revision = model.revision or "main"

        def load(path: str | Path, kind: Any = AutoModelForCausalLM, **options: Any) -> Any:
            options |= {"revision": revision, "dtype": self.dtype, "use_safetensors": True, "output_loading_info": True}
            loaded, about = kind.from_pretrained(path, **options)
            if missing := sorted(about["missing_keys"]):  # transformers would have filled them in at random
                what = (
                    f"{counted(len(missing), 'tensor is', 'tensors are')} not in its weights, {missing[0]} among them"
                )
                raise DataError(f"{what}; expected a whole language model", path=self.name)
            return loaded

        def unpack() -> Any:
            quantization = GgufConfig(dequantize=True)
            with gguf.read_once():
                return load(model.path_or_id, quantization_config=quantization, gguf_file=model.gguf_file)

        with loading(self.name):
            if model.gguf_file:
                loaded = load_unpacked(self.name, str(self.dtype).removeprefix("torch."), unpack, load)
            else:
                config = AutoConfig.from_pretrained(model.path_or_id, revision=revision)
                if configuration.is_encoder(config):
                    raise DataError(f"an encoder ({config.model_type}), which writes no text", path=self.name)
                loaded = load(model.path_or_id, llm_class(config))
            return loaded.to(models.device()).eval()

    @cached_property
    def decoder(self) -> Decoder:
        """The decoder for its architecture: `Packed` if supported, else a generic one."""
        from acclimate.llm.decoders.generic import Generic
        from acclimate.llm.decoders.packed import Packed
        from acclimate.llm.decoders.seq2seq import Seq2Seq

        if self.is_seq2seq:
            return Seq2Seq(self.model)
        return Packed(self.model) if Packed.runs(self.model.config) else Generic(self.model)

    @property
    def width(self) -> int:
        """Hidden size. Loads the model."""
        return configuration.width(self.model.config)

    @property
    def is_seq2seq(self) -> bool:
        """True for encoder-decoder models: T5 and its like."""
        return self.model.config.is_encoder_decoder

    @cached_property
    def context(self) -> int:
        """Maximum tokens of a prompt and its completion together."""
        configured = configuration.positions(self.model.config) or RELATIVE_CONTEXT
        return min(configured, max_positions(self.model))

    @cached_property
    def end_ids(self) -> frozenset[int]:
        """The tokens that end an answer."""
        configured = self.model.generation_config.eos_token_id
        ends = configured if isinstance(configured, list) else [configured]
        return super().end_ids | {end for end in ends if end is not None}

    def prefix(self, ids: list[int]) -> Any:
        """The decoder's state after a common prefix; the last few are cached."""
        key = tuple(ids)
        with self._lock:
            if key not in self._prefixes:
                self._prefixes[key] = self.decoder.prefix(ids)
            self._prefixes.move_to_end(key)
            while len(self._prefixes) > KEPT_PREFIXES:
                self._prefixes.popitem(last=False)
            return self._prefixes[key]

    def forget(self) -> bool:
        """Release memory kept between batches; returns whether there was any."""
        with self._lock:
            had_any = self.decoder.forget() or any(self._prefixes)  # an empty prefix, (), takes no memory
            self._prefixes.clear()
        return had_any
