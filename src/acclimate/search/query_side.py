"""Encode queries straight from a model's files: at startup, importing libraries would take longer than the search.

Supported is what is known exactly: BERT without prompts, with mean or first-token pooling, or with the token vectors of
a late-interaction student. For anything else, and for invalid files, `load_query_side` returns None, and `Encoder`
loads or refuses the model. tests/test_query_side.py checks that both give bit-identical vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch.nn.functional import normalize

from acclimate.base import models
from acclimate.base.cores import single_core
from acclimate.base.digests import fingerprint
from acclimate.base.errors import DataError
from acclimate.base.gpu import on_device
from acclimate.search.bert import Bert, Block
from acclimate.search.bert_files import (
    UNKNOWN,
    BertModel,
    config_of,
    expect,
    read,
    special_tokens,
    tensors_of,
    tokenizer_of,
)
from acclimate.search.encoded import Encoded

_READING = {
    "do_lower_case": False,
    "transformer_task": "feature-extraction",
    "modality_config": {"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
    "module_output_name": "token_embeddings",
}


class QuerySide:
    """Encodes queries as `Encoder` does."""

    def __init__(
        self,
        model: BertModel,
        tokenizer: Tokenizer,
        special: set[int],
        pooling: str,
        max_tokens: int,
        folder: Path,
        weights: Callable[[], str],
    ) -> None:
        """special: ids of tokens that late interaction does not compare. weights: returns their fingerprint."""
        self.folder = folder
        self.max_tokens = max_tokens
        self._bert = Bert(model.to(models.device()), models.dtype())
        self._tokenizer = tokenizer
        self._special = special
        self._pooling = pooling
        self._weights = weights
        tokenizer.no_padding()
        tokenizer.enable_truncation(max_tokens)

    @property
    def fingerprint(self) -> str:
        return fingerprint("encoder", self._weights(), self.max_tokens, str(models.dtype()))

    def encode(self, texts: Sequence[str]) -> list[Encoded]:
        """Vectors of each text, in order; a GPU computes each by itself, so that results are batch-invariant."""
        if not texts:
            return []
        with torch.inference_mode(), single_core(self._bert.width):
            tokens = [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))]
            blocks = [Block(on_device(torch.tensor([ids]))) for ids in tokens]
            calls = [blocks] if self._bert.is_batch_invariant else [[block] for block in blocks]
            states = torch.cat([states[0] for call in calls for states in self._bert.states(call)]).float().cpu()
            return [self._encoded(*read) for read in zip(tokens, states.split([*map(len, tokens)]), strict=True)]

    @property
    def is_batch_invariant(self) -> bool:
        """True: results are always batch-invariant."""
        return True

    def _encoded(self, ids: list[int], states: torch.Tensor) -> Encoded:
        """states: (tokens, C)."""
        is_word = [token not in self._special for token in ids]
        keep = torch.tensor(is_word if any(is_word) else [True] * len(ids))
        tokens = normalize(states, dim=-1)
        if self._pooling == "tokens":
            tokens = normalize(tokens, dim=-1)  # twice, as the library and then `Encoder` do
            whole = (tokens * keep[:, None]).sum(dim=0)
        else:
            whole = normalize(states[0] if self._pooling == "cls" else states.sum(dim=0) / len(ids), dim=-1)
        if not states.isfinite().all():
            raise DataError(f"the vectors are not finite with its weights, in {models.dtype_name()}", path=self.folder)
        return Encoded(normalize(whole, dim=-1).numpy(), tokens[keep].numpy())


def load_query_side(folder: Path, weights: Callable[[], str], *, max_tokens: int) -> QuerySide | None:
    """The query encoder of the model in a folder, truncating at `max_tokens`; None if it is not supported."""
    try:
        transformer, pooling = _modules(folder)
        config, words = config_of(transformer), read(transformer / "tokenizer_config.json")
        limits = _limits(transformer, words)
        tokenizer, special = tokenizer_of(transformer, words)
        tensors = tensors_of(transformer)
        pooler = [name for name in tensors if name.removeprefix("bert.").startswith("pooler.")]
        model = BertModel(config).read({name: tensors[name] for name in tensors.keys() - pooler})
        max_tokens = min(max_tokens, config["max_position_embeddings"], *limits)
        return QuerySide(model, tokenizer, special, pooling, max_tokens, folder, weights)
    except UNKNOWN:
        return None  # `Encoder` reports the error


def _modules(folder: Path) -> tuple[Path, str]:
    """The transformer's folder, and the pooling: mean, cls, or tokens for none."""
    modules = {folder / str(module["path"]): str(module["type"]) for module in read(folder / "modules.json")}
    if [*map(_kind, modules.values())] == ["Router"]:
        router = read(folder / "router_config.json")
        modules = {folder / name: router["types"][name] for name in router["structure"]["query"]}
    if (saved := folder / "config_sentence_transformers.json").is_file():
        expect(any((read(saved).get("prompts") or {}).values()), False)
    (transformer, second, *_), kinds = [*modules], [*map(_kind, modules.values())]
    written = read(second / "config.json")
    if kinds == ["Transformer", "MultiVectorMask", "Normalize"]:
        special = special_tokens(read(transformer / "tokenizer_config.json"))
        expect((set(written["skiplist_words"]), written["keep_only_token_ids"]), (special, None))
        expect("query" in written["skiplist_tasks"], True)
        return transformer, "tokens"
    expect(kinds, ["Transformer", "Pooling", "Normalize"])
    modes = [key.removeprefix("pooling_mode_") for key, value in written.items() if value is True]
    mode = written.get("pooling_mode") or "".join(mode for mode in modes if mode != "include_prompt")
    return transformer, {"mean": "mean", "mean_tokens": "mean", "cls": "cls", "cls_token": "cls"}[mode]


def _kind(name: str) -> str:
    return name.rpartition(".")[2]


def _limits(transformer: Path, words: Mapping[str, Any]) -> list[int]:
    """Maximum lengths in the model's files."""
    path = transformer / "sentence_bert_config.json"
    written = read(path) if path.is_file() else {}
    limit = written.pop("max_seq_length", None) or words.get("model_max_length")
    expect(written, {key: _READING[key] for key in written})
    return [limit] if limit else []
