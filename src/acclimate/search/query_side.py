"""Query vectors straight from the files of a model, for a search that begins: no library of models is loaded, which
takes longer than all else that it does.

Read so is what is known to the last detail: BERT without prompts, pooled by the mean or the first token, or with token
vectors as a late-interaction student has them. Of whatever else there is, and of files that are not as they should be,
`opened` makes nothing: `Encoder` reads, or refuses, every model. tests/test_query_side.py compares
the two, to the last bit.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from tokenizers import Tokenizer
from torch import nn
from torch.nn.functional import normalize

from acclimate.base import models
from acclimate.base.digests import fingerprint
from acclimate.base.errors import DataError
from acclimate.search.bert import Bert, Block
from acclimate.search.encoded import Encoded

_CONFIG = {
    "model_type": "bert",
    "hidden_act": "gelu",
    "is_decoder": False,
    "add_cross_attention": False,
    "position_embedding_type": "absolute",
    "output_hidden_states": False,
}
_READING = {
    "do_lower_case": False,
    "transformer_task": "feature-extraction",
    "modality_config": {"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
    "module_output_name": "token_embeddings",
}
_WORDPIECE = {"type": "WordPiece", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100}
_TEXT_ITSELF = {"Sequence": {"id": "A", "type_id": 0}}


class QuerySide:
    """Makes of queries what `Encoder` makes of them."""

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
        """special: ids of tokens that late interaction does not compare. weights: their fingerprint, if it is asked."""
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
        """Vectors of each text, in the order given."""
        with torch.inference_mode():
            tokens = [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))]
            blocks = [Block(torch.tensor([ids], device=models.device())) for ids in tokens]
            states = self._bert.states(blocks) if blocks else []
            return [self._encoded(*read) for read in zip(tokens, states, strict=True)]

    @property
    def is_alike(self) -> bool:
        """Whether a text's vectors are the same, to the last bit, in any company."""
        return self._bert.is_alike

    def _encoded(self, ids: list[int], states: torch.Tensor) -> Encoded:
        states = states.float().cpu()
        is_word = [token not in self._special for token in ids]
        keep = torch.tensor(is_word if any(is_word) else [True] * len(ids))
        tokens = normalize(states, dim=-1)
        if self._pooling == "tokens":
            tokens = normalize(tokens, dim=-1)  # twice, as its library does it and then `Encoder`
            whole = (tokens * keep[:, None]).sum(dim=1)
        else:
            whole = normalize(states[:, 0] if self._pooling == "cls" else states.sum(dim=1) / len(ids), dim=-1)
        if not states.isfinite().all():
            raise DataError(
                f"vectors that are no numbers come of its weights, in {models.dtype_name()}", path=self.folder
            )
        return Encoded(normalize(whole, dim=-1)[0].numpy(), tokens[0, keep].numpy())


