"""Each recipe against the figures of its paper, and of its code where the paper is silent: where they are from is in
the recipe's own comments."""

from __future__ import annotations

from typing import Any

import pytest

from acclimate.run.recipes import load_recipe, recipe_names
from acclimate.run.settings import Settings, resolve
from acclimate.stages.chain import STAGES

OURS = {"quick", "recommended", "embedded"}  # of no paper
PAPERS: dict[str, dict[str, Any]] = {
    # arXiv 2202.05144: 100,000 documents, the 10,000 surest queries by mean log-probability, BM25's 1,000; the first
    # scripts: file order, 64 new tokens, greedy, t5-base, AdamW at a constant 3e-4, 512 tokens
    "inpars-v1": {
        "sample.n_docs": 100_000,
        "sample.method": "first",
        "sample.windows": 0,
        "generate.prompt": ("inpars",),
        "generate.per_doc": 1,
        "generate.temperature": 0,
        "generate.max_new_tokens": 64,
        "generate.cut": "tokens",
        "generate.cleaning": "inpars",
        "filter.filters": ("length", "logprob"),
        "filter.min_tokens": 3,
        "filter.keep_top_k": 10_000,
        "mine.retriever": "bm25",
        "mine.depth": 1000,
        "mine.n_ways": 2,
        "mine.max_share": 1,
        "train.base": "google-t5/t5-base",
        "train.loss": "token",
        "train.optimizer": "adamw",
        "train.learning_rate": 3e-4,
        "train.weight_decay": 5e-5,
        "train.schedule": "constant",
        "train.max_steps": 156,
        "train.max_tokens": 512,
        "distill.student": (),
        "evaluate.systems": ("bm25+reranker@1000=1",),
    },
    # arXiv 2301.01820: GPT-J-6B, monoT5-3B keeps 10,000 and learns at 1e-3 with Adafactor; the toolkit: 256 tokens
    "inpars-v2": {
        "sample.method": "uniform",
        "generate.llm": "EleutherAI/gpt-j-6B",
        "generate.max_doc_tokens": 256,
        "generate.max_new_tokens": 64,
        "filter.filters": ("length", "reranker"),
        "filter.reranker": "castorini/monot5-3b-msmarco-10k",
        "filter.keep_top_k": 10_000,
        "train.base": "castorini/monot5-3b-msmarco-10k",
        "train.optimizer": "adafactor",
        "train.learning_rate": 1e-3,
        "train.schedule": "constant",
        "train.max_steps": 156,
        "train.max_tokens": 512,
        "evaluate.systems": ("bm25+reranker@1000=1",),
    },
    # arXiv 2301.02998: BLOOM-7B, 100 documents reranked, consistency
    "inpars-light": {
        "generate.llm": "bigscience/bloom-7b1",
        "filter.filters": ("length", "logprob", "consistency"),
        "filter.consistency_k": 3,
        "evaluate.systems": ("bm25+reranker@100=1",),
    },
    # arXiv 2209.11755: up to a million documents, 8 queries each at temperature 0.7, the source first
    "promptagator": {
        "sample.n_docs": 1_000_000,
        "generate.shuffle_examples": True,
        "generate.per_doc": 8,
        "generate.temperature": 0.7,
        "filter.filters": ("round-trip",),
        "filter.retriever": "trained",
        "filter.round_trip_k": 1,
        "mine.n_ways": 1,
        "distill.student": ("dense",),
        "distill.loss": "contrastive",
        "distill.negatives": "batch",
    },
    "promptagator-plus": {"mine.depth": 200, "evaluate.systems": ("dense:adapted+reranker@200=1",)},
    # arXiv 2303.00807: five strategies, five prompts of three examples, 20,000 queries with each, top 20; DeBERTaV3-L
    # at 5e-6 for an epoch of batches of 32; ColBERTv2 at 1e-5, 300 tokens. Code: top-p .95, 384 tokens, windows of 15
    "udapdr": {
        "index.max_tokens": 300,
        "sample.n_docs": 20_000,
        "seed.prompt": ("inpars", "inpars-gbq", "zero-shot-question", "zero-shot-query", "zero-shot-answer"),
        "seed.per_doc": 5,
        "seed.n_prompts": 5,
        "seed.n_examples": 3,
        "seed.max_doc_tokens": 192,
        "seed.max_new_tokens": 32,
        "seed.temperature": 0,
        "generate.llm": "google/flan-t5-xxl",
        "generate.per_doc": 5,
        "generate.top_p": 0.95,
        "generate.max_doc_tokens": 256,
        "generate.max_new_tokens": 32,
        "filter.retriever": "late-interaction",
        "filter.round_trip_k": 20,
        "mine.retriever": "late-interaction",
        "mine.depth": 100,
        "train.base": "microsoft/deberta-v3-large",
        "train.rerankers": "prompt",
        "train.epochs": 1,
        "train.learning_rate": 5e-6,
        "train.max_queries": 10_000,
        "train.max_tokens": 384,
        "label.queries": "unseen",
        "label.teachers": ("reranker",),
        "label.mode": "mean",
        "label.normalize": "none",
        "label.candidates": "late-interaction",
        "label.windows": 15,
        "label.n_ways": 91,
        "distill.student": ("late-interaction",),
        "distill.base": "colbert-ir/colbertv2.0",
        "distill.loss": "kl",
        "distill.contrastive": 0,
        "distill.teacher_temperature": 1,
        "distill.student_temperature": 1,
        "distill.max_sim": "sum",
        "distill.document_ways": 16,
        "distill.learning_rate": 1e-5,
        "distill.batch_size": 32,
    },
    # primeqa/extensions/udapdr: X 20, top 100, 1 : 99 pairs by themselves, one reranker after the other, batches of 16
    "udapdr-sequential": {
        "seed.n_docs": 20,
        "seed.cue": False,
        "filter.round_trip_k": 100,
        "mine.n_ways": 100,
        "train.loss": "bce",
        "label.mode": "sequential",
        "distill.batch_size": 16,
    },
    # arXiv 2112.07577: three queries a document, none dropped, 50 dense-mined negatives of which each step sees one,
    # 140,000 steps of 32, MarginMSE
    "gpl": {
        "index.max_tokens": 350,
        "generate.per_doc": 3,
        "generate.cut": "tokens",
        "generate.max_doc_tokens": 350,
        "filter.filters": (),
        "label.teachers": ("cross-encoder:cross-encoder/ms-marco-MiniLM-L6-v2",),
        "label.candidates": "dense",
        "label.n_ways": 51,
        "label.reranker_ways": 51,
        "label.normalize": "none",
        "distill.student": ("dense",),
        "distill.loss": "margin-mse",
        "distill.contrastive": 0,
        "distill.document_ways": 2,
        "distill.ways_by": "random",
        "distill.max_steps": 140_000,
        "distill.batch_size": 32,
    },
    # arXiv 2404.02489: 1,000 clusters and queries, the bottom four of the first 100. Code: Llama 2 chat, 64 tokens,
    # monoT5 at 2e-5 and 5e-5 for an epoch of batches of 128 pairs, 512 tokens; Contriever after MS MARCO
    "duqgen": {
        "index.max_tokens": 512,
        "generate.llm": "meta-llama/Llama-2-7b-chat-hf",
        "generate.max_doc_tokens": 512,
        "generate.max_new_tokens": 64,
        "generate.temperature": 0,
        "train.learning_rate": 2e-5,
        "train.weight_decay": 5e-5,
        "train.schedule": "linear",
        "train.epochs": 1,
        "train.max_tokens": 512,
        "distill.base": "facebook/contriever-msmarco",
        "sample.method": "diverse",
        "sample.n_docs": 1000,
        "sample.n_clusters": 1000,
        "mine.retriever": "dense",
        "mine.depth": 100,
        "mine.n_ways": 5,
        "mine.sampling": "bottom",
        "train.base": "castorini/monot5-3b-msmarco-10k",
    },
    # arXiv 2502.19712 and 2505.19274. Code: BGE and its instruction, 512 tokens
    "cadet": {
        "index.max_tokens": 512,
        "index.query_prompt": "Represent this sentence for searching relevant passages: ",
        "distill.base": "BAAI/bge-base-en-v1.5",
        "filter.filters": ("round-trip",),
        "generate.per_doc": 6,
        "generate.temperature": 0.8,
        "generate.max_new_tokens": 50,
        "filter.retriever": "dense",
        "filter.round_trip_k": 20,
        "label.source_within": 1,
        "label.drop_lowest": 0.25,
        "label.normalize": "percentile",
        "label.n_ways": 20,
        "distill.teacher_temperature": 0.3,
        "distill.student_temperature": 0.05,
        "distill.contrastive_temperature": 0.01,
        "distill.contrastive": pytest.approx(0.1 / 1.1, abs=1e-4),  # shares of one: 0.1 to 1 there
        "distill.mask_above": 0.6,
        "distill.negatives": "batch",
        "distill.teacher_negatives": "list",
        "distill.document_ways": 20,
        "distill.learning_rate": 2e-4,
        "distill.batch_size": 16 * 256,
        "distill.epochs": 30,
    },
}


