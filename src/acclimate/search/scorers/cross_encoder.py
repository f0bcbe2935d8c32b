"""Cross-encoders as scorers: query and document read together, one logit.

Scores are float32 logits before any activation; of a classifier with several labels, the log-odds of the one that means
relevant. Models that `bert_pairs` supports are read from their files, others by the library.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from acclimate.base import models
from acclimate.base.digests import fingerprint
from acclimate.base.loading import loading
from acclimate.base.modules import max_positions
from acclimate.records import Doc
from acclimate.search.bert import Bert
from acclimate.search.scorers.adapter import weights_of
from acclimate.search.scorers.bert_pairs import BertReader, Rows, load_reader, tokens_of_pairs
from acclimate.search.scorers.labels import log_odds, relevant
from acclimate.search.scorers.pairs import Lengths, PairScorer, Reader

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder

_CLASSIFIERS = {f"{name}ForSequenceClassification" for name in ("Bert", "Roberta", "XLMRoberta", "Camembert")}


def load(name: str, *, max_tokens: int, is_new: bool = False) -> CrossEncoder:
    """A cross-encoder without activation, in float32: a trained reranker with its labels, or a new one.

    is_new: give it a single logit, whatever the weights are of. Pairs are truncated to `max_tokens`, special tokens
    included, or to the model's positions.
    """
    from sentence_transformers import CrossEncoder  # import takes seconds, which `bert_pairs` avoids

    location = models.resolve(name)
    with loading(name):
        model = CrossEncoder(
            location.path_or_id,
            revision=location.revision,
            num_labels=1 if is_new else None,
            max_length=max_tokens,
            activation_fn=torch.nn.Identity(),
            device=models.device(),
            model_kwargs={"use_safetensors": True, "dtype": torch.float32, "ignore_mismatched_sizes": is_new},
        )
    model.max_seq_length = min(max_tokens, max_positions(model))
    return model


class CrossEncoderReader:
    """Implements `pairs.Reader` with the library, for any cross-encoder."""

    def __init__(self, model: CrossEncoder, lengths: Lengths) -> None:
        self.model = model
        self.lengths = lengths.within(max_positions(model))
        self.label = _label(model)

    def tokens(self, texts: Sequence[tuple[str, str]]) -> Rows:
        return tokens_of_pairs(self.model.tokenizer, texts, self.lengths)

    def logits(self, rows: Rows) -> torch.Tensor:
        batch = self.model.tokenizer.pad(dict(rows), return_tensors="pt").to(self.model.device)
        return log_odds(self.model(dict(batch))["scores"], self.label)


def reader_of(model: CrossEncoder, lengths: Lengths) -> CrossEncoderReader | BertReader:
    """The fastest reader for a model whose weights do not change."""
    if is_bert(model):
        transformer: Any = model[0]
        lengths = lengths.within(max_positions(model))
        return BertReader(transformer.model, model.tokenizer, lengths, label=_label(model))
    fast = model if models.dtype() == torch.float32 else _half_precision(model)
    return CrossEncoderReader(fast, lengths)


def is_bert(model: CrossEncoder) -> bool:
    """True for a plain classifier that `BertReader` supports."""
    from sentence_transformers.base.modules import Transformer

    transformer: Any = model[0]
    return (
        len(model) == 1
        and type(transformer) is Transformer
        and type(transformer.model).__name__ in _CLASSIFIERS
        and Bert.runs(transformer.model.base_model)
    )


def _label(model: CrossEncoder) -> int | None:
    """The index of the label for relevant, if there are several."""
    config: Any = model.config
    return relevant(config.id2label, str(config.name_or_path)) if model.num_labels > 1 else None


class CrossEncoderScorer(PairScorer):
    """Scores pairs with a cross-encoder by folder or Hugging Face id; loaded on first use."""

    def __init__(self, name: Path | str, corpus: Mapping[str, Doc], lengths: Lengths) -> None:
        self.name = str(name)
        self.corpus = corpus
        self.lengths = lengths

    @cached_property
    def model(self) -> CrossEncoder:
        return load(self.name, max_tokens=self.lengths.pair).eval()

    @cached_property
    def _reader(self) -> CrossEncoderReader | BertReader:
        return load_reader(models.folder(self.name), self.lengths) or reader_of(self.model, self.lengths)

    def reader(self) -> Reader:
        return self._reader

    @property
    def maker(self) -> Callable[[], CrossEncoderScorer]:
        return partial(CrossEncoderScorer, self.name, {}, self.lengths)

    @property
    def by_pair(self) -> bool:
        """True if scores are batch-invariant; loads the model to find out."""
        return isinstance(self._reader, BertReader) and self._reader.is_batch_invariant

    @property
    def fingerprint(self) -> str:
        lengths = [length for length in self.lengths if length]
        return fingerprint("cross-encoder", weights_of(self.name), *lengths, str(models.dtype()))


def _half_precision(model: CrossEncoder) -> CrossEncoder:
    """A copy in half precision except for the last layer, as half-precision logits would tie the best documents."""
    fast = copy.deepcopy(model).to(models.dtype())
    head = [module for module in fast.modules() if isinstance(module, torch.nn.Linear)][-1].float()
    head.register_forward_pre_hook(lambda _, inputs: (inputs[0].float(),))
    return fast
