"""monoT5 (arXiv 2003.06713): a T5, Flan-T5 or mT5 whose first answer token says whether the document is relevant.

Loads published checkpoints, and saves in the same format.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import torch

from acclimate.search.scorers.pairs import Lengths
from acclimate.search.scorers.prompted import Prompted

_NO_TOKEN = -100  # padding of the shorter answer


class MonoT5(Prompted):
    """The encoder reads the prompt; the decoder's first step answers."""

    padding: ClassVar[str] = "right"

    def first_logits(self, features: Mapping[str, torch.Tensor]) -> torch.Tensor:
        ids = features["input_ids"]
        start = torch.full((len(ids), 1), self.model.config.decoder_start_token_id, device=ids.device)
        answered = self.model(input_ids=ids, attention_mask=features["attention_mask"], decoder_input_ids=start)
        return answered.logits[:, 0]

    def answer_loss(self, features: Mapping[str, torch.Tensor], is_true: torch.Tensor) -> torch.Tensor:
        """Cross-entropy of all answer tokens and the end token, as in T5's training."""
        answers = [self.tokenizer(text)["input_ids"] for text in (self.template.false, self.template.true)]
        padded = torch.full((2, max(map(len, answers))), _NO_TOKEN)
        for row, ids in enumerate(answers):
            padded[row, : len(ids)] = torch.tensor(ids)
        ids = features["input_ids"]
        labels = padded.to(ids.device)[is_true.long().to(ids.device)]
        before = self.model.prepare_decoder_input_ids_from_labels(labels)
        logits = self.model(
            input_ids=ids, attention_mask=features["attention_mask"], decoder_input_ids=before
        ).logits.float()
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=_NO_TOKEN)

    @classmethod
    def load(cls, model_name_or_path: str, *_: Any, **__: Any) -> Self:
        """Load a training checkpoint."""
        return cls.of(model_name_or_path, Lengths(0))
