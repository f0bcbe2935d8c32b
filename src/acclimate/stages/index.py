"""Index the corpus for the unadapted retrievers: BM25, and the base encoder's vectors of every document."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from acclimate.base import distributed
from acclimate.base.domains import MOST, AtLeast, Between, OneOf
from acclimate.base.errors import SettingError
from acclimate.base.progress import Progress
from acclimate.base.text import counted
from acclimate.corpus import passages, survey
from acclimate.corpus.analyzer import LANGUAGES
from acclimate.corpus.passages import AUTO
from acclimate.learn.students.checks import check_encoder
from acclimate.records import Doc
from acclimate.run.estimate import ENCODER_DIM, Estimate, token_flop
from acclimate.run.input import CorpusFiles
from acclimate.run.output import Account, StageOutput
from acclimate.run.retrievers import NO_TOKENS
from acclimate.run.run import DOCUMENTS, Run
from acclimate.run.settings import checked
from acclimate.search import approximate
from acclimate.stages import token_vectors

if TYPE_CHECKING:
    from acclimate.search.encoder import Encoder


@checked
def index(
    corpus: Mapping[str, Doc],
    encoder: Encoder,
    folder: Path,
    warn: Callable[[str], None] = lambda warning: None,
    *,
    language: Annotated[str, OneOf(LANGUAGES)] = "en",
    k1: Annotated[float, Between(0, 100)] = 0.9,
    b: Annotated[float, Between(0, 1)] = 0.4,
    max_tokens: Annotated[int, Between(8, 1_000_000)] = 256,
    query_prompt: str = "auto",
    document_prompt: str = "auto",
    passage_words: Annotated[int | str, Between(0, MOST, (AUTO,))] = AUTO,
    passage_overlap: Annotated[int, AtLeast(0)] = 0,
    exact_up_to: Annotated[int, AtLeast(0)] = 500_000,
    tokens: Annotated[str, OneOf(("int8", "int4", NO_TOKENS))] = "int8",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[str]:
    """Read the documents and index them for BM25 and dense retrieval.

    Writes `folder/bm25` and `folder/vectors`; resumes an interrupted encoding. `corpus` is already split into passages
    if that is asked for. Returns warnings about what cannot be found; `warn` gets them before documents are encoded,
    which may take hours.

    Parameters
    ----------
    language
        Language of the documents: selects BM25's stop words and stemmer. none disables both.
    k1
        BM25's term frequency saturation.
    b
        BM25's length normalization.
    max_tokens
        Maximum tokens of a document that encoders read; the rest is truncated.
    query_prompt
        Prefix for queries given to the encoder, such as "query: "; auto uses the model's own prompt, if it has one.
    document_prompt
        Prefix for documents given to the encoder; auto as for query_prompt.
    passage_words
        Split longer documents into passages of at most this many words; 0 keeps documents whole. auto stands for 150 if
        encoders read less than two thirds of the average document, else 0.
    passage_overlap
        Number of words that a passage repeats from the previous one.
    exact_up_to
        Up to this many documents (or passages), dense search is exact. Above it, an approximate index selects the
        candidates; the share of nearest neighbors that it misses is measured and reported.
    tokens
        Storage of token vectors for late interaction: int8 (one byte per number); int4 (half a byte: on two collections
        nDCG@10 of late interaction and of a hybrid changed by less than 0.004); or none, which saves most of the disk
        space but rules out late interaction, teachers that use it, and all students except dense ones.
    """
    from acclimate.search.bm25 import BM25
    from acclimate.search.encoder import Encoder
    from acclimate.search.vectors import encode_corpus

    texts = (doc.default_text() for doc in corpus.values())
    bm25 = BM25.build(texts, language=language, k1=k1, b=b, scratch=folder)
    shutil.rmtree(folder / "bm25", ignore_errors=True)  # do not overwrite files that may be in use
    bm25.save(folder / "bm25")
    assert encoder.max_tokens <= max_tokens
    warnings = [
        *_missing_terms_warning(bm25.without_terms, len(corpus)),
        *survey.warnings(corpus, language, encoder.name, encoder.max_tokens),
    ]
    for warning in warnings:
        warn(warning)
    maker = partial(Encoder.load, encoder.name, max_tokens=encoder.max_tokens, prompts=encoder.prompts)
    encode_corpus(
        encoder,
        corpus,
        folder / "vectors",
        tokens_as=None if tokens == NO_TOKENS else tokens,
        maker=maker,
        progress=progress,
    )
    linked = Progress("index", "vectors in the approximate index")
    approximate.index(folder / "vectors", is_wanted=len(corpus) > exact_up_to, progress=linked)
    return warnings


def _missing_terms_warning(count: int, of: int) -> Iterator[str]:
    if count:
        yield (
            f"BM25 finds no words in {count:,} of {counted(of, 'document')}, so it never finds them: they have no "
            "letters or digits, or nothing but stop words of index.language."
        )


class Indexed(StageOutput):
    """BM25 and vectors of everything searchable; rows of both are positions in the corpus."""

    stage = "index"

    @property
    def warnings(self) -> list[str]:
        """Warnings about what cannot be found."""
        return self.notes.get("warnings", [])

    @property
    def kept(self) -> CorpusFiles:
        """The stored files of the indexed documents."""
        return CorpusFiles(**self.notes["kept"])


def check(run: Run) -> None:
    """Raises SettingError for invalid passage lengths, and for settings that need missing token vectors."""
    settings = run.settings["index"]
    if settings["passage_words"] != AUTO:
        passages.check(settings["passage_words"], settings["passage_overlap"])
    token_vectors.check(run.settings)


def decide_passages(run: Run) -> None:
    """Replace `auto` in the run's settings by the number of words of a passage.

    It depends on the documents, and is stored with the run, so that later ones are split in the same way. Raises
    DataError for unreadable documents.
    """
    settings = run.settings["index"]
    if settings["passage_words"] != AUTO:
        return
    distributed.main_first(lambda: run.input.documents)
    words = run.input.passage_words
    passages.check(words, settings["passage_overlap"])
    run.settings = {**run.settings, "index": {**settings, "passage_words": words}}
    if words:
        distributed.say(
            "index",
            f"documents are split into passages of {words} words, as encoders would read less than two thirds of the "
            "average one; to keep them whole: --set index.passage_words=0",
        )


def check_input(run: Run) -> None:
    """Raises DataError for unreadable documents, MissingExtra if their number requires an optional library."""
    distributed.main_first(lambda: run.input.corpus)
    approximate.check(len(run.input.corpus), run.settings["index"]["exact_up_to"])


def estimate(run: Run) -> Estimate:
    """Cost of encoding every document, and the size of its vectors."""
    settings = run.settings["index"]
    lengths = (survey.token_count(doc.default_text()) for doc in run.input.corpus.values())
    n_tokens = sum(min(length, settings["max_tokens"]) for length in lengths)
    per_number = {"int8": 1, "int4": 0.5, NO_TOKENS: 0}[settings["tokens"]]
    n_bytes = ENCODER_DIM * (4 * len(run.input.corpus) + per_number * n_tokens)
    return Estimate(token_flop(run.settings["distill"]["base"]) * n_tokens, n_bytes=n_bytes)


def make(run: Run) -> Indexed:
    """Index the corpus."""
    settings = run.settings["index"]
    student, base = run.settings["distill"]["student"], run.settings["distill"]["base"]

    def work(folder: Path, progress: Progress) -> Account:
        check_encoder(student, base, run.base.encoder)  # checked only; the index does not depend on it
        if settings["tokens"] == "int4" and run.base.encoder.token_dim % 2:
            raise SettingError(
                f"index.tokens is int4, and {base} has token vectors of {run.base.encoder.token_dim} components, which "
                "do not go two by two into bytes; expected int8"
            )
        warn = partial(distributed.warn, "index")
        warnings = index(run.input.corpus, run.base.encoder, folder, warn, progress=progress, **settings)
        notes = {"warnings": warnings, "kept": run.input.files()._asdict()}
        dropped = run.input.documents.dropped
        return Account(len(run.input.documents) + sum(dropped.values()), len(run.input.corpus), dropped, notes=notes)

    manifest = run.workspace.usable_manifest("index")
    if manifest:
        _say_changed(run, manifest)
    encoded = {
        DOCUMENTS: run.input.corpus.fingerprint,
        "order of the documents": run.input.corpus.ids.fingerprint,  # rows of the index are positions in it
        "base": run.base.fingerprint,
        **({"tokens": settings["tokens"]} if settings["tokens"] != "int8" else {}),
    }
    inputs = {
        **encoded,
        **({"dense search": "inverted lists"} if len(run.input.corpus) > settings["exact_up_to"] else {}),
    }
    # exact_up_to and tokens enter the fingerprint only where their result differs from that of earlier versions.
    reads = settings.keys() - {"exact_up_to", "tokens"}
    is_encoded = manifest is not None and encoded == {
        name: value for name, value in manifest["inputs"].items() if name != "dense search"
    }
    indexed = run.make(Indexed, work, inputs=inputs, unit=run.input.unit, reads=reads, keeps=is_encoded)
    if run.corpus_folder is None and distributed.is_main():  # the run's own
        run.input.remove_others(indexed.kept)
    for warning in indexed.warnings if indexed.resumed else ():
        distributed.warn("index", warning)
    return indexed


def _say_changed(run: Run, manifest: Mapping[str, Any]) -> None:
    """Log if the existing index was made from other documents."""
    if manifest["inputs"][DOCUMENTS] != run.input.corpus.fingerprint:
        was, now = manifest["inputs"][DOCUMENTS][:8], run.input.corpus.fingerprint[:8]
        before = f"was made from {counted(manifest['out'], 'document')} or passages ({was})"
        distributed.say("index", f"{before}; now there are {len(run.input.corpus):,} ({now})")
