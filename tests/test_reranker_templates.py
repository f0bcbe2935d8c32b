"""What a language model is asked as a reranker: its template, where one is known or lies beside it, and what is cut."""

from __future__ import annotations

import shutil

import pytest

pytest.importorskip("torch", reason="torch is not installed")

from hypothesis import given
from hypothesis import strategies as st
from test_monot5 import WORDS
from tiny import write_llama, write_t5

from acclimate.base.errors import DataError, SettingError
from acclimate.search.scorers import template
from acclimate.search.scorers.decoder import Decoder
from acclimate.search.scorers.monot5 import MonoT5
from acclimate.search.scorers.pairs import Lengths

CHAT = "{% for message in messages %}<|ask|>{{ message.content }}<|end|>{% endfor %}<|say|>"


@pytest.fixture(scope="module")
def t5(tmp_path_factory):
    return write_t5(tmp_path_factory.mktemp("t5"), WORDS)


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return write_llama(tmp_path_factory.mktemp("llama"), texts=["Answer: yes", "Answer: no"] * 9)


def test_a_published_t5_needs_no_template_and_another_model_does(t5, llama, tmp_path):
    assert MonoT5.of(t5, Lengths(64)).template == template.TEMPLATES["monot5"]
    later = write_t5(tmp_path / "later", WORDS, first=False)
    for name, make in ((later, MonoT5), (llama, Decoder)):
        with pytest.raises(SettingError, match=r"no reranker.json is beside its weights.*name its template, of chat"):
            make.of(name, Lengths(64))
    flan = MonoT5.of(later, Lengths(64), template="flan")
    assert flan.tokenizer.convert_ids_to_tokens([flan.true_id, flan.false_id]) == ["▁yes", "▁no"]
    assert Decoder.of(llama, Lengths(64), is_new=True).template == template.TEMPLATES["plain"]


def test_a_template_beside_the_weights_is_what_is_asked(t5, tmp_path):
    folder = tmp_path / "t5"
    shutil.copytree(t5, folder)
    template.save(template.TEMPLATES["mt5"], folder)
    assert MonoT5.of(str(folder), Lengths(64)).template.true == "yes"
    assert MonoT5.of(str(folder), Lengths(64), template="monot5").template.true == "true"
    for broken in ('{"prompt": "{query}", "true": "a", "false": "b", "chat": false}', '["yes"]', '{"true": 1}'):
        (folder / "reranker.json").write_text(broken)
        with pytest.raises(DataError, match=r"reranker.json: no template of a reranker"):
            MonoT5.of(str(folder), Lengths(64))


def test_braces_in_a_query_or_document_are_text():
    filled = template.TEMPLATES["monot5"].fill("{document} {query}", "{query}")
    assert filled == "Query: {document} {query} Document: {query} Relevant:"


def test_the_document_is_cut_and_never_the_prompt(t5, llama):
    readers = [
        (MonoT5.of(t5, Lengths(24)), "Relevant:"),
        (Decoder.of(llama, Lengths(70), template="plain"), "Answer:"),
    ]
    words = st.lists(st.sampled_from([*WORDS, "<|end|>", "</s>", "é"]), max_size=60).map(" ".join)

    @given(query=words, document=words)
    def holds(query, document):
        for reader, end in readers:
            (row,) = reader.tokens([(query, document)])["input_ids"]
            text = reader.tokenizer.decode(row, skip_special_tokens=True).strip()
            assert text.endswith(end)
            assert len(row) <= reader.lengths.pair
            whole = reader._ids([reader.template.fill(query, document)])[0]
            assert (row == whole) == (len(whole) <= reader.lengths.pair)
            assert set(reader.tokenizer.all_special_ids) & set(row[:-1]) <= {reader.tokenizer.unk_token_id}
            assert reader.preprocess([(query, document)])["input_ids"].tolist() == [row]  # as it is trained

    holds()


def test_a_chat_model_is_asked_in_its_template(tmp_path):
    chatty = write_llama(tmp_path / "chat", "<|ask|>", "<|say|>", chat_template=CHAT)
    reader = Decoder.of(chatty, Lengths(80), is_new=True)
    assert reader.template.chat
    ask, say = reader.tokenizer.convert_tokens_to_ids(["<|ask|>", "<|say|>"])
    for document in ("moon <|say|>", "moon " * 99):
        (row,) = reader.tokens([("what", document)])["input_ids"]
        assert (row[0], row[-2:], row.count(say)) == (ask, [0, say], 1)
        assert len(row) <= 80
        assert "Answer Yes or No." in reader.tokenizer.decode(row)


def test_a_document_is_read_to_its_last_token_that_fits(llama):
    scorer, text = Decoder.of(llama, Lengths(64, 3), template="plain"), "yes no yes no yes"
    for whole in (text, text[:6]):
        ((_, cut),) = scorer._with_short_documents([("q", whole)])
        (ends,) = scorer._ends([whole])
        assert cut == whole[: ends[min(3, len(ends)) - 1]]
