"""Prompts made of the corpus: docs of it as examples, each with a good and a bad question (UDAPDR, arXiv 2303.00807).

A prompt shows a few pairs of questions, each with its doc: no pair in two prompts, and no doc twice in one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from acclimate.base.draw import draw
from acclimate.base.errors import SettingError
from acclimate.base.words import words_of
from acclimate.llm import prompts
from acclimate.llm.prompts.files import Template

GOOD_AND_BAD = "inpars-gbq"  # the prompt whose bad question is asked for, and whose form the prompts have
BAD_CUE = "\nBad Question:"
_UNCUED_STOP = ("Bad Question", "Bad question", "bad question")  # what an LLM goes on to that got no cue
_ALIKE = 20  # leading characters that a bad question may not share with the good one


@dataclass
class Pair:
    """Two questions that an LLM wrote for a doc."""

    doc_id: str
    prompt: str  # that asked for the good question
    good: str
    bad: str = ""
    reason: str = ""  # why it is in no prompt
    shown_in: str = ""  # the prompt that it is in

    def row(self) -> dict[str, str]:
        """As it goes to disk."""
        fate = {"in": self.shown_in} if self.shown_in else {"reason": self.reason}
        return {"doc_id": self.doc_id, "prompt": self.prompt, "good": self.good, "bad": self.bad, **fate}


def are_alike(good: str, bad: str) -> bool:
    """They begin alike, or share more than half of the good one's words; case and marks do not count."""
    good_words, bad_words = words_of(good), words_of(bad)
    begin_alike = " ".join(good_words)[:_ALIKE] == " ".join(bad_words)[:_ALIKE]
    return begin_alike or len(set(good_words) & set(bad_words)) > len(good_words) / 2


def dealt(pairs: Sequence[Pair], n_prompts: int, n_examples: int, seed: int) -> list[list[Pair]]:
    """The pairs of each prompt, of those that nothing speaks against, in an order drawn by their docs.

    Each prompt takes from the docs that have most left, so that they last. Raises SettingError where they do not.
    """
    left: dict[str, list[Pair]] = {}
    usable = [pair for pair in pairs if not pair.reason]
    for pair in sorted(usable, key=lambda pair: (draw(seed, "example", pair.doc_id), pair.doc_id)):
        left.setdefault(pair.doc_id, []).append(pair)
    needed, n_usable = n_prompts * n_examples, sum(min(len(of_doc), n_prompts) for of_doc in left.values())
    if n_usable < needed:
        why = ", ".join(f"{reason} {n}" for reason, n in Counter(pair.reason for pair in pairs if pair.reason).items())
        raise SettingError(
            f"{n_usable} of {len(pairs)} seeds can be used ({why}); {n_prompts} prompts of {n_examples} examples need "
            f"{needed} of them: raise seed.n_docs or seed.per_doc, lower seed.n_prompts, or use a better seed.llm"
        )
    hands: list[list[Pair]] = []
    for _ in range(n_prompts):
        doc_ids = sorted(left, key=lambda doc_id: -len(left[doc_id]))[:n_examples]
        hands.append([left[doc_id].pop(0) for doc_id in doc_ids])
    return hands


def template_of(name: str, pairs: Sequence[Pair], doc_texts: Mapping[str, str], *, cue: bool) -> Template:
    """A prompt that shows these pairs. Without its cue it ends with the document: the LLM writes the label itself."""
    form = prompts.template(GOOD_AND_BAD)
    before, document, _ = form.target.partition("{document}")
    return Template(
        name=name,
        description="Made from the corpus: documents of it, each with a good and a bad question.",
        instruction="",
        example=form.example,
        target=form.target if cue else before + document,
        stop=form.stop if cue else _UNCUED_STOP,
        examples=tuple(
            {"document": doc_texts[pair.doc_id], "query": pair.good, "bad_query": pair.bad} for pair in pairs
        ),
    )
