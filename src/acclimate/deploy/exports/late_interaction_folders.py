"""Late-interaction encoders as folders of PyLate (arXiv 2508.03555) and of ColBERT (Khattab and Zaharia 2020).

Both libraries keep prefixes, lengths and a projection of token vectors beside the weights; a model without a projection
gets the identity. Texts are read as `search.encoder` reads them, as far as the library allows: of a query, PyLate also
compares the vectors of [CLS] and [SEP] where the base is a bi-encoder.
"""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file, save_file
from sentence_transformers.base.modules import Dense as Linear
from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask

from acclimate.base.errors import DataError
from acclimate.base.files import make_folder, read_json, write_json
from acclimate.base.loading import quiet
from acclimate.deploy.exports.model_folders import write_transformer
from acclimate.deploy.exports.model_sides import Side

_IDENTITY = "torch.nn.modules.linear.Identity"


class Reading(NamedTuple):
    """How a late-interaction model encodes texts."""

    projection: torch.Tensor  # (dim, hidden size) of token vectors
    query_prefix: str  # marker put before the text
    document_prefix: str
    query_length: int  # tokens: at most, or exactly if queries are filled up
    document_length: int
    is_filled: bool  # queries are filled up with mask tokens (ColBERT's query expansion)
    attends: bool  # other tokens attend to the mask tokens
    skipped: list[str]  # document tokens that are not compared


def reading_of(query: Side, document: Side) -> Reading:
    """How queries and documents are encoded, by one model or two.

    Raises DataError for modules that neither library supports.
    """
    modules = document.modules
    transformer: Any = modules[0]
    linear = [module for module in modules if type(module) is Linear]
    if len(linear) > 1 or any(module.use_residual or module.bias for module in linear):
        raise DataError("its token vectors are not projected by a single matrix; use the format hf")
    size = transformer.get_embedding_dimension()
    projection = linear[0].linear.weight.detach().float().cpu() if linear else torch.eye(size)
    filling = query.modules[0].query_expansion or {}
    skipped = [
        word for module in modules if isinstance(module, MultiVectorMask) for word in module.skiplist_words or ()
    ]
    return Reading(
        projection,
        query.prompt,
        document.prompt,
        filling.get("length") or query.modules[0].query_length or query.max_tokens,
        transformer.document_length or document.max_tokens,
        bool(filling),
        bool(filling.get("attend")),
        skipped,
    )


def write_pylate(side: Side, reading: Reading, folder: Path) -> None:
    """Write one side as PyLate's `models.ColBERT` saves it."""
    make_folder(folder / "1_Dense")
    with quiet():
        write_transformer(side.modules[0], side.max_tokens, folder)
    dim, size = reading.projection.shape
    settings = {"in_features": size, "out_features": dim, "bias": False, "use_residual": False}
    write_json(folder / "1_Dense" / "config.json", {**settings, "activation_function": _IDENTITY})
    save_file({"linear.weight": reading.projection.contiguous()}, folder / "1_Dense" / "model.safetensors")
    types = {"": "sentence_transformers.models.Transformer", "1_Dense": "pylate.models.Dense.Dense"}
    rows = [
        {"idx": place, "name": str(place), "path": path, "type": kind}
        for place, (path, kind) in enumerate(types.items())
    ]
    write_json(folder / "modules.json", rows)
    write_json(
        folder / "config_sentence_transformers.json",
        {
            "model_type": "ColBERT",
            "prompts": {},
            "default_prompt_name": None,
            "similarity_fn_name": "MaxSim",
            "query_prefix": reading.query_prefix,
            "document_prefix": reading.document_prefix,
            "query_length": reading.query_length,
            "document_length": reading.document_length,
            "do_query_expansion": reading.is_filled,
            "attend_to_expansion_tokens": reading.attends,
            "skiplist_words": reading.skipped,
        },
    )


def write_colbert(side: Side, reading: Reading, folder: Path) -> None:
    """Write one side as a checkpoint of ColBERT.

    Raises DataError for a model that was not trained with ColBERT's marker tokens, which ColBERT adds to every text.
    """
    marks = [prefix.strip() for prefix in (reading.query_prefix, reading.document_prefix)]
    if not all(marks) or not reading.is_filled:
        raise DataError(
            "ColBERT adds a marker to every text and pads queries, which this model was not trained for: its base is "
            "not a ColBERT; use the format pylate"
        )
    kind = side.modules[0].model.config.model_type
    if kind != "bert" or sorted(reading.skipped) not in ([], sorted(string.punctuation)):
        raise DataError(f"a {kind} with these markers and masks cannot be read by ColBERT; use the format pylate")
    with quiet():
        write_transformer(side.modules[0], side.max_tokens, folder)
    weights = {f"bert.{name}": value for name, value in load_file(folder / "model.safetensors").items()}
    save_file(
        {**weights, "linear.weight": reading.projection.contiguous()},
        folder / "model.safetensors",
        {"format": "pt"},
    )
    write_json(folder / "config.json", {**read_json(folder / "config.json"), "architectures": ["HF_ColBERT"]})
    write_json(
        folder / "artifact.metadata",
        {
            "dim": reading.projection.shape[0],
            "query_maxlen": reading.query_length,
            "doc_maxlen": reading.document_length,
            "query_token_id": marks[0],
            "doc_token_id": marks[1],
            "mask_punctuation": bool(reading.skipped),
            "attend_to_mask_tokens": reading.attends,
            "similarity": "cosine",
        },
    )
