"""Prompts for reranking with a language model, and the two answers whose logits make the score.

A template is saved beside the weights trained with it, and read from there; a model's name or path means nothing. Of
published models only original T5s are recognized, by configuration and vocabulary (monoT5 was made from them); for any
other the template has to be named, lest it be scored by tokens it was not trained on.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

from acclimate.base.errors import DataError, SettingError, unknown
from acclimate.base.files import read_json, write_json

FILE = "reranker.json"  # beside the weights
AUTO = "auto"


class Template(NamedTuple):
    """A prompt with `{query}` and `{document}`, and the positive and negative answers."""

    prompt: str
    true: str
    false: str
    chat: bool = False  # uses the model's chat template

    def fill(self, query: str, document: str) -> str:
        """The prompt for these two; braces in them are kept."""
        texts = {"{query}": query, "{document}": document}
        return "".join(texts.get(part, part) for part in re.split(r"(\{query\}|\{document\})", self.prompt))


_MONOT5 = "Query: {query} Document: {document} Relevant:"  # arXiv 2003.06713
_ASKED = "Query: {query}\nDocument: {document}\nDoes the document answer the query"
TEMPLATES = {
    "monot5": Template(_MONOT5, "true", "false"),
    "mt5": Template(_MONOT5, "yes", "no"),
    "flan": Template(
        "Is the following passage relevant to the query?\nQuery: {query}\nPassage: {document}", "yes", "no"
    ),
    "plain": Template(f"{_ASKED}, yes or no? Answer:", " yes", " no"),
    "chat": Template(f"{_ASKED}? Answer Yes or No.", "Yes", "No", chat=True),
}


def check_template(name: str) -> None:
    """Raises SettingError for a name that is neither a template nor `auto`."""
    if name != AUTO and name not in TEMPLATES:
        raise unknown("template", name, [*TEMPLATES, AUTO])


def save(template: Template, folder: Path) -> None:
    """Write it beside the weights."""
    write_json(folder / FILE, template._asdict())


def saved(folder: Path) -> Template | None:
    """The template beside these weights; None if there is none. Raises DataError for an invalid file."""
    if not (folder / FILE).is_file():
        return None
    row = read_json(folder / FILE)
    try:
        template = Template(*(row[field] for field in Template._fields))
        texts = (template.prompt, template.true, template.false)
        if not all(isinstance(text, str) and text for text in texts) or not isinstance(template.chat, bool):
            raise ValueError
        if any(template.prompt.count(part) != 1 for part in ("{query}", "{document}")):
            raise ValueError
    except (KeyError, TypeError, ValueError):
        raise DataError(
            "no template of a reranker; expected a prompt with {query} and {document}, true, false, and chat",
            path=folder / FILE,
        ) from None
    return template


def template_of(name: str, folder: Path, config: Any, tokenizer: Any, wanted: str, *, is_new: bool) -> Template:
    """The template of the model `name` in `folder`: the wanted one, else the saved one, else the known one.

    is_new: it is about to be trained, so a decoder may use any template that fits its tokenizer. Raises SettingError
    for a model without a known template.
    """
    check_template(wanted)
    if wanted != AUTO:
        return TEMPLATES[wanted]
    if (template := saved(folder)) is not None:
        return template
    is_first_t5 = config.model_type == "t5" and config.feed_forward_proj == "relu"
    if is_first_t5 and {"▁true", "▁false"} <= tokenizer.get_vocab().keys():
        return TEMPLATES["monot5"]
    if is_new and not config.is_encoder_decoder:
        return TEMPLATES["chat" if tokenizer.chat_template else "plain"]
    raise SettingError(
        f"{name} does not say what to ask it: no {FILE} is beside its weights, and it is no T5 of the first kind; "
        f"name its template, of {', '.join(sorted(TEMPLATES))}, as train.template of a run"
        + ("" if config.is_encoder_decoder else f", or use yes-no:{name}, if it was not trained to score")
    )
