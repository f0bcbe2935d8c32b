"""Generate queries: an LLM reads documents and writes queries that each might answer (InPars v1, arXiv 2202.05144).

One query per document; more if the document is put into several prompts, or into one several times with a temperature
(Promptagator, arXiv 2209.11755). Documents are truncated, never the prompt around them, so every prompt ends with its
cue. Answers go through the completion cache: repeated prompts cost nothing, and an interrupted run resumes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from acclimate import llm as llms
from acclimate.base import distributed
from acclimate.base.digests import fingerprint
from acclimate.base.domains import Between, OneOf
from acclimate.base.errors import SettingError
from acclimate.base.files import read_jsonl, write_jsonl
from acclimate.base.progress import Progress
from acclimate.base.text import shortened, single_spaced
from acclimate.corpus.formats import read_synthetic, write_synthetic
from acclimate.llm import prompts
from acclimate.llm.answers.sorting import CLEANINGS, sort_answers
from acclimate.llm.ask import ask, tasks_of, tokens_of
from acclimate.llm.completions import Completions
from acclimate.llm.decoding import MAX_NEW_TOKENS, TEMPERATURE, TOP_P, Decoding
from acclimate.llm.estimate import Calls, calls_of
from acclimate.llm.lengths import characters_in, cut_at
from acclimate.llm.prompts import ADAPTED, NO_MATERIAL, Material, plain_names
from acclimate.llm.prompts.adapted import GOOD_AND_BAD
from acclimate.llm.protocol import LLM, Tokenizing
from acclimate.records import Doc, PromptExample, SyntheticQuery
from acclimate.run.estimate import Estimate, llm_estimate
from acclimate.run.output import Account, StageOutput
from acclimate.run.run import Run
from acclimate.run.settings import checked
from acclimate.stages.sample import Sample, Sampled
from acclimate.stages.seed import Seeded

CUTS = ("sentence", "tokens")
_LONGEST = 120  # characters of an example answer in a message
_ANOTHER = "try another generate.prompt (acclimate prompts) or a larger generate.llm"
_SAID = ("unfinished reasoning", "too long for the LLM", "unusable answer")  # always worth a warning


@dataclass(frozen=True)
class Generation:
    """The queries that were generated, the answers that were rejected, and the cost."""

    queries: list[SyntheticQuery]  # in the order of the docs, at most `per_doc` each
    dropped: dict[str, int]  # rejected answers, by reason
    rejects: list[dict[str, str]]  # doc_id, prompt, text and reason of each rejected answer
    cut: int  # number of docs longer than max_doc_tokens
    tokens: dict[str, int]  # prompt and completion tokens of all answers, cached ones included
    asked: dict[str, int]  # the same, without cached answers
    calls: int  # prompts sent to the LLM, without cached ones


@checked
def generate(
    docs: Sequence[Doc],
    completions: Completions,
    material: Material = NO_MATERIAL,
    *,
    llm: str | LLM = "embedded:smollm2-135m-instruct",
    prompt: tuple[str, ...] = ("question", "keyword", "claim"),
    per_doc: Annotated[int, Between(1, 1000)] = 1,
    task: str = "",
    language: str = "",
    style: str = "",
    log_examples: Annotated[int, Between(0, 100)] = 0,
    shuffle_examples: bool = False,
    max_doc_tokens: Annotated[int, Between(1, 1_000_000)] = 160,
    cut: Annotated[str, OneOf(CUTS)] = "sentence",
    max_new_tokens: Annotated[int, MAX_NEW_TOKENS] = 40,
    temperature: Annotated[float, TEMPERATURE] = 0.0,
    top_p: Annotated[float, TOP_P] = 1.0,
    cleaning: Annotated[str, OneOf(CLEANINGS)] = "strict",
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Generation:
    """Have an LLM write queries for each sampled document.

    material: what prompts may use beside the document: task examples, prompts made from the corpus, its name, and a
    log.

    Parameters
    ----------
    llm
        LLM that writes the queries: a local path, a Hugging Face id, embedded:NAME, vllm:MODEL, llama.cpp:FILE.gguf,
        openai:MODEL or openai:MODEL@URL; separate the URLs of equivalent servers with commas.
    prompt
        Prompts by name, or files. Several prompts divide the documents among them; NAME:2 gets twice the share.
    per_doc
        Queries per document, from different prompts if there are enough; with a temperature, several from each.
    task
        What the queries are for, told to the LLM. Example: questions of nurses about medication.
    language
        Language of the queries (German, de), told to the LLM and checked; without it, they must be in their document's.
    style
        Style of the queries, told to the LLM. Example: terse, with part numbers.
    log_examples
        Number of queries from the log (--log) that each prompt shows as examples; frequent ones are preferred.
    shuffle_examples
        Shuffle the examples of a prompt for each document, depending on the seed and its id (Promptagator).
    max_doc_tokens
        Maximum tokens of a document that the LLM reads.
    cut
        Where to truncate longer documents: sentence (at a sentence end, else a word end) or tokens (exactly, as in
        InPars).
    max_new_tokens
        Maximum tokens of a query; unfinished ones are dropped.
    temperature
        Sampling temperature; 0 is greedy decoding, higher values give more varied and less reliable queries.
    top_p
        Nucleus sampling: with a temperature, sample only from the most likely tokens that make up this share.
    cleaning
        strict (strip what surrounds the query, drop what is not a query) or inpars (take the first line as it is).
    seed
        Seed of all random draws.
    progress
        Called with (prompts answered, prompts in all) after each batch.
    """
    searches = [query.text for query in material.log.draw(log_examples, seed)]
    hints = prompts.hints(task, language, style, searches)
    model = llms.load(llm) if isinstance(llm, str) else llm
    cutter = _cutter(model, cut, max_doc_tokens)
    mix = mix_of(prompt, material, cutter if cut == "tokens" else _approximate_cutter(max_doc_tokens), hints=hints)
    decoding = Decoding(max_new_tokens, temperature=temperature, top_p=top_p, seed=seed)
    whole = {doc.doc_id: doc.default_text() for doc in docs}
    shown = {doc_id: cutter(text) if text.strip() else "" for doc_id, text in whole.items()}
    shuffle_seed = seed if shuffle_examples else None
    tasks = list(tasks_of(shown, mix, per_doc, is_drawn=temperature > 0, shuffle_seed=shuffle_seed))

    before = completions.usage
    answers = ask(model, decoding, completions, [task for task in tasks if shown[task.doc_id].strip()], progress)
    after = completions.usage

    queries, rejects = sort_answers(tasks, answers, shown, cleaning=cleaning, searches=searches, language=language)
    return Generation(
        queries=queries,
        dropped=dict(sorted(Counter(reject["reason"] for reject in rejects).items())),
        rejects=rejects,
        cut=sum(shown[doc_id].strip() != text.strip() for doc_id, text in whole.items()),
        tokens=tokens_of(answers),
        asked={
            "prompt": after.prompt_tokens - before.prompt_tokens,
            "completion": after.completion_tokens - before.completion_tokens,
        },
        calls=after.calls - before.calls,
    )


def mix_of(prompt: Sequence[str], material: Material, cut: Callable[[str], str], *, hints: str) -> prompts.Mix:
    """Load the prompts of these settings; `cut` shortens the documents of their examples."""
    examples = [example._replace(document=cut(example.document)) for example in material.examples]
    return prompts.load_mix(prompt, material._replace(examples=examples), hints=hints)


def _cutter(model: LLM, cut: str, max_tokens: int) -> Callable[[str], str]:
    """A function that truncates a text to `max_tokens` of this LLM. Raises SettingError if the LLM cannot do so."""
    if cut == "sentence":
        return lambda text: model.cut(text.strip(), max_tokens)
    if not isinstance(model, Tokenizing):
        raise SettingError(
            f"generate.cut is {cut}, and the tokenizer of {model.name} is not available; expected sentence"
        )
    return lambda text: model.cut_tokens(text, max_tokens)


def _approximate_cutter(max_tokens: int) -> Callable[[str], str]:
    """A function that truncates a text to about `max_tokens` of any tokenizer, after a sentence or word."""

    def cut(text: str) -> str:
        text = text.strip()
        return cut_at(text, characters_in(text, max_tokens)) if text else ""

    return cut


class Generated(StageOutput):
    """The queries that an LLM wrote, and its rejected answers."""

    stage = "generate"
    kept_nothing = "the LLM wrote no usable query"
    advice: ClassVar[Mapping[str, str]] = {
        "unfinished reasoning": "the model spent its tokens on reasoning (thinking) and wrote no query: raise "
        "generate.max_new_tokens, use a model without reasoning, or start its server without a reasoning parser",
        "unfinished": "raise generate.max_new_tokens",
        "empty": "its answers are empty: try another generate.prompt (acclimate prompts) or openai-completions:MODEL",
        "too long for the LLM": "lower generate.max_doc_tokens or generate.max_new_tokens",
        "refused": "the LLM or its server refuses to write about these documents: try another generate.llm or "
        "generate.prompt",
        "unusable answer": "no completion, or broken characters: check the address of the server, or try another LLM",
        "wrong language": "set generate.language",
        **dict.fromkeys(("echo", "from the examples", "preamble", "repeated", "too short", "too long"), _ANOTHER),
    }

    @property
    def queries(self) -> list[SyntheticQuery]:
        return list(read_synthetic(self.folder / "queries.jsonl"))

    @property
    def n_examples(self) -> int:
        """Number of task examples shown in prompts."""
        return self.notes.get("examples", 0)

    def check_kept(self) -> None:
        super().check_kept()
        for reason in () if self.resumed else _SAID:
            if count := self.manifest["dropped"].get(reason):
                distributed.warn("generate", f"{count:,} {reason}: {self.advice[reason]}")

    def examples_of(self, reason: str) -> list[str]:
        path = self.folder / "rejects.jsonl"
        rows = [row for _, row in read_jsonl(path) if row["reason"] == reason]
        if not rows:
            return [f"see {path}"]
        row = next((row for row in rows if row["text"].strip()), rows[0])
        text = shortened(single_spaced(row["text"]), _LONGEST)
        doc_id = shortened(single_spaced(row["doc_id"]), 60)
        return [f"such as {repr(text) if text else 'that'} for {doc_id}", f"see {path}"]


def check(run: Run) -> None:
    """Raises SettingError for unknown prompts, and for prompts that need examples where none are named."""
    settings, examples = run.settings["generate"], run.settings["sample"]["examples"]
    Decoding(settings["max_new_tokens"], temperature=settings["temperature"], top_p=settings["top_p"])
    if settings["cut"] != "sentence":
        _cutter(llms.load(settings["llm"]), settings["cut"], settings["max_doc_tokens"])
    material = Material([PromptExample("", "", "", "")] if examples else ())
    ready = [entry for entry in settings["prompt"] if plain_names([entry]) != [ADAPTED]]
    if ready or not settings["prompt"]:
        prompts.load_mix(ready, material)
    if examples and not any(prompts.template(name).examples is None for name in plain_names(ready)):
        raise SettingError("sample.examples is set, but no prompt in generate.prompt shows examples; use promptagator")


def estimate(run: Run, drawn: Sample) -> Estimate:
    """Cost of prompting for these documents; prompts made from the corpus are taken to be as long as their template."""
    settings, seeds = run.settings["generate"], run.settings["seed"]
    per_doc, is_drawn, doc_tokens = settings["per_doc"], settings["temperature"] > 0, settings["max_doc_tokens"]
    names = plain_names(settings["prompt"])
    forms = tuple(dict.fromkeys(GOOD_AND_BAD if name == ADAPTED else name for name in names))
    mix = _mix(run, forms, Material(drawn.examples, (), run.collection_name, run.input.unjudged_log))
    whole = {doc.doc_id: doc.default_text().strip() for doc in drawn.docs(run.input.corpus)}
    texts = {doc_id: text[: characters_in(text, doc_tokens)] for doc_id, text in whole.items() if text}
    limit = settings["max_new_tokens"]
    if not run.seeds_prompts:
        calls = calls_of(texts, mix, per_doc, is_drawn=is_drawn, max_new_tokens=limit)
    else:
        once = calls_of(texts, mix, 1, is_drawn=is_drawn, max_new_tokens=limit)
        times = per_doc if is_drawn else min(per_doc, seeds["n_prompts"] + len(forms) - 1)
        longer = once.calls * seeds["n_examples"] * seeds["max_doc_tokens"]  # the documents in prompts
        calls = Calls(times * once.calls, times * (once.prompt_tokens + longer), times * once.completion_tokens)
    return llm_estimate(settings["llm"], calls, doc_tokens)


def _mix(run: Run, prompt: Sequence[str], material: Material) -> prompts.Mix:
    settings = run.settings["generate"]
    searches = [query.text for query in material.log.draw(settings["log_examples"], run.seed)]
    hints = prompts.hints(settings["task"], settings["language"], settings["style"], searches)
    return mix_of(prompt, material, _approximate_cutter(settings["max_doc_tokens"]), hints=hints)


def make(run: Run, sampled: Sampled, seeded: Seeded | None) -> Generated:
    """Have an LLM write queries for the drawn documents. seeded: prompts made from the corpus, if any."""
    settings = run.settings["generate"]
    docs = sampled.docs(run.input.corpus)
    from_corpus = seeded.prompt_files if seeded else ()
    material = Material(sampled.examples, from_corpus, run.collection_name, run.input.unjudged_log)

    def work(folder: Path, progress: Progress) -> Account:
        with run.store.completions("generate") as completions:
            result = generate(docs, completions, material, seed=run.seed, progress=progress, **settings)
        if completions.left_out:
            without = ", ".join(completions.left_out)
            distributed.say("generate", f"{settings['llm']} does not support {without}; continuing without")
        write_synthetic(folder / "queries.jsonl", result.queries)
        write_jsonl(folder / "rejects.jsonl", result.rejects)
        by_prompt = Counter(query.prompt for query in result.queries)
        notes = {
            "documents": len(docs),
            "documents_cut": result.cut,
            "prompts": dict(sorted(by_prompt.items())),
            "examples": len(material.examples),
            **run.store.asked("generate"),
        }
        answers, cost = len(result.queries) + len(result.rejects), run.budget.cost(settings["llm"], result.tokens)
        return Account(answers, len(result.queries), result.dropped, result.tokens, cost, notes)

    inputs = {
        "drawn documents": fingerprint(docs),
        "llm": llms.fingerprint_of(settings["llm"]),
        "prompt": _mix(run, settings["prompt"], material).fingerprint,
    }
    return run.make(Generated, work, inputs=inputs, unit="queries")
