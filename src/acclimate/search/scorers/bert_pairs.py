"""Score pairs with a BERT-like classifier through `search.bert`, for inference only.

The model is one that the library has loaded, or is read straight from its files (`load_reader`) for a fast start: BERT
with its own tokenizer and without prompts. For anything else, and for invalid files, `load_reader` returns None, and
the library loads or refuses the model. tests/test_bert_pairs.py checks that both give bit-identical scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch.nn.utils.rnn import pad_sequence

from acclimate.base import models
from acclimate.base.gpu import on_device
from acclimate.search.bert import Bert, Block, of_one_length
from acclimate.search.bert_files import UNKNOWN, BertClassifier, config_of, expect, read, tensors_of, tokenizer_of
from acclimate.search.scorers.labels import labels, log_odds, relevant
from acclimate.search.scorers.pairs import Lengths

Rows = Mapping[str, Sequence[Sequence[int]]]  # tokenizer output: name -> a row per pair

_READING = {
    "do_lower_case": False,
    "transformer_task": "sequence-classification",
    "modality_config": {"text": {"method": "forward", "method_output_name": "logits"}},
    "module_output_name": "scores",
}


class BertReader:
    """Implements `pairs.Reader`.

    The head reads the first token's state in float32, on a CPU one pair at a time, so that scores are batch-invariant,
    but for rounding in bfloat16.
    """

    def __init__(self, classifier: Any, tokenizer: Any, lengths: Lengths, *, label: int | None) -> None:
        """classifier: of transformers, or built like it. label: index of the relevant label, if there are several."""
        self.lengths = lengths
        self.label = label
        self._tokenizer = tokenizer
        self._classifier = classifier
        self._bert = Bert(classifier.base_model, models.dtype())

    @property
    def is_batch_invariant(self) -> bool:
        """True if scores are batch-invariant, or so nearly that a pair is not scored again."""
        return self._bert.is_nearly_batch_invariant

    def tokens(self, texts: Sequence[tuple[str, str]]) -> Rows:
        return tokens_of_pairs(self._tokenizer, texts, self.lengths)

    def logits(self, rows: Rows) -> torch.Tensor:
        groups = of_one_length([len(ids) for ids in rows["input_ids"]])
        blocks = [
            self._block({name: [values[row] for row in group] for name, values in rows.items()}) for group in groups
        ]
        firsts = self._bert.first_states(blocks).float()
        scores = [self._head(some) for some in firsts.split(1 if firsts.device.type == "cpu" else len(firsts))]
        order = torch.tensor([row for group in groups for row in group])
        return log_odds(torch.cat(scores)[on_device(order.argsort())], self.label)

    def _block(self, rows: Rows) -> Block:
        """A padded block; padding is not attended to, but must have RoBERTa's id."""
        lengths = torch.tensor([len(ids) for ids in rows["input_ids"]])
        ids = _padded(rows["input_ids"], self._bert.padding or 0)
        types = _padded(rows["token_type_ids"], 0) if "token_type_ids" in rows else None
        attend = torch.arange(ids.shape[1]) < lengths[:, None]
        return Block(
            on_device(ids), None if types is None else on_device(types), None if attend.all() else on_device(attend)
        )

    def _head(self, firsts: torch.Tensor) -> torch.Tensor:
        """(n, labels) logits of first states (n, hidden size)."""
        pooler, states = self._classifier.base_model.pooler, firsts[:, None]
        return self._classifier.classifier(states if pooler is None else pooler(states))


def _padded(rows: Sequence[Sequence[int]], value: int) -> torch.Tensor:
    return pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=value)


def tokens_of_pairs(tokenizer: Any, texts: Sequence[tuple[str, str]], lengths: Lengths) -> Rows:
    """Tokenize (query, document) pairs; the document is truncated, and the query only if it leaves no room.

    The length of a document counts the special tokens that it would have alone.
    """
    max_tokens, max_doc_tokens = lengths
    queries = list(dict.fromkeys(query for query, _ in texts))
    special, alone = (tokenizer.num_special_tokens_to_add(pair=pair) for pair in (True, False))
    limits: dict[str, tuple[str, int]] = {}
    for query, ids in zip(queries, tokenizer(queries, add_special_tokens=False)["input_ids"], strict=True):
        is_long, room = len(ids) >= max_tokens - special, len(ids) + special + max(1, max_doc_tokens - alone)
        limit = max_tokens if is_long or not max_doc_tokens else min(max_tokens, room)
        limits[query] = ("longest_first" if is_long else "only_second", limit)
    rows: dict[str, list[Sequence[int]]] = {}
    for truncation, limit in sorted(set(limits.values())):
        places = [place for place, (query, _) in enumerate(texts) if limits[query] == (truncation, limit)]
        tokens = tokenizer(
            [texts[place][0] for place in places],
            [texts[place][1] for place in places],
            truncation=truncation,
            max_length=limit,
        )
        for name, values in tokens.items():
            column = rows.setdefault(name, [[]] * len(texts))
            for place, value in zip(places, values, strict=True):
                column[place] = value
    return rows


class PairTokenizer:
    """A tokenizer with the part of transformers' interface that pairs need."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        tokenizer.no_padding()

    def num_special_tokens_to_add(self, *, pair: bool) -> int:
        return self._tokenizer.num_special_tokens_to_add(pair)

    def __call__(
        self,
        firsts: Sequence[str],
        seconds: Sequence[str] | None = None,
        *,
        truncation: str = "",
        max_length: int = 0,
        add_special_tokens: bool = True,
    ) -> Rows:
        if truncation:
            self._tokenizer.enable_truncation(max_length, strategy=truncation)
        else:
            self._tokenizer.no_truncation()
        texts = list(firsts) if seconds is None else list(zip(firsts, seconds, strict=True))
        read = self._tokenizer.encode_batch(texts, add_special_tokens=add_special_tokens)
        return {"input_ids": [text.ids for text in read], "token_type_ids": [text.type_ids for text in read]}


def load_reader(folder: Path, lengths: Lengths) -> BertReader | None:
    """A reader of the model in a folder, truncating pairs as `tokens_of_pairs`; None if it is not supported.

    Raises SettingError if none of several labels means relevant.
    """
    try:
        _check_modules(folder)
        config, words = config_of(folder), read(folder / "tokenizer_config.json")
        expect(config["architectures"], ["BertForSequenceClassification"])
        expect(words.get("model_input_names", ["token_type_ids"]).count("token_type_ids"), 1)
        tokenizer, _ = tokenizer_of(folder, words)
        names = labels(config)
        classifier = BertClassifier(config, len(names)).read(tensors_of(folder)).to(models.device())
        lengths = lengths.within(config["max_position_embeddings"])
    except UNKNOWN:
        return None
    label = relevant(names, str(folder)) if len(names) > 1 else None
    return BertReader(classifier, PairTokenizer(tokenizer), lengths, label=label)


def _check_modules(folder: Path) -> None:
    """Raises unless the folder is a plain transformer, saved by transformers or as a cross-encoder."""
    if (path := folder / "modules.json").is_file():
        expect([(module["path"], module["type"].rpartition(".")[2]) for module in read(path)], [("", "Transformer")])
        reading = read(folder / "sentence_bert_config.json")
        reading.pop("max_seq_length", None)
        expect(reading, {key: _READING[key] for key in reading})
    if (path := folder / "config_sentence_transformers.json").is_file():
        saved = read(path)
        expect(saved.get("model_type", "CrossEncoder"), "CrossEncoder")
        expect(any((saved.get("prompts") or {}).values()), False)
