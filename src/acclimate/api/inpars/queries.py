"""Generate queries with an LLM, and keep the best."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from acclimate.api.partial import partial_folder
from acclimate.base.errors import DataError, SettingError
from acclimate.base.files import write_jsonl
from acclimate.base.progress import Progress, shown
from acclimate.base.targets import refuse_replacing, refuse_unwritable
from acclimate.base.text import counted
from acclimate.corpus import collections
from acclimate.corpus.formats import inpars
from acclimate.corpus.formats.source import Source
from acclimate.corpus.overwriting import refuse_replacing_collection
from acclimate.llm.completions import Completions
from acclimate.llm.lengths import about_tokens, characters_in, cut_at
from acclimate.llm.prompts import Material, load, template
from acclimate.records import Doc, SyntheticQuery
from acclimate.run.input import Input
from acclimate.run.provided import NOTHING
from acclimate.search.scorers import named
from acclimate.stages.filter import n_tokens
from acclimate.stages.generate import generate as generate_queries
from acclimate.stages.sample import sample
from acclimate.stages.selection import Scores, select

_PAIR_TOKENS = 512  # tokens of a query and document that a reranker reads, as in the papers


def generate(
    dataset: str,
    output: Path,
    *,
    base_model: str,
    prompt: str,
    n_fewshot_examples: int,
    max_doc_length: int,
    max_query_length: int,
    max_prompt_length: int,
    max_new_tokens: int,
    max_generations: int,
    seed: int,
) -> int:
    """Write a query for each of at most `max_generations` documents, drawn without replacement; returns their number.

    Lengths are in tokens: of documents and example queries, and of the prompt with its answer, for which documents are
    truncated further. Raises SettingError if a prompt leaves no room for a document.
    """
    refuse_replacing_collection(output, dataset)
    with (
        partial_folder(output) as folder,
        Completions(folder / "completions.sqlite", "generate") as kept,
        shown("auto"),
    ):
        source = Input(dataset, collections.located(dataset), NOTHING, folder)
        shows_examples = template(prompt).examples is None
        drawn = sample(
            source.corpus, 0.0, source.pairs,
            n_docs=max_generations, windows=0, min_chars=0, near_duplicates=1, dev_share=0, seed=seed,
            examples="train" if shows_examples else "", n_examples=n_fewshot_examples,
        )  # fmt: skip
        shots = [
            example._replace(query=cut_at(example.query, characters_in(example.query, max_query_length)))
            for example in drawn.examples
        ]
        around = about_tokens(load(prompt, shots, collection=source.name).render(""))
        room = max_prompt_length - max_new_tokens - around
        if room < 1:
            raise SettingError(
                f"--max_prompt_length is {max_prompt_length}, and {prompt} alone has about {counted(around, 'token')}"
            )
        tell = Progress("generate", "queries")
        result = generate_queries(
            drawn.docs(source.corpus), kept, Material(shots, (), source.name),
            llm=base_model, prompt=(prompt,), cut="tokens", cleaning="inpars", shuffle_examples=shows_examples,
            max_doc_tokens=min(max_doc_length, room), max_new_tokens=max_new_tokens, seed=seed, progress=tell,
        )  # fmt: skip
        rows = [
            {
                "doc_id": query.doc_id,
                "text": source.corpus[query.doc_id].default_text(),
                "query": query.text,
                "log_probs": list(query.log_probs),
                "prompt_text": "",
                "fewshot_examples": [example.query_id for example in shots],
            }
            for query in result.queries
        ]
        return write_jsonl(output, rows)


def filter(
    input: Path,
    output: Path,
    *,
    filter_strategy: Literal["scores", "reranker"],
    keep_top_k: int,
    model_name_or_path: str,
    min_tokens: int,
    max_tokens: int,
    skip_questions_copied_from_context: bool,
) -> int:
    """Keep the queries with the highest scores, best first, each with its `score`; returns their number.

    Other keys of a line are preserved. Tokens are counted by `log_probs`, or as words.
    """
    refuse_unwritable(output)
    refuse_replacing(output, input)
    rows = list(Source(inpars.read(input), input).synthetic())
    texts = {row.record.doc_id: Doc(row.record.doc_id, str(row.others.get("text", ""))) for row in rows}
    if not all(texts[row.record.doc_id].text for row in rows):
        raise DataError(
            "a query without the text of its document; expected InPars' keys: doc_id, text, query", path=input
        )
    if filter_strategy == "scores" and all(math.isnan(row.record.logprob) for row in rows):
        raise DataError("no line has log_probs; expected them, or --filter_strategy reranker", path=input)
    by_id = {row.record.query_id: row for row in rows}
    score = "logprob" if filter_strategy == "scores" else "reranker"

    def are_copied(queries: Sequence[SyntheticQuery]) -> list[float]:
        return [float(query.text.casefold() in texts[query.doc_id].text.casefold()) for query in queries]

    def rated(queries: Sequence[SyntheticQuery]) -> list[float]:
        scorer = named.load_reranker(model_name_or_path, texts, max_tokens=_PAIR_TOKENS)
        return scorer.score([(query.as_query(), query.doc_id) for query in queries])

    known = Scores(
        {
            "tokens": lambda queries: [n_tokens(query) for query in queries],
            "copied": are_copied,
            "logprob": lambda queries: [query.logprob for query in queries],
            "reranker": rated,
        }
    )
    rules = {"length": known.outside("tokens", min_tokens, max_tokens)}
    if skip_questions_copied_from_context:
        rules["copied"] = known.outside("copied", 0, 0)
    rules[score] = known.worse_than_best(score, keep_top_k)
    with shown("auto"):
        result = select([row.record for row in by_id.values()], tuple(rules), rules, known)
    if not result.queries:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in result.dropped.items() if count)
        raise DataError(
            f"none of {counted(len(by_id), 'query')} is kept: {reasons}; see --min_tokens and --max_tokens", path=input
        )
    scores = {row["query_id"]: row[score] for row in result.judged}
    kept = sorted(result.queries, key=lambda query: (-scores[query.query_id], query.query_id))

    def lines() -> Iterator[dict[str, Any]]:
        for query in kept:
            others = dict(by_id[query.query_id].others)
            log_probs = list(query.log_probs) or ([] if math.isnan(query.logprob) else [query.logprob])
            line = {"doc_id": query.doc_id, "text": others.pop("text"), "query": query.text, "log_probs": log_probs}
            yield {**line, **others, "score": scores[query.query_id]}

    return write_jsonl(output, lines())
