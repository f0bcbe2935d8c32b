"""Stage: an expensive LLM writes a few questions, and from them come prompts made of the corpus itself (UDAPDR,
arXiv 2303.00807, section 3).

Each of X docs is shown to one of the seed prompts, which asks for a question that it answers; the same LLM then writes
a bad question beside the good one, as InPars' good-and-bad prompt has them. Each of Y prompts shows three of those docs
with both questions, no doc in two prompts. Whoever writes many queries with them may be a cheap LLM: it imitates.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from acclimate import llm as llms
from acclimate.base.digests import fingerprint
from acclimate.base.domains import AtLeast, Between
from acclimate.base.draw import draw
from acclimate.base.errors import SettingError
from acclimate.base.files import write_jsonl
from acclimate.base.progress import Progress
from acclimate.llm import prompts
from acclimate.llm.answers.clean import clean
from acclimate.llm.answers.unwrap import unwrapped
from acclimate.llm.ask import Task, ask, tasks_of, tokens_of
from acclimate.llm.completions import Completions
from acclimate.llm.decoding import MAX_NEW_TOKENS, TEMPERATURE, TOP_P, Decoding
from acclimate.llm.estimate import Calls
from acclimate.llm.lengths import CHARACTERS_PER_TOKEN
from acclimate.llm.prompts.files import Template, write_toml
from acclimate.llm.protocol import LLM
from acclimate.records import Completion, Doc
from acclimate.run.estimate import Estimate, asking
from acclimate.run.output import Account, StageOutput
from acclimate.run.run import Run
from acclimate.run.settings import checked
from acclimate.stages.sample import Sampled

GOOD_AND_BAD = "inpars-gbq"  # the prompt whose bad question is asked for, and whose form the made prompts have
_BAD_CUE = "\nBad Question:"
_ALIKE = 20  # leading characters that a bad question may not share with the good one


class SeedPrompts(NamedTuple):
    """The prompts that were made, and what became of each doc."""

    templates: list[Template]
    seeds: list[dict[str, Any]]  # doc_id, prompt, good, bad, and either `in` (a made prompt's name) or reason
    dropped: dict[str, int]
    tokens: dict[str, int]


@checked
def seed_prompts(
    docs: Sequence[Doc],
    completions: Completions,
    *,
    llm: str | LLM = "embedded:smollm2-135m-instruct",
    prompt: tuple[str, ...] = ("inpars", "inpars-gbq", "zero-shot-question", "zero-shot-query"),
    n_docs: Annotated[int, AtLeast(1)] = 30,
    n_prompts: Annotated[int, Between(1, 1000)] = 5,
    n_examples: Annotated[int, Between(1, 1000)] = 3,
    max_doc_tokens: Annotated[int, Between(1, 1_000_000)] = 192,
    max_new_tokens: Annotated[int, MAX_NEW_TOKENS] = 48,
    temperature: Annotated[float, TEMPERATURE] = 0.0,
    top_p: Annotated[float, TOP_P] = 1.0,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> SeedPrompts:
    """Make prompts from the corpus: an expensive LLM writes questions for a few of its documents (UDAPDR).

    Runs when generate.prompt names `adapted`. Raises SettingError when there are too few docs, or too few of them got
    two questions that differ; what the LLM answered is kept.

    Parameters
    ----------
    llm
        LLM that writes the seed questions: the expensive one. Named as in generate.llm.
    prompt
        Prompts that ask for seed questions; they share the documents out.
    n_docs
        Documents that seed questions are written for (X).
    n_prompts
        Prompts to make of them (Y).
    n_examples
        Documents that each of those shows; none is in two of them.
    max_doc_tokens
        Tokens of each document that are read and shown.
    max_new_tokens
        Tokens after which an unfinished question is dropped.
    temperature
        0 always takes the likeliest token.
    top_p
        With a temperature: only the likeliest tokens that make up this share are drawn.
    """
    check_seeds(n_docs=n_docs, n_prompts=n_prompts, n_examples=n_examples)
    needed = n_prompts * n_examples
    drawn = sorted(docs, key=lambda doc: (draw(seed, "seed", doc.doc_id), doc.doc_id))[:n_docs]
    if len(drawn) < needed:
        raise SettingError(
            f"{n_prompts} prompts of {n_examples} examples need {needed} documents; there are {len(drawn)}: raise "
            "seed.n_docs (and sample.n_docs, if it has no more), or lower seed.n_prompts"
        )
    model = llms.load(llm) if isinstance(llm, str) else llm
    decoding = Decoding(max_new_tokens, temperature=temperature, top_p=top_p, seed=seed)
    shown = {doc.doc_id: model.cut(doc.default_text().strip(), max_doc_tokens) for doc in drawn}
    mix = prompts.load_mix(prompt)
    asked_good = list(tasks_of({key: text for key, text in shown.items() if text}, mix, 1, is_drawn=temperature > 0))
    before, total = 0, 2 * len(asked_good)  # a bad question for each good one, at most

    def count(done: int, _total: int) -> None:
        if progress is not None:
            progress(before + done, total)

    answers = ask(model, decoding, completions, asked_good, count)
    seeds = {task.doc_id: _good(task, answers[task], shown[task.doc_id]) for task in asked_good}

    form = prompts.load(GOOD_AND_BAD)
    asked_bad = [
        Task(doc_id, form, 0, f"{form.render(shown[doc_id])} {row['good']}{_BAD_CUE}")
        for doc_id, row in seeds.items()
        if "reason" not in row
    ]
    before, total = len(asked_good), len(asked_good) + len(asked_bad)
    bad_answers = ask(model, decoding, completions, asked_bad, count)
    for task, answer in bad_answers.items():
        _add_bad(seeds[task.doc_id], answer)

    usable = [doc_id for doc_id, row in seeds.items() if "reason" not in row]
    if len(usable) < needed:
        why = ", ".join(
            f"{reason} {n}" for reason, n in Counter(r["reason"] for r in seeds.values() if "reason" in r).items()
        )
        raise SettingError(
            f"{len(usable)} of {len(drawn)} documents got two questions that differ ({why}); {n_prompts} prompts of "
            f"{n_examples} examples need {needed}: raise seed.n_docs, lower seed.n_prompts, or use a better seed.llm"
        )
    usable.sort(key=lambda doc_id: (draw(seed, "example", doc_id), doc_id))
    source = prompts.template(GOOD_AND_BAD)
    templates: list[Template] = []
    for number in range(n_prompts):
        chosen = usable[number * n_examples : (number + 1) * n_examples]
        name = f"{prompts.ADAPTED}-{number + 1}"
        templates.append(
            Template(
                name=name,
                description="Made from the corpus: documents of it, each with a good and a bad question.",
                instruction="",
                example=source.example,
                target=source.target,
                stop=source.stop,
                examples=tuple(
                    {"document": shown[key], "query": seeds[key]["good"], "bad_query": seeds[key]["bad"]}
                    for key in chosen
                ),
            )
        )
        for doc_id in chosen:
            seeds[doc_id]["in"] = name
    for doc_id in usable[needed:]:
        seeds[doc_id]["reason"] = "not needed"
    tokens, more = tokens_of(answers), tokens_of(bad_answers)
    return SeedPrompts(
        templates,
        list(seeds.values()),
        dict(sorted(Counter(row["reason"] for row in seeds.values() if "reason" in row).items())),
        {kind: count + more[kind] for kind, count in tokens.items()},
    )


def check_seeds(*, n_docs: int, n_prompts: int, n_examples: int, **_: Any) -> None:
    """Raises SettingError for fewer docs than the prompts show."""
    if n_docs < n_prompts * n_examples:
        raise SettingError(
            f"seed.n_docs is {n_docs}; {n_prompts} prompts of {n_examples} examples need {n_prompts * n_examples} "
            "documents at least: raise it, or lower seed.n_prompts"
        )


def _good(task: Task, answer: Completion, document: str) -> dict[str, Any]:
    text, reason = clean(answer.text, document, answer.finish_reason, task.prompt.prefix)
    row: dict[str, Any] = {"doc_id": task.doc_id, "prompt": task.prompt.name, "good": text, "bad": ""}
    return row if reason is None else {**row, "reason": reason}


def _add_bad(row: dict[str, Any], answer: Completion) -> None:
    """A bad question may be short or beside the point, but not the good one again."""
    bad, good = " ".join(unwrapped(answer.text)[0].split()), row["good"]
    row["bad"] = bad
    bad_words, good_words = (set(text.casefold().rstrip("?").split()) for text in (bad, good))
    if not bad or answer.finish_reason != "stop":
        row["reason"] = "no bad question"
    elif bad_words == good_words or bad[:_ALIKE].casefold() == good[:_ALIKE].casefold():
        row["reason"] = "good and bad alike"


class Seeded(StageOutput):
    """The prompts that were made from the corpus."""

    stage = "seed"

    @property
    def prompt_files(self) -> list[Path]:
        """A file for each prompt, by name."""
        return sorted(self.folder.glob(f"{prompts.ADAPTED}-*.toml"))


def check(run: Run) -> None:
    """Raises SettingError for prompts and numbers of documents that cannot be, where prompts are to be made."""
    settings = run.settings["seed"]
    Decoding(settings["max_new_tokens"], temperature=settings["temperature"], top_p=settings["top_p"])
    if run.seeds_prompts:
        prompts.load_mix(settings["prompt"])
        check_seeds(**settings)


def estimate(run: Run) -> Estimate:
    """Of a good question and a bad one for each document, behind the longest prompts there are."""
    settings = run.settings["seed"]
    count = 2 * settings["n_docs"]
    form = len(prompts.load(GOOD_AND_BAD).prefix) // CHARACTERS_PER_TOKEN
    calls = Calls(count, count * (form + settings["max_doc_tokens"]), count * settings["max_new_tokens"])
    return asking(settings["llm"], calls, settings["max_doc_tokens"])


def make(run: Run, sampled: Sampled) -> Seeded:
    """Make prompts from the documents that queries to learn from are written for."""
    settings = run.settings["seed"]
    docs = [doc for doc in sampled.docs(run.input.corpus) if sampled.splits[doc.doc_id] == "train"]

    def work(folder: Path, progress: Progress) -> Account:
        with run.store.completions("seed") as completions:
            result = seed_prompts(docs, completions, seed=run.seed, progress=progress, **settings)
        for template in result.templates:
            write_toml(folder / f"{template.name}.toml", template)
        write_jsonl(folder / "seeds.jsonl", result.seeds)
        used = sum("in" in row for row in result.seeds)
        cost = run.budget.cost(settings["llm"], result.tokens)
        return Account(len(result.seeds), used, result.dropped, result.tokens, cost, run.store.asked("seed"))

    inputs = {
        "drawn documents": fingerprint(docs),
        "llm": llms.fingerprint_of(settings["llm"]),
        "prompt": prompts.load_mix(settings["prompt"]).fingerprint,
    }
    return run.make(Seeded, work, inputs=inputs, unit="prompts")
