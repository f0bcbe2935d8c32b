"""A cross-encoder as a scorer: query and document read together, one logit.

Pairs are scored in float32 logits before any activation; of a classifier with several labels, by the log-odds of the
one that says relevant. The document is cut, and the query only where it leaves no
room for one.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import CrossEncoder
from sentence_transformers.base.modules import Transformer

from acclimate.base import models
from acclimate.base.digests import fingerprint
from acclimate.base.gpu import on_device
from acclimate.base.loading import loading
from acclimate.records import Doc
from acclimate.search.bert import Bert, Block, of_one_length
from acclimate.search.scorers.labels import relevant
from acclimate.search.scorers.pairs import PairScorer, Reader, weights_of

_CLASSIFIERS = {f"{name}ForSequenceClassification" for name in ("Bert", "Roberta", "XLMRoberta", "Camembert")}


def load(name: str, *, max_tokens: int, is_new: bool = False) -> CrossEncoder:
    """A cross-encoder without an activation, in float32: a reranker with its labels, or one to be trained.

    is_new: it has one logit, whatever the weights are of: an encoder, or a classifier of several labels. Pair tokens
    are cut to `max_tokens` in all, special ones included, or to what the model has positions for.
    """
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
    model.max_seq_length = min(max_tokens, models.positions(model))
    return model


class CrossEncoderReader:
    """Reads pairs with a cross-encoder; implements `score.pairs.Reader`."""

    def __init__(self, model: CrossEncoder, *, max_tokens: int) -> None:
        self.model = model
        self.max_tokens = min(max_tokens, models.positions(model))
        config: Any = model.config
        self.label = relevant(config.id2label, str(config.name_or_path)) if model.num_labels > 1 else None

    def tokens(self, texts: Sequence[tuple[str, str]]) -> Mapping[str, Sequence[Sequence[int]]]:
        tokenizer = self.model.tokenizer
        queries = list(dict.fromkeys(query for query, _ in texts))
        room = self.max_tokens - tokenizer.num_special_tokens_to_add(pair=True)
        lengths = map(len, tokenizer(queries, add_special_tokens=False)["input_ids"])
        long = {query for query, length in zip(queries, lengths, strict=True) if length >= room}
        rows: dict[str, list[list[int]]] = {}
        for is_long in (False, True):
            places = [place for place, (query, _) in enumerate(texts) if (query in long) == is_long]
            if places:
                read = tokenizer(
                    [texts[place][0] for place in places],
                    [texts[place][1] for place in places],
                    truncation="longest_first" if is_long else "only_second",
                    max_length=self.max_tokens,
                )
                for name, values in read.items():
                    column = rows.setdefault(name, [[]] * len(texts))
                    for place, value in zip(places, values, strict=True):
                        column[place] = value
        return rows

    def logits(self, rows: Mapping[str, Sequence[Sequence[int]]]) -> torch.Tensor:
        scores = self._scores(rows).float()
        if self.label is None:
            return scores.view(-1)
        others = [label for label in range(scores.shape[1]) if label != self.label]
        return scores[:, self.label] - scores[:, others].logsumexp(dim=1)  # log-odds

    def _scores(self, rows: Mapping[str, Sequence[Sequence[int]]]) -> torch.Tensor:
        """(n, labels)."""
        batch = self.model.tokenizer.pad(dict(rows), return_tensors="pt").to(self.model.device)
        return self.model(dict(batch))["scores"]


class BertReader(CrossEncoderReader):
    """The same with a model that `bert` computes, whose weights stay as they are.

    The head reads the first token's state in float32. On the CPU it reads one at a time: a pair's score is the same, to
    the last bit, in any company.
    """

    @staticmethod
    def reads(model: CrossEncoder) -> bool:
        transformer: Any = model[0]
        return (
            len(model) == 1
            and type(transformer) is Transformer
            and type(transformer.model).__name__ in _CLASSIFIERS
            and Bert.runs(transformer.model.base_model)
        )

    def __init__(self, model: CrossEncoder, *, max_tokens: int) -> None:
        super().__init__(model, max_tokens=max_tokens)
        self._classifier: Any = model[0].model
        self._bert = Bert(self._classifier.base_model, models.dtype())

    @property
    def is_alike(self) -> bool:
        """Whether a pair's score is the same, to the last bit, in any company."""
        return self._bert.is_alike

    def _scores(self, rows: Mapping[str, Sequence[Sequence[int]]]) -> torch.Tensor:
        groups = of_one_length([len(ids) for ids in rows["input_ids"]])
        blocks = [
            self._block({name: [values[row] for row in group] for name, values in rows.items()}) for group in groups
        ]
        firsts = self._bert.first_states(blocks).float()
        scores = [self._head(some) for some in firsts.split(1 if firsts.device.type == "cpu" else len(firsts))]
        order = torch.tensor([row for group in groups for row in group])
        return torch.cat(scores)[on_device(order.argsort())]

    def _block(self, rows: Mapping[str, Sequence[Sequence[int]]]) -> Block:
        batch = self.model.tokenizer.pad(dict(rows), return_tensors="pt")
        types = batch.get("token_type_ids")
        attend = None if batch["attention_mask"].all() else on_device(batch["attention_mask"])
        return Block(on_device(batch["input_ids"]), None if types is None else on_device(types), attend)

    def _head(self, firsts: torch.Tensor) -> torch.Tensor:
        """(n, labels) of first states (n, hidden size)."""
        pooler, states = self._classifier.base_model.pooler, firsts[:, None]
        return self._classifier.classifier(states if pooler is None else pooler(states))


class CrossEncoderScorer(PairScorer):
    """Scores pairs with a cross-encoder: a folder that `train` wrote, or any other, or a Hugging Face id.

    It is loaded when it is first asked.
    """

    def __init__(self, name: Path | str, corpus: Mapping[str, Doc], *, max_tokens: int) -> None:
        self.name = str(name)
        self.corpus = corpus
        self.max_tokens = max_tokens

    @cached_property
    def model(self) -> CrossEncoder:
        return load(self.name, max_tokens=self.max_tokens).eval()

    @cached_property
    def _reader(self) -> CrossEncoderReader:
        if BertReader.reads(self.model):
            return BertReader(self.model, max_tokens=self.max_tokens)
        fast = self.model if models.dtype() == torch.float32 else _faster(self.model)
        return CrossEncoderReader(fast, max_tokens=self.max_tokens)

    def reader(self) -> Reader:
        return self._reader

    @property
    def maker(self) -> Callable[[], CrossEncoderScorer]:
        return partial(CrossEncoderScorer, self.name, {}, max_tokens=self.max_tokens)

    @property
    def by_pair(self) -> bool:
        """Whether a pair is rated alike in any company; the model is loaded to know that."""
        return isinstance(self._reader, BertReader) and self._reader.is_alike

    @property
    def fingerprint(self) -> str:
        return fingerprint("cross-encoder", weights_of(self.name), self.max_tokens, str(models.dtype()))


def _faster(model: CrossEncoder) -> CrossEncoder:
    """A copy in half precision but for the last layer: logits rounded to eight bits would tie the best documents."""
    fast = copy.deepcopy(model).to(models.dtype())
    head = [module for module in fast.modules() if isinstance(module, torch.nn.Linear)][-1].float()
    head.register_forward_pre_hook(lambda _, inputs: (inputs[0].float(),))
    return fast