def settings_of(name: str) -> Settings:
    return resolve(STAGES, load_recipe(name))


def test_every_recipe_of_a_paper_has_its_figures_here():
    assert PAPERS.keys() | OURS == set(recipe_names())
    assert all(load_recipe(name).paper for name in PAPERS)


@pytest.mark.parametrize("name", PAPERS)
def test_the_figures_are_those_of_the_paper(name):
    settings = settings_of(name)
    names = {full: full.split(".") for full in PAPERS[name]}
    assert {full: settings[stage][setting] for full, (stage, setting) in names.items()} == PAPERS[name]


@pytest.mark.parametrize("name", PAPERS)
def test_all_queries_of_a_split_are_measured_and_a_thousand_hits_kept(name):
    evaluate = settings_of(name)["evaluate"]
    assert (evaluate["max_queries"], evaluate["k"], evaluate["rerank"]) == (0, 1000, ())


@pytest.mark.parametrize("name", PAPERS)
def test_no_document_is_too_short_or_read_from_its_middle(name):
    """What the defaults have for search in general, and no paper has."""
    sample = settings_of(name)["sample"]
    assert (sample["min_chars"], sample["windows"]) == (0, 0)
    assert sample["near_duplicates"] == (0.9 if name == "cadet" else 1)


@pytest.mark.parametrize("name", ["inpars-v1", "inpars-v2"])
def test_a_step_of_inpars_reads_128_rows(name):
    """156 x 128 = 19,968 rows, half of them relevant: the toolkit's own defaults come to 1,248."""
    train, n_ways = settings_of(name)["train"], settings_of(name)["mine"]["n_ways"]
    assert train["batch_size"] * train["gradient_accumulation"] * n_ways == 128


def test_a_step_of_udapdr_s_rerankers_reads_32_pairs():
    settings = settings_of("udapdr")
    assert settings["train"]["batch_size"] * settings["mine"]["n_ways"] == 32


def test_a_step_of_duqgen_reads_about_128_pairs():
    train, n_ways = settings_of("duqgen")["train"], settings_of("duqgen")["mine"]["n_ways"]
    assert train["batch_size"] * train["gradient_accumulation"] * n_ways == 125


def test_what_is_in_place_of_a_model_is_the_only_difference_but_for_rates_and_losses():
    for name in PAPERS:
        ours, theirs = settings_of(f"{name},embedded"), settings_of(name)
        changed = {
            f"{stage}.{key}" for stage, table in ours.items() for key in table if table[key] != theirs[stage][key]
        }
        assert changed <= {
            *("index.query_prompt", "seed.llm", "generate.llm", "filter.llm", "filter.reranker", "label.teachers"),
            *("train.base", "train.template", "train.loss", "train.optimizer"),
            *("train.learning_rate", "train.weight_decay", "distill.base", "distill.learning_rate"),
        }
