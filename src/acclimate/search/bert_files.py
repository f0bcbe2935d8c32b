"""Read the weights, configuration and tokenizer of a BERT from its files, without transformers.

Anything not known exactly raises one of `UNKNOWN`; the caller then uses the library.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import torch
from safetensors import SafetensorError, safe_open
from tokenizers import Tokenizer
from torch import nn

_CONFIG = {
    "model_type": "bert",
    "hidden_act": "gelu",
    "is_decoder": False,
    "add_cross_attention": False,
    "position_embedding_type": "absolute",
    "output_hidden_states": False,
}
_WORDPIECE = {"type": "WordPiece", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100}

UNKNOWN = (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError)


class BertModel(nn.Module):
    """The parts of a BERT that `Bert` reads, named as in its file; on the `meta` device until tensors are set."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        size, eps = config["hidden_size"], config["layer_norm_eps"]

        def table(rows: int) -> nn.Embedding:
            # Avoids random initialization, whose imports take seconds.
            return nn.Embedding.from_pretrained(torch.empty(rows, size))

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

    def read(self, tensors: dict[str, torch.Tensor]) -> Self:
        """The model with the tensors of its file, whose names may begin with the model's name."""
        named = {name.removeprefix("bert."): value for name, value in tensors.items()}
        self.load_state_dict(named, assign=True)
        return self.eval()


class BertClassifier(BertModel):
    """A `BertModel` with a classification head of `n_labels` on the first token."""

    def __init__(self, config: Mapping[str, Any], n_labels: int) -> None:
        super().__init__(config)
        size = config["hidden_size"]
        with torch.device("meta"):
            self.pooler = _Pooler(size)
            self.classifier = nn.Linear(size, n_labels)

    @property
    def base_model(self) -> BertModel:
        """Itself: the attribute that transformers' classifiers have."""
        return self


class _Pooler(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.dense = nn.Linear(size, size)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.dense(states[:, 0]))


def _parts(**modules: nn.Module) -> Any:
    whole = nn.Module()
    for name, module in modules.items():
        whole.add_module(name, module)
    return whole


def config_of(transformer: Path) -> dict[str, Any]:
    """The configuration of a BERT that `bert` can compute."""
    config = read(transformer / "config.json")
    expect({key: config.get(key, value) for key, value in _CONFIG.items()}, _CONFIG)
    return config


def tokenizer_of(transformer: Path, words: Mapping[str, Any]) -> tuple[Tokenizer, set[int]]:
    """The tokenizer, and the ids of special tokens; only if its file agrees with BertTokenizer's settings.

    words: content of tokenizer_config.json.
    """
    path = transformer / "tokenizer.json"
    written, special = read(path), special_tokens(words)
    expect(words["tokenizer_class"] in ("BertTokenizer", "BertTokenizerFast"), True)
    expect(words.get("truncation_side", "right"), "right")
    normalizer = {
        "type": "BertNormalizer",
        "clean_text": True,
        "handle_chinese_chars": words.get("tokenize_chinese_chars", True),
        "strip_accents": words.get("strip_accents"),
        "lowercase": words.get("do_lower_case", True),
    }
    expect((written["normalizer"], written["pre_tokenizer"]), (normalizer, {"type": "BertPreTokenizer"}))
    expect({token["content"] for token in written["added_tokens"]} <= special, True)
    model = {key: value for key, value in written["model"].items() if key != "vocab"}
    expect(model, {**_WORDPIECE, "unk_token": words.get("unk_token", "[UNK]")})
    begin, end = words.get("cls_token", "[CLS]"), words.get("sep_token", "[SEP]")
    first = [_special(begin, 0), {"Sequence": {"id": "A", "type_id": 0}}, _special(end, 0)]
    second = [{"Sequence": {"id": "B", "type_id": 1}}, _special(end, 1)]
    expect((written["post_processor"]["single"], written["post_processor"]["pair"]), (first, first + second))
    vocabulary = written["model"]["vocab"]
    for token in (begin, end):
        expect(written["post_processor"]["special_tokens"][token]["ids"], [vocabulary[token]])
    return Tokenizer.from_file(str(path)), {vocabulary[token] for token in special if token in vocabulary}


def _special(token: str, type_id: int) -> dict[str, Any]:
    return {"SpecialToken": {"id": token, "type_id": type_id}}


def special_tokens(words: Mapping[str, Any]) -> set[str]:
    """The special tokens; only BERT's own are supported."""
    expect([words[key] for key in ("additional_special_tokens", "extra_special_tokens") if words.get(key)], [])
    return {words.get(f"{name}_token", f"[{name.upper()}]") for name in ("unk", "sep", "pad", "cls", "mask")}


def tensors_of(transformer: Path) -> dict[str, torch.Tensor]:
    """The weights by name, memory-mapped, in float32."""
    with safe_open(transformer / "model.safetensors", framework="pt") as file:
        tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
    return {name: value for name, value in tensors.items() if not name.endswith("embeddings.position_ids")}


def expect(value: Any, known: Any) -> None:
    """Raises ValueError if a value is not the known one."""
    if value != known:
        raise ValueError


def read(path: Path) -> Any:
    """The content of a JSON file."""
    return json.loads(path.read_bytes())
