"""Decoder LLMs as rerankers: a chat message or plain prompt, answered yes or no by the next token.

Trained by low-rank adapters (LoRA, arXiv 2106.09685), saved in peft's format; or, with rank 0, by all weights.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import torch

from acclimate.base import models
from acclimate.base.files import read_json, write_json
from acclimate.base.loading import loading
from acclimate.llm.decoders.loaded import Loaded
from acclimate.search.scorers.adapter import ADAPTER, base_of, check_peft, is_adapter
from acclimate.search.scorers.pairs import Lengths
from acclimate.search.scorers.prompted import Prompted
from acclimate.search.scorers.template import AUTO, template_of


class Decoder(Prompted):
    """Reads the logits after the last token of the prompt."""

    padding: ClassVar[str] = "left"

    @classmethod
    def of(cls, name: str, lengths: Lengths, *, template: str = AUTO, is_new: bool = False) -> Self:
        """The model of that name, or an adapter's base with the adapter merged into its weights."""
        if not is_adapter(name):
            return super().of(name, lengths, template=template, is_new=is_new)
        folder = Path(models.resolve(name).path_or_id)
        base = base_of(folder)
        loaded = Loaded(base, torch.float32)
        with loading(name):
            model = peft().PeftModel.from_pretrained(loaded.model, str(folder)).merge_and_unload()
        asked = template_of(name, folder, model.config, loaded.tokenizer, template, is_new=is_new)
        return cls(model, loaded.tokenizer, asked, lengths.within(loaded.context), base=base)

    def add_adapter(self, rank: int) -> None:
        """Freeze the weights, and add trainable adapters to every linear layer but the last."""
        config = peft().LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")
        self.model = peft().get_peft_model(self.model, config)

    def first_logits(self, features: Mapping[str, torch.Tensor]) -> torch.Tensor:
        mask = features["attention_mask"]
        positions = (mask.cumsum(-1) - 1).clamp_min(0)
        answered = self.model(
            input_ids=features["input_ids"], attention_mask=mask, position_ids=positions, logits_to_keep=1
        )
        return answered.logits[:, -1]

    def save_weights(self, folder: Path) -> None:
        if not hasattr(self.model, "peft_config"):
            super().save_weights(folder)
            return
        self.model.save_pretrained(str(folder), save_embedding_layers=False)
        # peft writes a set, in random order, and a path of this machine
        config = read_json(folder / ADAPTER) | {"base_model_name_or_path": self.base}
        write_json(folder / ADAPTER, config | {"target_modules": sorted(config["target_modules"])})
        (folder / "README.md").unlink(missing_ok=True)

    @classmethod
    def load(cls, model_name_or_path: str, *_: Any, **__: Any) -> Self:
        """Load a training checkpoint into the same modules."""
        folder = Path(model_name_or_path)
        if not is_adapter(model_name_or_path):
            return cls.of(model_name_or_path, Lengths(0))
        base = base_of(folder)
        loaded = Loaded(base, torch.float32)
        model = peft().PeftModel.from_pretrained(loaded.model, str(folder), is_trainable=True)
        asked = template_of(base, folder, loaded.model.config, loaded.tokenizer, AUTO, is_new=True)
        return cls(model, loaded.tokenizer, asked, Lengths(0), base=base)


def peft() -> Any:
    """The peft library. Raises MissingExtra if it is not installed."""
    check_peft()
    return importlib.import_module("peft")
