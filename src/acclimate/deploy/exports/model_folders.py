"""Write one side of an encoder as a folder that sentence-transformers 4 to 6, transformers, Text Embeddings Inference
and vLLM load: the transformer in the folder itself, plain modules beside it, under names that all these versions know.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from sentence_transformers import MultiVectorEncoder, SparseEncoder
from sentence_transformers.base.modules import Dense as Linear
from sentence_transformers.base.modules import Normalize, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling, StaticEmbedding

from acclimate.base.errors import DataError
from acclimate.base.files import atomic_folder, make_folder, read_json, write_json, write_text
from acclimate.base.loading import quiet
from acclimate.base.modules import copies_for_saving
from acclimate.deploy.exports.model_card import card
from acclimate.deploy.exports.model_sides import Side
from acclimate.deploy.exports.source import Source
from acclimate.search.encoded import Task

_MODULES = "sentence_transformers.models"  # importable in every version since 2
_POOLING = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken")
_NEWER: dict[str, Any] = {"sparse": SparseEncoder, "late-interaction": MultiVectorEncoder}  # since version 5 and 6
_MODES = dict(zip(("cls", "mean", "max", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"), _POOLING, strict=True))


def write_sides(sides: Mapping[Task, Side], folder: Path, write: Callable[[Side, Path], None]) -> None:
    """Write `folder`/query and `folder`/document by `write`; one that exists is finished."""
    for task, side in sides.items():
        if not (folder / task).exists():
            with atomic_folder(folder / task) as unfinished:
                write(side, unfinished)


def write_with_card(source: Source, name: str, side: Side, folder: Path, *, loading: Sequence[str] = ()) -> None:
    """Write one side of a member with its model card. loading: see `card`. Raises as `write_folder` does."""
    write_folder(side, folder)
    write_text(folder / "README.md", card(source, name, side, loading))


def write_folder(side: Side, folder: Path) -> None:
    """Write one side. Raises DataError for a module that plain folders do not have."""
    make_folder(folder)
    with quiet():
        prompts = {side.task: side.prompt} if side.prompt else {}
        if side.kind in _NEWER:
            modules = copies_for_saving(side.modules)
            for module in modules:
                if isinstance(module, Transformer):
                    module.max_seq_length = side.max_tokens
            model = _NEWER[side.kind](modules=modules, prompts=prompts, device="cpu")
            model.save_pretrained(str(folder), create_model_card=False)
        else:
            listing = [_write_module(number, module, side, folder) for number, module in enumerate(side.modules)]
            write_json(folder / "modules.json", listing)
            settings = {
                "model_type": "SentenceTransformer",
                "prompts": prompts,
                "default_prompt_name": next(iter(prompts), None),
                "similarity_fn_name": "cosine",
            }
            write_json(folder / "config_sentence_transformers.json", settings)


def _write_module(number: int, module: Any, side: Side, folder: Path) -> dict[str, Any]:
    """Write the module's files; return its entry for modules.json."""
    name = type(module).__name__
    path = "" if type(module) is Transformer else f"{number}_{name}"
    make_folder(folder / path)
    if type(module) is Transformer:
        write_transformer(module, side.max_tokens, folder)
    elif type(module) is Pooling:
        write_json(folder / path / "config.json", _pooling(module))
    elif type(module) is Linear:
        _write_linear(module, folder / path)
    elif type(module) is Normalize:
        write_json(folder / path / "config.json", {})
    elif type(module) is StaticEmbedding:
        module.save(str(folder / path))
    else:
        raise DataError(f"{name}, a part of the {side.kind} encoder, cannot be exported; expected a base without it")
    return {"idx": number, "name": str(number), "path": path, "type": f"{_MODULES}.{name}"}


def write_transformer(transformer: Any, max_tokens: int, folder: Path) -> None:
    """Write weights, configuration and tokenizer so that transformers 4 can read them too."""
    (plain,) = copies_for_saving([transformer])
    plain.model.save_pretrained(folder)
    plain.tokenizer.model_max_length = max_tokens
    plain.tokenizer.save_pretrained(folder)
    config = read_json(folder / "config.json")
    config["torch_dtype"] = config.get("dtype", "float32")
    write_json(folder / "config.json", config)
    mend_tokenizer(folder / "tokenizer_config.json")
    reading = {"max_seq_length": max_tokens, "do_lower_case": bool(transformer.do_lower_case)}
    write_json(folder / "sentence_bert_config.json", reading)


def mend_tokenizer(path: Path) -> None:
    """Replace names that transformers 5 writes and 4 does not know."""
    settings = read_json(path)
    for name in ("is_local", "local_files_only"):  # describe the machine that saved it
        settings.pop(name, None)
    if settings.get("tokenizer_class") == "TokenizersBackend":
        settings["tokenizer_class"] = "PreTrainedTokenizerFast"
    if isinstance(extra := settings.get("extra_special_tokens"), list):
        del settings["extra_special_tokens"]
        settings["additional_special_tokens"] = extra
    write_json(path, settings)


def _pooling(pooling: Any) -> dict[str, Any]:
    modes = pooling.pooling_mode if isinstance(pooling.pooling_mode, tuple | list) else [pooling.pooling_mode]
    chosen = {_MODES[mode] for mode in modes}
    return {
        "word_embedding_dimension": pooling.embedding_dimension,
        **{f"pooling_mode_{mode}": mode in chosen for mode in _POOLING},
        "include_prompt": pooling.include_prompt,
    }


def _write_linear(linear: Any, folder: Path) -> None:
    if linear.use_residual or linear.module_input_name != "sentence_embedding":
        raise DataError("Dense, a part of the encoder, is of a kind that earlier versions do not support")
    config = linear.get_config_dict()
    keys = ("in_features", "out_features", "bias", "activation_function")
    write_json(folder / "config.json", {key: config[key] for key in keys})
    weights: dict[str, torch.Tensor] = {
        name: value.detach().cpu().float().contiguous() for name, value in linear.state_dict().items()
    }
    save_file(weights, folder / "model.safetensors")
