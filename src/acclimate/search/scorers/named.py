"""Scorers by name: `KIND:MODEL`, where KIND is how the model scores.

    cross-encoder:MODEL   reads query and document together and gives one logit
    monot5:MODEL          answers true or false to a prompt with both
    decoder:MODEL         a causal LM trained as reranker, with its prompt beside its weights
    yes-no:LLM            is asked whether the document answers the query
    likelihood:LLM        probability of the query given the document

MODEL is a folder, a Hugging Face id or embedded:NAME; an LLM is a causal one of transformers, or a .gguf file.
"""

from __future__ import annotations

from collections.abc import Mapping

from acclimate.base import models
from acclimate.base.errors import SettingError
from acclimate.records import Doc, Scorer
from acclimate.search import scorers
from acclimate.search.scorers.adapter import weights_of

KINDS = (*scorers.KINDS, "yes-no", "likelihood")
_QUERY_TOKENS = 64  # reserved beside a document, for models that read both as one text


def model_of(name: str) -> tuple[str, str]:
    """(kind, model) of a name. Raises SettingError if it is not a scorer's."""
    kind, colon, model = name.partition(":")
    if kind not in KINDS or not colon or not model:
        kinds = ", ".join(f"{kind}:MODEL" for kind in KINDS)
        raise SettingError(f"no teacher named {name!r}; expected bm25, dense, late-interaction, reranker, {kinds}")
    return kind, model


def split(name: str) -> tuple[str, str]:
    """(kind, model) of a name; without a kind, the kind is empty and follows from the model."""
    kind, _, model = name.partition(":")
    return (kind, model) if kind in KINDS and model else ("", name)


def check(name: str) -> None:
    """Raises SettingError, DataError or MissingExtra for a name that cannot be loaded, without loading it."""
    kind, model = model_of(name)
    if models.resolve(model).is_local:  # hub models are not downloaded yet
        _check_kind(kind, model)


def check_is_reranker(name: str) -> None:
    """Raises SettingError for a model, with or without a kind, that cannot score. A hub model must be downloaded."""
    kind, model = split(name)
    if kind:
        _check_kind(kind, model)
    else:
        scorers.check_is_reranker(model)


def fingerprint_of(name: str) -> str:
    """Fingerprint of the model behind a name, with or without a kind."""
    kind, model = split(name)
    if kind and kind not in scorers.KINDS:
        return models.weights_fingerprint(model)
    return weights_of(model)  # includes the prompt beside a reranker's weights, and the base of an adapter


def load(name: str, corpus: Mapping[str, Doc], *, max_doc_tokens: int) -> Scorer:
    """The scorer of that name, reading at most `max_doc_tokens` of a document."""
    kind, model = model_of(name)
    _check_kind(kind, model)
    if kind in scorers.KINDS:
        limit = max_doc_tokens + _QUERY_TOKENS
        return scorers.load(model, corpus, max_tokens=limit, max_doc_tokens=max_doc_tokens)
    from acclimate.search.scorers.likelihood import Likelihood
    from acclimate.search.scorers.yes_no import YesNo

    return (YesNo if kind == "yes-no" else Likelihood)(model, corpus, max_doc_tokens=max_doc_tokens)


def load_reranker(name: str, corpus: Mapping[str, Doc], *, max_tokens: int) -> Scorer:
    """The scorer of a model, with or without a kind, reading at most `max_tokens` of query and document together."""
    kind, model = split(name)
    if kind and kind not in scorers.KINDS:
        return load(name, corpus, max_doc_tokens=max(1, max_tokens - _QUERY_TOKENS))
    if kind:
        _check_kind(kind, model)
    return scorers.load(model, corpus, max_tokens=max_tokens)


def _check_kind(kind: str, model: str) -> None:
    actual = scorers.kind_of(model)
    if kind in scorers.KINDS:
        scorers.check_is_reranker(model)
        if actual != kind:
            raise SettingError(f"{model} is a {actual}; expected {actual}:{model}")
    elif actual == "monot5":
        raise SettingError(f"{kind}:{model} is an encoder-decoder; expected a causal LLM, or monot5:{model}")
