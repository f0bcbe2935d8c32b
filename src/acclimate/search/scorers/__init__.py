"""Scorers: models that score a (query, document) pair.

A model's kind follows from its configuration, never from its name or path:

    cross-encoder    an encoder with one logit, or any encoder before training
    monot5           an encoder-decoder (T5 and its like): the first token of its answer
    decoder          a causal LM, or its adapter: the token after the prompt
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from acclimate.base import kinds, models
from acclimate.base.errors import DataError, SettingError
from acclimate.base.files import read_json
from acclimate.records import Doc, Scorer
from acclimate.search.scorers.adapter import check_peft, is_adapter
from acclimate.search.scorers.labels import labels, relevant
from acclimate.search.scorers.template import AUTO, check_template, saved, template_of

KINDS = ("cross-encoder", "monot5", "decoder")


def kind_of(name: str) -> str:
    """Which of `KINDS` a model is. Raises what `models.resolve` raises."""
    location = models.resolve(name)
    if location.gguf_file or is_adapter(name):
        return "decoder"
    kind = kinds.kind_of(_config(location))
    return "cross-encoder" if kind == "encoder" else kind


def check_is_reranker(name: str) -> None:
    """Raises SettingError for a model that is not a reranker, or of an unknown kind, without reading its weights.

    Raises MissingExtra for an adapter without the library that reads it.
    """
    kind = kind_of(name)
    if kind != "cross-encoder":
        check_asked(name, AUTO)
        if is_adapter(name):
            check_peft()
        return
    config = _config(models.resolve(name))
    if not config:
        raise SettingError(
            f"{name}: no config.json in this folder; expected a reranker, such as a run's train/reranker"
        )
    if "SequenceClassification" not in (architecture := _architecture(config)):
        raise SettingError(
            f"{name} is an encoder ({architecture or 'of no known architecture'}) that was not trained to score pairs; "
            "expected a reranker, such as a folder written by train"
        )
    relevant(labels(config), name)


def check_asked(name: str, template: str) -> None:
    """Raises SettingError for a language model without a known template, without reading its weights."""
    location = models.resolve(name)
    folder = Path(location.path_or_id)
    if template != AUTO or saved(folder) is not None:
        return
    config, tokenizer = SimpleNamespace(model_type="", is_encoder_decoder=False), None
    if kind_of(name) == "monot5":
        from acclimate.llm.decoders.tokenizer import Tokenizer

        config = SimpleNamespace(**{"feed_forward_proj": "relu", **vars(config), **_config(location)})
        tokenizer = Tokenizer(name).tokenizer
    template_of(name, folder, config, tokenizer, AUTO, is_new=False)


def load(
    name: Path | str, corpus: Mapping[str, Doc], *, max_tokens: int, template: str = AUTO, max_doc_tokens: int = 0
) -> Scorer:
    """A reranker by name: a folder (of `train` or other), or a Hugging Face id; loaded on first use.

    max_tokens: of query and document together, prompt included. template: of a language model (see `scorers.template`);
    `auto` is the one saved beside its weights. max_doc_tokens: of the document; 0: what the query leaves.
    """
    from acclimate.search.scorers.pairs import Lengths

    name, lengths = str(name), Lengths(max_tokens, max_doc_tokens)
    check_template(template)
    kind = kind_of(name)
    if kind == "cross-encoder":
        from acclimate.search.scorers.cross_encoder import CrossEncoderScorer

        return CrossEncoderScorer(name, corpus, lengths)
    from acclimate.search.scorers.prompted import PromptedScorer

    make = partial(language_model(kind).of, name, lengths, template=template)
    return PromptedScorer(make, name, corpus, lengths, template)


def language_model(kind: str) -> Any:
    """The class for a kind of language model."""
    if kind == "monot5":
        from acclimate.search.scorers.monot5 import MonoT5

        return MonoT5
    from acclimate.search.scorers.decoder import Decoder

    return Decoder


def _architecture(config: Mapping[str, Any]) -> str:
    architectures = config.get("architectures")
    return str(architectures[0]) if isinstance(architectures, list) and architectures else ""


def _config(location: models.ModelName) -> dict[str, Any]:
    """The model's configuration; empty if it has none."""
    if not location.is_local:
        from transformers import AutoConfig

        try:
            return AutoConfig.from_pretrained(location.path_or_id, revision=location.revision or "main").to_dict()
        except (OSError, ValueError) as error:
            raise DataError(f"{location.path_or_id}: the model has no readable configuration: {error}") from None
    path = Path(location.path_or_id) / "config.json"
    if not path.is_file():
        return {}
    config = read_json(path)
    if not isinstance(config, dict):
        raise DataError("no configuration of a model; expected a JSON object", path=path)
    return config
