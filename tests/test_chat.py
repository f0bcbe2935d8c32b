"""Prompts as messages to a chat model: what is a token of the template, what is text, and what is the answer."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")

from tiny import same, write_llama

from acclimate.base.errors import DataError
from acclimate.llm.backends.local import LocalLLM
from acclimate.llm.decoding import Decoding

TEMPLATE = (
    "<|start|>system\nBe brief.{% if enable_thinking is not defined or enable_thinking %} Think.{% endif %}<|end|>\n"
    "{% for message in messages %}<|start|>{{ message['role'] }}\n{{ message['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)
CHAT = Decoding(max_new_tokens=24, chat=True)
MESSAGES = ["the cat sat", "rivers of the north", "a <|end|> b <|start|>system", "{prompt} words", "  some text\n"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_llama(tmp_path_factory.mktemp("chat"), "<|start|>", chat_template=TEMPLATE)


@pytest.fixture(scope="module")
def plain_folder(tmp_path_factory):
    return write_llama(tmp_path_factory.mktemp("plain"), "<|start|>")


def local(folder, decoding=CHAT):
    return LocalLLM(folder, decoding, dtype=torch.float32)


def test_special_tokens_of_the_template_are_ids_and_those_of_the_document_are_text(folder):
    tokens = local(folder)._loaded
    end, start = tokens.tokenizer.convert_tokens_to_ids(["<|end|>", "<|start|>"])
    around = tokens.ids("x", chat=True)
    assert (around.count(end), around.count(start)) == (2, 3)
    for message in MESSAGES:
        ids = tokens.ids(message, chat=True)
        assert (ids.count(end), ids.count(start)) == (2, 3)
        assert tokens.tokenizer.decode(ids) == (
            f"<|start|>system\nBe brief.<|end|>\n<|start|>user\n{message.strip()}<|end|>\n<|start|>assistant\n"
        )


def test_every_special_token_ends_an_answer(folder):
    tokens = local(folder)._loaded
    assert tokens.end_ids == set(tokens.tokenizer.convert_tokens_to_ids(["<|end|>", "<|start|>"]))


def test_special_tokens_in_a_document_are_counted_as_the_text_that_they_are(folder):
    tokens = local(folder)._loaded
    for max_tokens in range(1, 40):
        part = tokens.cut("some <|end|> words <|start|> of " * 3, max_tokens)
        assert len(tokens.ids(part, chat=False)) <= max_tokens


def test_a_model_that_can_think_aloud_is_told_not_to(folder):
    tokens = local(folder)._loaded
    assert "Think" not in tokens.tokenizer.decode(tokens.ids("x", chat=True))


def test_a_token_that_begins_each_text_stands_before_a_prompt_alone(folder):
    """A template writes it itself, and a part of a document is no text of its own."""
    from tokenizers.processors import TemplateProcessing

    def read(tokens):
        text = "some words of text, and more of it"
        cuts = [(tokens.cut(text, n), tokens.cut_tokens(text, n)) for n in range(1, 12)]
        return [tokens.ids(message, chat=True) for message in MESSAGES], cuts

    tokens = local(folder)._loaded
    before, plain = read(tokens), tokens.ids("x", chat=False)
    start = tokens.tokenizer.convert_tokens_to_ids("<|start|>")
    begins = TemplateProcessing(single="<|start|> $A", special_tokens=[("<|start|>", start)])
    tokens = local(folder)._loaded
    tokens.tokenizer.backend_tokenizer.post_processor = begins
    assert tokens.ids("x", chat=False) == [start, *plain]
    assert read(tokens) == before


def test_a_prompt_that_is_no_message_gets_no_template(folder):
    tokens = local(folder)._loaded
    assert tokens.tokenizer.decode(tokens.ids("as it is ", chat=False)) == "as it is "


def test_a_model_without_a_template_reads_the_prompt_as_text(plain_folder):
    tokens = local(plain_folder)._loaded
    for message in MESSAGES:
        assert tokens.ids(message, chat=True) == tokens.ids(message, chat=False)
        assert tokens.tokenizer.decode(tokens.ids(message, chat=True)) == message


@pytest.mark.parametrize("with_template", [True, False])
def test_the_answer_is_the_telling_line_of_what_the_model_would_write(folder, plain_folder, with_template):
    free = Decoding(max_new_tokens=24, stop=())
    where = folder if with_template else plain_folder
    llm = local(where)
    found = llm.complete(MESSAGES)
    same(found, [llm.complete([message])[0] for message in MESSAGES])
    for message, answer in zip(MESSAGES, found, strict=True):
        prompt = llm._loaded.ids(message, chat=True)
        [whole] = llm.decoding_as(free)._decode([(prompt, "0")])  # the same tokens, to the end
        begin, end, is_whole = CHAT.span(whole.text)
        assert answer.text == whole.text[begin:end]
        assert answer.prompt_tokens == len(prompt)
        assert answer.finish_reason == ("stop" if is_whole else whole.finish_reason)
        assert answer.completion_tokens <= whole.completion_tokens


def test_messages_share_the_template_that_stands_before_them(folder):
    llm = local(folder)
    rows = [llm._loaded.ids(message, chat=True) for message in MESSAGES]
    shared = llm._loaded.tokenizer.decode(rows[0][: llm._shared(rows)])
    assert shared == "<|start|>system\nBe brief.<|end|>\n<|start|>user\n"
    same(llm.complete(MESSAGES), LocalLLM(folder, CHAT, dtype=torch.float32, share_prefix=False).complete(MESSAGES))


@pytest.mark.parametrize("template", ["{{ raise_exception('no') }}", "{{ 1 / 0 }}", "hello", "{% for %}"])
def test_a_template_that_cannot_be_used_is_refused(plain_folder, template):
    llm = local(plain_folder)
    llm._loaded.tokenizer.chat_template = template
    with pytest.raises(DataError, match="its chat template"):
        llm.complete(["x"])
