"""Scorers by name: `KIND:MODEL`, where KIND says how the model is asked.

    cross-encoder:MODEL   reads query and document together and gives one logit
    monot5:MODEL          answers true or false to a prompt that shows both
    decoder:MODEL         a causal LLM that train made a reranker: its prompt is beside its weights
    yes-no:LLM            is asked whether the document answers the query
    likelihood:LLM        says how likely the query is, given the document

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
_QUERY_TOKENS = 64  # beside a document's, for models that read both as one text


def model_of(name: str) -> tuple[str, str]:
    """Kind and model. Raises SettingError for a name that is no scorer's."""
    kind, colon, model = name.partition(":")
    if kind not in KINDS or not colon or not model:
        kinds = ", ".join(f"{kind}:MODEL" for kind in KINDS)
        raise SettingError(f"no teacher named {name!r}; expected bm25, dense, late-interaction, reranker, {kinds}")
    return kind, model


def split(name: str) -> tuple[str, str]:
    """Kind and model; no kind where a model is named alone, and says itself what it is."""
    kind, _, model = name.partition(":")
    return (kind, model) if kind in KINDS and model else ("", name)


def check(name: str) -> None:
    """Raises SettingError, DataError or MissingExtra for a name that `load` would not take, without loading it."""
    kind, model = model_of(name)
    if models.resolve(model).is_local:  # of others nothing is here yet
        _check_kind(kind, model)


def check_rates(name: str) -> None:
    """Raises SettingError for a model, with or without a kind, that does not rate so. One of a hub must be here."""
    kind, model = split(name)
    if kind:
        _check_kind(kind, model)
    else:
        scorers.check_rates(model)


def fingerprint_of(name: str) -> str:
    """Changes with the model behind a name."""
    kind, model = model_of(name)
    if kind in scorers.KINDS:
        return weights_of(model)  # what it is asked is beside its weights
    return models.weights_fingerprint(model)


def load(name: str, corpus: Mapping[str, Doc], *, max_doc_tokens: int) -> Scorer:
    """The scorer of that name; it reads so many tokens of a document, at most."""
    kind, model = model_of(name)
    _check_kind(kind, model)
    if kind in scorers.KINDS:
        return scorers.load(model, corpus, max_tokens=max_doc_tokens + _QUERY_TOKENS)
    from acclimate.search.scorers.likelihood import Likelihood
    from acclimate.search.scorers.yes_no import YesNo

    return (YesNo if kind == "yes-no" else Likelihood)(model, corpus, max_doc_tokens=max_doc_tokens)


def load_reranker(name: str, corpus: Mapping[str, Doc], *, max_tokens: int) -> Scorer:
    """The scorer of a model, with or without a kind; it reads so many tokens of query and document together."""
    if split(name)[0]:
        return load(name, corpus, max_doc_tokens=max(1, max_tokens - _QUERY_TOKENS))
    return scorers.load(name, corpus, max_tokens=max_tokens)


def _check_kind(kind: str, model: str) -> None:
    actual = scorers.kind_of(model)
    if kind in scorers.KINDS:
        if actual != kind:
            raise SettingError(f"{model} is a {actual}; expected {actual}:{model}")
        scorers.check_rates(model)
    elif actual == "monot5":
        raise SettingError(f"{kind}:{model} is an encoder-decoder; expected a causal LLM, or monot5:{model}")
