"""Make prompts from the corpus (UDAPDR, arXiv 2303.00807, section 3): an expensive LLM writes a few questions for them.

Each of `n_docs` documents is put into one or several seed prompts (in the paper all five), which ask for a question it
answers; the same LLM then writes a bad question beside the good one, in the style of InPars' good-and-bad prompt. Each
of `n_prompts` prompts shows three documents with both, no question in two prompts (`llm/prompts/adapted.py`). A cheap
LLM can then write many queries with these prompts, by imitation.
"""

from __future__ import annotations

import math
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
from acclimate.base.text import counted
from acclimate.llm import prompts
from acclimate.llm.ask import Task, ask, tasks_of, tokens_of
from acclimate.llm.completions import Completions
from acclimate.llm.decoding import MAX_NEW_TOKENS, TEMPERATURE, TOP_P, Decoding
from acclimate.llm.estimate import Calls
from acclimate.llm.lengths import about_tokens
from acclimate.llm.prompts.adapted import BAD_CUE, GOOD_AND_BAD, Pair, are_alike, deal, template_of
from acclimate.llm.prompts.files import Template, write_toml
from acclimate.llm.protocol import LLM
from acclimate.records import Completion, Doc
from acclimate.run.estimate import Estimate, llm_estimate
from acclimate.run.output import Account, StageOutput
from acclimate.run.run import Run
from acclimate.run.settings import checked
from acclimate.stages.sample import Sampled


class SeedPrompts(NamedTuple):
    """The prompts that were made, and the outcome of each seed question."""

    templates: list[Template]
    seeds: list[Pair]
    dropped: dict[str, int]
    tokens: dict[str, int]


