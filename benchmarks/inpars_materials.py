"""Models for both sides of `against_inpars.py`: the LLM as a folder, and models with random weights."""

from __future__ import annotations

from pathlib import Path

from acclimate.corpus.collections import Collection


def plain_folder(name: str, out: Path) -> Path:
    """The LLM as a folder of transformers in float32, which the toolkit can load; GGUF files are converted."""
    import torch

    from acclimate.base import models
    from acclimate.llm.decoders.loaded import Loaded

    if models.resolve(name).gguf_file is None:
        return models.folder(name)
    if not (out / "config.json").exists():
        loaded = Loaded(name, torch.float32)
        model = type(loaded.model)(loaded.model.config)
        model.load_state_dict(loaded.model.state_dict())
        model.generation_config = loaded.model.generation_config
        loaded.tokenizer.save_pretrained(out)
        model.save_pretrained(out)
    return out


def random_t5(collection: Collection, out: Path) -> Path:
    """A T5 whose tokens are the collection's words, and whose random weights are large enough for scores to differ."""
    import torch
    from tokenizers import Tokenizer, pre_tokenizers, processors
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

    words = [word for doc in collection.corpus.values() for word in doc.default_text().split()]
    known = [
        "<pad>",
        "</s>",
        "<unk>",
        *dict.fromkeys(f"▁{word}" for word in ["Query:", "Document:", "Relevant:", "true", "false", *words]),
    ]
    tokenizer = Tokenizer(WordLevel({word: place for place, word in enumerate(known)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    special = {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=512, **special).save_pretrained(out)
    torch.manual_seed(0)
    sizes = {"d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 2, "num_heads": 4}
    config = T5Config(vocab_size=len(known), decoder_start_token_id=0, initializer_factor=1.0, **sizes)
    T5ForConditionalGeneration(config).save_pretrained(out)
    return out


def random_encoder(out: Path) -> None:
    """An encoder with random weights; runs need one, but its vectors are not used here."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling
    from transformers import BertConfig, BertModel, BertTokenizerFast

    bert, vocabulary = out.with_name("bert"), ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=len(vocabulary), **sizes)).save_pretrained(bert)
    BertTokenizerFast(vocab={word: place for place, word in enumerate(vocabulary)}).save_pretrained(bert)
    modules = [Transformer(str(bert), max_seq_length=8), Pooling(16)]
    SentenceTransformer(modules=modules, device="cpu").save_pretrained(str(out), create_model_card=False)