class BertModel(nn.Module):
    """The parts of a BERT that `Bert` reads, by their names in its file; on `meta` until the file's tensors are set."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        size, eps = config["hidden_size"], config["layer_norm_eps"]

        def table(rows: int) -> nn.Embedding:
            return nn.Embedding.from_pretrained(torch.empty(rows, size))  # others draw numbers: seconds of imports

        def norm() -> nn.LayerNorm:
            return nn.LayerNorm(size, eps)

        def layer() -> nn.Module:
            attention = _parts(query=nn.Linear(size, size), key=nn.Linear(size, size), value=nn.Linear(size, size))
            attention.config, attention.scaling = self.config, (size // self.config.num_attention_heads) ** -0.5
            intermediate = _parts(dense=nn.Linear(size, config["intermediate_size"]))
            intermediate.intermediate_act_fn = nn.functional.gelu
            return _parts(
                attention=_parts(self=attention, output=_parts(dense=nn.Linear(size, size), LayerNorm=norm())),
                intermediate=intermediate,
                output=_parts(dense=nn.Linear(config["intermediate_size"], size), LayerNorm=norm()),
            )

        with torch.device("meta"):
            self.config = SimpleNamespace(**config)
            self.embeddings = _parts(
                word_embeddings=table(config["vocab_size"]),
                position_embeddings=table(config["max_position_embeddings"]),
                token_type_embeddings=table(config["type_vocab_size"]),
                LayerNorm=norm(),
            )
            self.encoder = _parts(layer=nn.ModuleList(layer() for _ in range(config["num_hidden_layers"])))


def _parts(**modules: nn.Module) -> Any:
    whole = nn.Module()
    for name, module in modules.items():
        whole.add_module(name, module)
    return whole


def opened(folder: Path, weights: Callable[[], str], *, max_tokens: int) -> QuerySide | None:
    """The query side of the model in a folder, cut at `max_tokens` tokens; None where it is not one that is known."""
    try:
        transformer, pooling = _modules(folder)
        config, words = _json(transformer / "config.json"), _json(transformer / "tokenizer_config.json")
        _expect({key: config.get(key, value) for key, value in _CONFIG.items()}, _CONFIG)
        limits = _limits(transformer, words)
        tokenizer, special = _tokenizer(transformer, words)
        model = BertModel(config)
        model.load_state_dict(_tensors(transformer / "model.safetensors"), assign=True)
        max_tokens = min(max_tokens, config["max_position_embeddings"], *limits)
        return QuerySide(model.eval(), tokenizer, special, pooling, max_tokens, folder, weights)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError):
        return None  # `Encoder` says whose fault it is


def _expect(what: Any, known: Any) -> None:
    if what != known:
        raise ValueError


def _modules(folder: Path) -> tuple[Path, str]:
    """Where the transformer is, and what stands for the text: mean, cls, or tokens where that is each of them."""
    modules = {folder / str(module["path"]): str(module["type"]) for module in _json(folder / "modules.json")}
    if [*map(_kind, modules.values())] == ["Router"]:
        router = _json(folder / "router_config.json")
        modules = {folder / name: router["types"][name] for name in router["structure"]["query"]}
    if (saved := folder / "config_sentence_transformers.json").is_file():
        _expect(any((_json(saved).get("prompts") or {}).values()), False)
    (transformer, behind, *_), kinds = [*modules], [*map(_kind, modules.values())]
    written = _json(behind / "config.json")
    if kinds == ["Transformer", "MultiVectorMask", "Normalize"]:
        special = _special(_json(transformer / "tokenizer_config.json"))
        _expect((set(written["skiplist_words"]), written["keep_only_token_ids"]), (special, None))
        _expect("query" in written["skiplist_tasks"], True)
        return transformer, "tokens"
    _expect(kinds, ["Transformer", "Pooling", "Normalize"])
    modes = [key.removeprefix("pooling_mode_") for key, value in written.items() if value is True]
    mode = written.get("pooling_mode") or "".join(mode for mode in modes if mode != "include_prompt")
    return transformer, {"mean": "mean", "mean_tokens": "mean", "cls": "cls", "cls_token": "cls"}[mode]


def _kind(name: str) -> str:
    return name.rpartition(".")[2]


def _limits(transformer: Path, words: Mapping[str, Any]) -> list[int]:
    """How many tokens its own files let it read."""
    path = transformer / "sentence_bert_config.json"
    written = _json(path) if path.is_file() else {}
    limit = written.pop("max_seq_length", None) or words.get("model_max_length")
    _expect(written, {key: _READING[key] for key in written})
    return [limit] if limit else []


def _tokenizer(transformer: Path, words: Mapping[str, Any]) -> tuple[Tokenizer, set[int]]:
    """It, and the ids of special tokens; only where the file says what BertTokenizer makes of its own settings."""
    path = transformer / "tokenizer.json"
    written, special = _json(path), _special(words)
    _expect(words["tokenizer_class"] in ("BertTokenizer", "BertTokenizerFast"), True)
    _expect(words.get("truncation_side", "right"), "right")
    normalizer = {
        "type": "BertNormalizer",
        "clean_text": True,
        "handle_chinese_chars": words.get("tokenize_chinese_chars", True),
        "strip_accents": words.get("strip_accents"),
        "lowercase": words.get("do_lower_case", True),
    }
    _expect((written["normalizer"], written["pre_tokenizer"]), (normalizer, {"type": "BertPreTokenizer"}))
    _expect({token["content"] for token in written["added_tokens"]} <= special, True)
    model = {key: value for key, value in written["model"].items() if key != "vocab"}
    _expect(model, {**_WORDPIECE, "unk_token": words.get("unk_token", "[UNK]")})
    begin, end = words.get("cls_token", "[CLS]"), words.get("sep_token", "[SEP]")
    template = [
        {"SpecialToken": {"id": begin, "type_id": 0}},
        _TEXT_ITSELF,
        {"SpecialToken": {"id": end, "type_id": 0}},
    ]
    _expect(written["post_processor"]["single"], template)
    vocabulary = written["model"]["vocab"]
    for token in (begin, end):
        _expect(written["post_processor"]["special_tokens"][token]["ids"], [vocabulary[token]])
    return Tokenizer.from_file(str(path)), {vocabulary[token] for token in special if token in vocabulary}


def _special(words: Mapping[str, Any]) -> set[str]:
    """The tokens of no word. Other ones than BERT's are not known."""
    _expect([words[key] for key in ("additional_special_tokens", "extra_special_tokens") if words.get(key)], [])
    return {words.get(f"{name}_token", f"[{name.upper()}]") for name in ("unk", "sep", "pad", "cls", "mask")}


def _tensors(path: Path) -> dict[str, torch.Tensor]:
    """Memory-mapped, by their names within the model."""
    with safe_open(path, framework="pt") as file:
        tensors = {name.removeprefix("bert."): file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
    return {
        name: value for name, value in tensors.items() if not name.startswith(("pooler.", "embeddings.position_ids"))
    }


def _json(path: Path) -> Any:
    return json.loads(path.read_bytes())
