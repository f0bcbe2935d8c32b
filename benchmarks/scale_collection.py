"""A generated collection of any number of short documents, and a tiny encoder for them.

Documents are sentences of pydocs and, where apt knows them, what Debian's packages are said to be: as they are as long
as there are enough, then two of them joined, with some words in the place of others, names that nobody else has among
them, so that the vocabulary grows as it does in real collections (Heaps). What a document is follows from its number.
The encoder is a BERT of one layer with random weights, 32 numbers a token and 384 a document: what memory it takes to
keep and to search does not depend on how good they are, nor on how many layers made them.
"""

from __future__ import annotations

import json
import random
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from acclimate.corpus import pydocs

N_QUERIES = 100  # in each of two splits
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n\n+")
_SHORTEST, _LONGEST = 30, 200  # characters of a sentence
_SWAPPED = 4  # words replaced in a document
_NAMED = 0.3  # share of documents with a unique name
_TOKEN_DIM, _DIM, _MAX_TOKENS = 32, 384, 32


def write_collection(folder: Path, n_docs: int) -> None:
    """Write a BEIR folder; each query consists of a few words of its relevant document."""
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    with (folder / "corpus.jsonl").open("w", encoding="utf-8") as file:
        for number in range(n_docs):
            title, text = _document(number)
            file.write(json.dumps({"_id": f"d{number}", "title": title, "text": text}) + "\n")
    judged = random.Random(0).sample(range(n_docs), 2 * N_QUERIES)
    with (folder / "queries.jsonl").open("w", encoding="utf-8") as file:
        for number in judged:
            file.write(json.dumps({"_id": f"q{number}", "text": query_of(_document(number)[1])}) + "\n")
    for split, numbers in (("test", judged[:N_QUERIES]), ("dev", judged[N_QUERIES:])):
        rows = "".join(f"q{number}\td{number}\t1\n" for number in numbers)
        (folder / "qrels" / f"{split}.tsv").write_text(f"query-id\tcorpus-id\tscore\n{rows}", encoding="utf-8")


def query_of(text: str) -> str:
    """Some words from the middle of a text."""
    words = re.findall(r"\w\w+", text)
    return " ".join(words[len(words) // 3 :][:6]) or text


def _document(number: int) -> tuple[str, str]:
    """Title and text."""
    sentences, words = _sentences()
    draw = random.Random(number)
    if number < len(sentences):
        return "", sentences[number]
    parts = f"{draw.choice(sentences)} {draw.choice(sentences)}".split()[:40]
    for place in draw.sample(range(len(parts)), min(_SWAPPED, len(parts))):
        parts[place] = draw.choice(words)
    if draw.random() < _NAMED:
        parts.append(f"{draw.choice(words)}{number}")
    return f"{draw.choice(words)} {draw.choice(words)}", " ".join(parts)


@cache
def _sentences() -> tuple[list[str], list[str]]:
    """(sentences, their words with repetitions)."""
    texts = [text for doc in pydocs.build() for text in _SENTENCE_END.split(doc.text)]
    sentences = {" ".join(text.split()): None for text in [*texts, *_packages()]}
    kept = [text for text in sentences if _SHORTEST <= len(text) <= _LONGEST]
    random.Random(0).shuffle(kept)
    return kept, [word for text in kept for word in re.findall(r"[A-Za-z]{3,}", text)]


def _packages() -> Iterator[str]:
    """Descriptions of packages by apt; none without apt."""
    try:
        listed = subprocess.run(["apt-cache", "dumpavail"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return
    name = ""
    for line in listed.splitlines():
        field, _, value = line.partition(": ")
        if field == "Package":
            name = value
        elif field == "Description":
            yield f"{name}: {value}"


def write_encoder(folder: Path) -> None:
    """Write a SentenceTransformer whose vocabulary are the words of the sentences."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Dense, Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling
    from transformers import BertConfig, BertModel, BertTokenizerFast

    words = sorted({word.lower() for word in _sentences()[1]})[:30_000]
    letters = [mark + letter for mark in ("", "##") for letter in "abcdefghijklmnopqrstuvwxyz0123456789"]
    vocabulary = list(dict.fromkeys(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *words]))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=_TOKEN_DIM,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=2 * _TOKEN_DIM,
        max_position_embeddings=_MAX_TOKENS,
    )
    bert = folder.with_name(f"{folder.name}-bert")
    BertModel(config).save_pretrained(bert)
    places = {word: place for place, word in enumerate(vocabulary)}
    BertTokenizerFast(vocab=places, model_max_length=_MAX_TOKENS).save_pretrained(bert)
    transformer = Transformer(str(bert), max_seq_length=_MAX_TOKENS)
    modules = [transformer, Pooling(_TOKEN_DIM, "mean"), Dense(_TOKEN_DIM, _DIM), Normalize()]
    SentenceTransformer(modules=modules, device="cpu").save(str(folder), create_model_card=False)