@checked
def seed_prompts(
    docs: Sequence[Doc],
    completions: Completions,
    *,
    llm: str | LLM = "embedded:smollm2-135m-instruct",
    prompt: tuple[str, ...] = ("inpars", "inpars-gbq", "zero-shot-question", "zero-shot-query", "zero-shot-answer"),
    n_docs: Annotated[int, AtLeast(1)] = 30,
    per_doc: Annotated[int, Between(1, 1000)] = 1,
    n_prompts: Annotated[int, Between(1, 1000)] = 5,
    n_examples: Annotated[int, Between(1, 1000)] = 3,
    max_doc_tokens: Annotated[int, Between(1, 1_000_000)] = 192,
    max_new_tokens: Annotated[int, MAX_NEW_TOKENS] = 48,
    temperature: Annotated[float, TEMPERATURE] = 0.0,
    top_p: Annotated[float, TOP_P] = 1.0,
    cue: bool = True,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> SeedPrompts:
    """Build prompts from the corpus: a large LLM writes questions for a few documents (UDAPDR).

    Runs when generate.prompt names `adapted`. Raises SettingError when there are too few documents, or too few seeds
    (documents with a good and a different bad question); the LLM's answers are kept.

    Parameters
    ----------
    llm
        LLM that writes the seed questions, usually a large one. Named as in generate.llm.
    prompt
        Prompts that ask for seed questions.
    n_docs
        Number of documents to write seed questions for (X).
    per_doc
        Questions per document, each from a different prompt; 1 divides the documents among the prompts, 5 gives each
        document to all five.
    n_prompts
        Number of prompts to build from the questions (Y).
    n_examples
        Number of documents in each of these prompts, with questions that no other prompt uses.
    max_doc_tokens
        Maximum tokens of a document to read and show.
    max_new_tokens
        Maximum tokens of a question; unfinished ones are dropped.
    temperature
        Sampling temperature; 0 is greedy decoding.
    top_p
        Nucleus sampling: with a temperature, sample only from the most likely tokens that make up this share.
    cue
        End the prompts with their cue; UDAPDR's released prompts end with the document.
    """
    fewest = fewest_docs(
        n_prompts=n_prompts, n_examples=n_examples, per_doc=per_doc, prompt=prompt, temperature=temperature
    )
    check_docs(n_docs, fewest, n_prompts=n_prompts, n_examples=n_examples)
    drawn = sorted(docs, key=lambda doc: (draw(seed, "seed", doc.doc_id), doc.doc_id))[:n_docs]
    if len(drawn) < fewest:
        raise SettingError(
            f"{counted(n_prompts, 'prompt')} of {counted(n_examples, 'example')} need {counted(fewest, 'document')}; "
            f"there are {len(drawn)}: raise seed.n_docs (and sample.n_docs, if it has no more), or lower seed.n_prompts"
        )
    model = llms.load(llm) if isinstance(llm, str) else llm
    decoding = Decoding(max_new_tokens, temperature=temperature, top_p=top_p, seed=seed)
    shown = {doc.doc_id: model.cut(doc.default_text().strip(), max_doc_tokens) for doc in drawn}
    mix = prompts.load_mix(prompt)
    texts = {doc_id: text for doc_id, text in shown.items() if text}
    asked_good = list(tasks_of(texts, mix, per_doc, is_drawn=temperature > 0))
    before, total = 0, 2 * len(asked_good)  # at most one bad question for each good one

    def count(done: int, _total: int) -> None:
        if progress is not None:
            progress(before + done, total)

    answers = ask(model, decoding, completions, asked_good, count)
    pairs = [_pair(task, answers[task], shown[task.doc_id]) for task in asked_good]
    _drop_repeated(pairs)

    form = prompts.load(GOOD_AND_BAD)
    good = [pair for pair in pairs if not pair.reason]
    asked_bad = [Task(pair.doc_id, form, 0, f"{form.render(shown[pair.doc_id])} {pair.good}{BAD_CUE}") for pair in good]
    before, total = len(asked_good), len(asked_good) + len(asked_bad)
    bad_answers = ask(model, decoding, completions, asked_bad, count)
    for pair, task in zip(good, asked_bad, strict=True):
        _add_bad(pair, bad_answers[task])

    templates: list[Template] = []
    for number, hand in enumerate(deal(pairs, n_prompts, n_examples, seed), 1):
        templates.append(template_of(f"{prompts.ADAPTED}-{number}", hand, shown, cue=cue))
        for pair in hand:
            pair.shown_in = templates[-1].name
    for pair in pairs:
        if not pair.reason and not pair.shown_in:
            pair.reason = "not needed"
    tokens, more = tokens_of(answers), tokens_of(bad_answers)
    return SeedPrompts(
        templates,
        pairs,
        dict(sorted(Counter(pair.reason for pair in pairs if pair.reason).items())),
        {kind: count + more[kind] for kind, count in tokens.items()},
    )


def questions_per_doc(*, per_doc: int, prompt: Sequence[str], temperature: float, **_: Any) -> int:
    """Number of questions per document; at temperature 0 a prompt gets the same answer again."""
    return per_doc if temperature > 0 else min(per_doc, len(prompt))


def fewest_docs(*, n_prompts: int, n_examples: int, **settings: Any) -> int:
    """The number of documents needed: a prompt shows a document once, and no question is in two prompts."""
    return math.ceil(n_prompts * n_examples / min(questions_per_doc(**settings), n_prompts))


def check_docs(n_docs: int, fewest: int, *, n_prompts: int, n_examples: int) -> None:
    """Raises SettingError for fewer documents than the prompts need."""
    if n_docs < fewest:
        raise SettingError(
            f"seed.n_docs is {n_docs}; {counted(n_prompts, 'prompt')} of {counted(n_examples, 'example')} need "
            f"{counted(fewest, 'document')} at least: raise it, or lower seed.n_prompts"
        )


def _pair(task: Task, answer: Completion, doc_text: str) -> Pair:
    from acclimate.llm.answers.clean import clean  # slow to import: compiles its patterns

    good, reason = clean(answer.text, doc_text, answer.finish_reason, task.prompt.prefix)
    return Pair(task.doc_id, task.prompt.name, good, reason=reason or "")


def _drop_repeated(pairs: Sequence[Pair]) -> None:
    """Reject questions that another prompt already got for the same document."""
    questions: set[tuple[str, str]] = set()
    for pair in pairs:
        if not pair.reason and (pair.doc_id, pair.good) in questions:
            pair.reason = "same question twice"
        questions.add((pair.doc_id, pair.good))


def _add_bad(pair: Pair, answer: Completion) -> None:
    """Add the bad question; it may be short or off topic, but must differ from the good one."""
    from acclimate.llm.answers.unwrap import unwrap

    pair.bad = " ".join(unwrap(answer.text)[0].split())
    if not pair.bad or answer.finish_reason != "stop":
        pair.reason = "no bad question"
    elif are_alike(pair.good, pair.bad):
        pair.reason = "good and bad alike"


class Seeded(StageOutput):
    """The prompts made from the corpus."""

    stage = "seed"

    @property
    def prompt_files(self) -> list[Path]:
        """One file per prompt, sorted by name."""
        return sorted(self.folder.glob(f"{prompts.ADAPTED}-*.toml"))


def check(run: Run) -> None:
    """Raises SettingError for invalid prompts and document counts, if prompts are to be made."""
    settings = run.settings["seed"]
    Decoding(settings["max_new_tokens"], temperature=settings["temperature"], top_p=settings["top_p"])
    if run.seeds_prompts:
        prompts.load_mix(settings["prompt"])
        counts = {name: settings[name] for name in ("n_prompts", "n_examples")}
        check_docs(settings["n_docs"], fewest_docs(**settings), **counts)


def estimate(run: Run) -> Estimate:
    """Cost of one good and one bad question, several times per document; a good one after the longest prompt."""
    if not run.seeds_prompts:
        return Estimate()
    settings = run.settings["seed"]
    count, limit = settings["n_docs"] * questions_per_doc(**settings), settings["max_new_tokens"]
    good = max(about_tokens(prompt.render("")) for prompt in prompts.load_mix(settings["prompt"]).prompts)
    bad = about_tokens(f"{prompts.load(GOOD_AND_BAD).render('')}{BAD_CUE}") + limit  # with the good one
    calls = Calls(2 * count, count * (good + bad + 2 * settings["max_doc_tokens"]), 2 * count * limit)
    return llm_estimate(settings["llm"], calls, settings["max_doc_tokens"])


def make(run: Run, sampled: Sampled) -> Seeded:
    """Make prompts from the documents of the train split."""
    settings = run.settings["seed"]
    docs = [doc for doc in sampled.docs(run.input.corpus) if sampled.splits[doc.doc_id] == "train"]

    def work(folder: Path, progress: Progress) -> Account:
        with run.store.completions("seed") as completions:
            result = seed_prompts(docs, completions, seed=run.seed, progress=progress, **settings)
        for template in result.templates:
            write_toml(folder / f"{template.name}.toml", template)
        write_jsonl(folder / "seeds.jsonl", (pair.row() for pair in result.seeds))
        used = sum(bool(pair.shown_in) for pair in result.seeds)
        cost = run.budget.cost(settings["llm"], result.tokens)
        return Account(len(result.seeds), used, result.dropped, result.tokens, cost, run.store.asked("seed"))

    inputs = {
        "drawn documents": fingerprint(docs),
        "llm": llms.fingerprint_of(settings["llm"]),
        "prompt": prompts.load_mix(settings["prompt"]).fingerprint,
    }
    return run.make(Seeded, work, inputs=inputs, unit="prompts")
