"""Prompts made from the corpus: docs with a good and a bad question as examples (UDAPDR, arXiv 2303.00807).

A prompt shows several pairs of questions with their docs: no pair in two prompts, and no doc twice in one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from acclimate.base.draw import draw
from acclimate.base.errors import SettingError
from acclimate.base.text import counted
from acclimate.base.words import words_of
from acclimate.llm import prompts
from acclimate.llm.prompts.files import Template

GOOD_AND_BAD = "inpars-gbq"  # asks for the bad question, and sets the format of the prompts
BAD_CUE = "\nBad Question:"
_UNCUED_STOP = ("Bad Question", "Bad question", "bad question")  # what an LLM continues with if there is no cue
_ALIKE = 20  # leading characters that a bad question may not share with the good one


@dataclass
class Pair:
    """A good and a bad question for a doc."""

    doc_id: str
    prompt: str  # that asked for the good question
    good: str
    bad: str = ""
    reason: str = ""  # why it is in no prompt
    shown_in: str = ""  # its prompt

    def row(self) -> dict[str, str]:
        """As JSON."""
        fate = {"in": self.shown_in} if self.shown_in else {"reason": self.reason}
        return {"doc_id": self.doc_id, "prompt": self.prompt, "good": self.good, "bad": self.bad, **fate}


def are_alike(good: str, bad: str) -> bool:
    """True if they begin alike, or share more than half of the good one's words, ignoring case and punctuation."""
    good_words, bad_words = words_of(good), words_of(bad)
    begin_alike = " ".join(good_words)[:_ALIKE] == " ".join(bad_words)[:_ALIKE]
    return begin_alike or len(set(good_words) & set(bad_words)) > len(good_words) / 2


def deal(pairs: Sequence[Pair], n_prompts: int, n_examples: int, seed: int) -> list[list[Pair]]:
    """The pairs of each prompt, from those without a reason against them, in random order of their docs.

    Each prompt takes from the docs with the most pairs left. Raises SettingError if they do not suffice.
    """
    left: dict[str, list[Pair]] = {}
    usable = [pair for pair in pairs if not pair.reason]
    for pair in sorted(usable, key=lambda pair: (draw(seed, "example", pair.doc_id), pair.doc_id)):
        left.setdefault(pair.doc_id, []).append(pair)
    needed, n_usable = n_prompts * n_examples, sum(min(len(of_doc), n_prompts) for of_doc in left.values())
    if n_usable < needed:
        why = ", ".join(f"{reason} {n}" for reason, n in Counter(pair.reason for pair in pairs if pair.reason).items())
        raise SettingError(
            f"{n_usable} of {counted(len(pairs), 'seed')} can be used ({why}); {counted(n_prompts, 'prompt')} of "
            f"{counted(n_examples, 'example')} need "
            f"{needed} of them: raise seed.n_docs or seed.per_doc, lower seed.n_prompts, or use a better seed.llm"
        )
    hands: list[list[Pair]] = []
    for _ in range(n_prompts):
        doc_ids = sorted(left, key=lambda doc_id: -len(left[doc_id]))[:n_examples]
        hands.append([left[doc_id].pop(0) for doc_id in doc_ids])
    return hands


def template_of(name: str, pairs: Sequence[Pair], doc_texts: Mapping[str, str], *, cue: bool) -> Template:
    """A prompt with these pairs. Without cue it ends with the document, and the LLM writes the label itself."""
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
