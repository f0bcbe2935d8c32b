"""Language models as rerankers: prompted with query and document, they answer with one of two tokens.

The score is the log-odds of the two tokens, logit(true) - logit(false): the same order as the probability (monoT5's
softmax over the two), without ties near 0 and 1. It is a module of sentence-transformers, so that every cross-encoder
loss can train it. The document is truncated, never the prompt, in training and in scoring.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from sentence_transformers.cross_encoder.modules import InputModule

from acclimate.base import models
from acclimate.base.digests import fingerprint
from acclimate.base.errors import DataError
from acclimate.base.modules import forget_last_call
from acclimate.llm.decoders.chat_template import OPTIONS, around
from acclimate.llm.decoders.loaded import Loaded
from acclimate.records import Doc
from acclimate.search.scorers.adapter import weights_of
from acclimate.search.scorers.pairs import Lengths, PairScorer, Reader
from acclimate.search.scorers.template import AUTO, Template, save, template_of


class Prompted(InputModule):
    """A prompted language model; implements `scorers.pairs.Reader`.

    model: gives the logits of the first answer token.
    """

    padding: ClassVar[str]
    tokenizer: Any

    def __init__(self, model: Any, tokenizer: Any, template: Template, lengths: Lengths, *, base: str) -> None:
        super().__init__()
        self.model = model
        self.tokenizer = tokenizer
        self.template = template
        self.lengths = lengths
        self.base = base
        self.true_id, self.false_id = (self._first_token(answer) for answer in (template.true, template.false))
        if self.true_id == self.false_id:
            raise DataError(f"{base}: {template.true!r} and {template.false!r} begin with the same token; name another")

    @classmethod
    def of(cls, name: str, lengths: Lengths, *, template: str = AUTO, is_new: bool = False) -> Self:
        """The model of that name, in float32."""
        loaded = Loaded(name, torch.float32)
        folder = Path(models.resolve(name).path_or_id)
        asked = template_of(name, folder, loaded.model.config, loaded.tokenizer, template, is_new=is_new)
        return cls(loaded.model, loaded.tokenizer, asked, lengths.within(loaded.context), base=name)

    @abstractmethod
    def first_logits(self, features: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """(n, vocabulary) logits of the first answer token."""

    def answer_loss(self, features: Mapping[str, torch.Tensor], is_true: torch.Tensor) -> torch.Tensor:
        """() mean cross-entropy of the first answer token over the whole vocabulary. is_true: (n,) the right answer."""
        logits = self.first_logits(features).float()
        answers = torch.where(is_true.to(logits.device), self.true_id, self.false_id)
        return torch.nn.functional.cross_entropy(logits, answers)

    def to_half_precision(self) -> Self:
        """Convert to half precision in place, except for the last layer, whose logits would tie the best documents."""
        head = copy.deepcopy(self.model.get_output_embeddings()).float()
        self.model.to(models.dtype()).set_output_embeddings(head)
        head.register_forward_pre_hook(lambda _, inputs: (inputs[0].float(),))
        return self

    def tokens(self, texts: Sequence[tuple[str, str]]) -> Mapping[str, Sequence[Sequence[int]]]:
        """Filled prompts as tokens, at most `lengths.pair` each: first the document is truncated, then the query."""
        fill = self.template.fill
        texts = self._with_short_documents(texts) if self.lengths.document else texts
        rows = self._ids([fill(query, document) for query, document in texts])
        for place, (query, document) in enumerate(texts):
            if len(rows[place]) > self.lengths.pair:
                rows[place] = self._cut(document, partial(fill, query), rows[place])
            if len(rows[place]) > self.lengths.pair:
                rows[place] = self._cut(query, lambda text: fill(text, ""), rows[place])
        return {"input_ids": rows}

    def logits(self, rows: Mapping[str, Sequence[Sequence[int]]]) -> torch.Tensor:
        return self(self._padded(rows["input_ids"]))["scores"].view(-1)

    def preprocess(self, inputs: Any, prompt: str | None = None, **_: Any) -> dict[str, torch.Tensor]:
        """Input of `forward`, for losses of sentence-transformers."""
        return self._padded(self.tokens(inputs)["input_ids"])

    def forward(self, features: dict[str, torch.Tensor], **_: Any) -> dict[str, torch.Tensor]:
        """The scores of the pairs; if `is_true` has the right answers, the loss."""
        if "is_true" in features:
            return features | {"loss": self.answer_loss(features, features["is_true"])}
        logits = self.first_logits(features).float()
        features["scores"] = (logits[:, self.true_id] - logits[:, self.false_id])[:, None]
        return features

    def save(self, output_path: str, *_: Any, **__: Any) -> None:
        """Save in a folder that plain transformers loads, with the template beside the weights."""
        folder = Path(output_path)
        forget_last_call(self.tokenizer)
        self.save_weights(folder)
        self.tokenizer.save_pretrained(str(folder))
        save(self.template, folder)

    def save_weights(self, folder: Path) -> None:
        self.model.save_pretrained(str(folder), safe_serialization=True)

    def get_config_dict(self) -> dict[str, Any]:
        return self.template._asdict()

    def _padded(self, rows: Sequence[Sequence[int]]) -> dict[str, torch.Tensor]:
        longest, device = max(map(len, rows)), self.model.device
        ids = torch.zeros(len(rows), longest, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for place, row in enumerate(rows):
            where = slice(longest - len(row), None) if self.padding == "left" else slice(len(row))
            ids[place, where] = torch.tensor(row)
            mask[place, where] = 1
        return {"input_ids": ids.to(device), "attention_mask": mask.to(device)}

    def _ids(self, prompts: list[str]) -> list[list[int]]:
        """Tokens of prompts, in which special ones are not recognized."""
        read = partial(self.tokenizer, split_special_tokens=True)
        if not self.template.chat:
            return read(prompts)["input_ids"]
        before, after = self._around
        return [[*before, *ids, *after] for ids in read(prompts, add_special_tokens=False)["input_ids"]]

    @cached_property
    def _around(self) -> list[list[int]]:
        """Tokens of the chat template before and after a message."""
        render = partial(self.tokenizer.apply_chat_template, tokenize=False, add_generation_prompt=True, **OPTIONS)
        return [self.tokenizer(part, add_special_tokens=False)["input_ids"] for part in around(self.base, render)]

    def _with_short_documents(self, texts: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        """The texts with documents truncated to their length."""
        longest = self.lengths.document
        read = self._ends([document for _, document in texts])
        return [
            (query, document[: ends[longest - 1]] if len(ends) > longest else document)
            for (query, document), ends in zip(texts, read, strict=True)
        ]

    def _ends(self, texts: list[str]) -> list[list[int]]:
        """Where each token of a text ends."""
        read = self.tokenizer(texts, split_special_tokens=True, add_special_tokens=False, return_offsets_mapping=True)
        return [[end for _, end in offsets] for offsets in read["offset_mapping"]]

    def _cut(self, text: str, fill: Callable[[str], str], row: list[int]) -> list[int]:
        """The tokens of `fill(text)`, with the end of `text` truncated as needed."""
        (ends,) = self._ends([text])
        kept = len(ends)
        while len(row) > self.lengths.pair and kept > 0:
            kept = max(0, kept - (len(row) - self.lengths.pair))
            row = self._ids([fill(text[: ends[kept - 1]] if kept else "")])[0]
        return row

    def _first_token(self, answer: str) -> int:
        return self.tokenizer(answer, add_special_tokens=False)["input_ids"][0]


class PromptedScorer(PairScorer):
    """Scores pairs with a prompted language model, loaded on first use."""

    def __init__(
        self,
        load: Callable[[], Prompted],
        name: str,
        corpus: Mapping[str, Doc],
        lengths: Lengths,
        template: str,
    ) -> None:
        """load: makes the model with these lengths and this template."""
        self.name = name
        self.corpus = corpus
        self.template = template
        self.lengths = lengths
        self._load = load

    @cached_property
    def _reader(self) -> Prompted:
        model = self._load().eval()
        return model if models.dtype() == torch.float32 else model.to_half_precision()

    def reader(self) -> Reader:
        return self._reader

    @property
    def maker(self) -> Callable[[], PromptedScorer]:
        return partial(PromptedScorer, self._load, self.name, {}, self.lengths, self.template)

    @property
    def fingerprint(self) -> str:
        lengths = [length for length in self.lengths if length]
        return fingerprint("prompted", weights_of(self.name), self.template, *lengths, str(models.dtype()))
