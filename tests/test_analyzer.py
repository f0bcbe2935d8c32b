"""What BM25 reads: any script, any way to write the same text, any language's setting; and never JAX."""

from __future__ import annotations

import subprocess
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acclimate.base.errors import SettingError
from acclimate.base.testing import DOCS
from acclimate.base.words import UNSPACED, length_of, words_of
from acclimate.corpus.analyzer import LANGUAGES, Analyzer
from acclimate.records import Doc
from acclimate.search.bm25 import BM25
from acclimate.stages import index as stage

TEXTS = {
    "zh": "火山喷发时熔岩从地壳下涌出并形成灰云，冰川缓慢移动并刻出深谷。蜜蜂跳舞告诉同伴花蜜在哪里",
    "ja": "火山は地下の溶岩を噴き出します。コーヒーは圧力をかけて淹れる飲み物で、蜂は踊って蜜の場所を教えます",
    "ko": "화산은 용암과 재를 뿜어낸다. 빙하는 천천히 움직이며 골짜기를 깎는다",
    "th": "ภูเขาไฟพ่นลาวาและเถ้าถ่านออกมา ธารน้ำแข็งเคลื่อนตัวช้าและกัดเซาะหุบเขา",
    "lo": "ພູເຂົາໄຟພົ່ນລາວາອອກມາ",
    "km": "ភ្នំភ្លើងផ្ទុះបញ្ចេញកម្អែភ្នំភ្លើង",
    "my": "မီးတောင်သည်ချော်ရည်များကိုထုတ်လွှတ်သည်",
    "hi": "ज्वालामुखी से लावा और राख निकलती है, हिमनद धीरे धीरे घाटी काटता है",
    "ta": "எரிமலை குழம்பையும் சாம்பலையும் உமிழ்கிறது",
    "ar": "يقذف البركان الحمم والرماد وينحت النهر الجليدي الوديان",
    "el": "Το ηφαίστειο εκτοξεύει λάβα και στάχτη όταν ξυπνά από τον ύπνο του",
    "ru": "Вулкан извергает лаву и пепел, а ледник медленно движется и режет долины",
    "de": "Der Vulkan stößt Lava und Asche aus, und die Gletscher formen die Täler der Höhen über Jahre",
    "tr": "İstanbul'da yanardağ ılık küller püskürtür ve buzullar ağır ağır vadileri oyar",
    "en": "The volcano emits lava and ash; café owners in C and R moved ﬁrst, naïve and coöperative",
}
WITHOUT_BLANKS = ("zh", "ja", "ko", "th", "lo", "km", "my")


@pytest.mark.parametrize("code", TEXTS)
@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKC", "NFKD"])
def test_all_ways_to_write_a_text_are_the_same_terms(code, form):
    text = TEXTS[code]
    for language in (code, "none"):
        terms = Analyzer(language)
        assert terms(unicodedata.normalize(form, text)) == terms(text)
        for unseen in "\u00ad\u200b\u200c\u200d\u2060\ufeff\u200e\ufe0f":
            assert terms(unseen.join(text)) == terms(text)
    full_width = "".join(chr(ord(char) + 0xFEE0) if "!" <= char <= "~" else char for char in text)
    assert Analyzer("none")(full_width.replace("＇", "'")) == Analyzer("none")(text)
    if code != "tr":
        assert Analyzer(code)(text.upper().casefold()) == Analyzer(code)(text.casefold())


@given(st.sampled_from(WITHOUT_BLANKS), st.data())
def test_any_part_of_a_text_without_blanks_is_found(code, data):
    others = [text for other, text in TEXTS.items() if other != code]
    index = BM25.build([*others, TEXTS[code]], language=data.draw(st.sampled_from([code, "en", "none"])))
    run = data.draw(st.sampled_from([run for run in TEXTS[code].replace("，", " ").replace("。", " ").split() if run]))
    starts = [at for at, char in enumerate(run) if unicodedata.category(char)[0] != "M"]
    begin = data.draw(st.sampled_from(starts))
    end = data.draw(st.sampled_from([at for at in [*starts, len(run)] if at > begin]))
    scores = index.scores(run[begin:end])
    assert scores[-1] > 0
    assert code in ("zh", "ja") or scores.argmax() == len(others)


@pytest.mark.parametrize("code", [code for code in TEXTS if code not in WITHOUT_BLANKS])
def test_words_between_blanks_are_words_whatever_marks_they_have(code):
    plain = [word.strip(",;.") for word in TEXTS[code].split() if "'" not in word]
    assert len(words_of(" ".join(plain))) == len(plain)
    index = BM25.build(["lorem ipsum", TEXTS[code]], language="none")
    assert all(index.scores(word)[1] > 0 for word in plain)


def test_vowel_points_are_left_out_as_most_texts_do():
    terms = Analyzer("none")
    assert terms("كِتَاب") == terms("كتـــاب") == terms("كتاب")
    assert terms("שָׁלוֹם") == terms("שלום")


@pytest.mark.parametrize("query", ["C", "c++", "R", "5", "vitamin D"])
def test_words_of_one_letter_are_found(query):
    index = BM25.build(["C++ and C: two languages", "statistics in R.", "chapter 5", "the vitamin D"])
    assert index.scores(query).max() > 0


def test_letters_of_abbreviations_and_elisions_are_no_words():
    assert Analyzer("none")("e.g. it's 0.25, l'avion, the U.S. and don't") == ["it", "25", "avion", "the", "and", "don"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_language_stems_documents_and_queries_alike(language):
    index = BM25.build(TEXTS.values(), language=language)
    for at, text in enumerate(TEXTS.values()):
        assert index.scores(text).argmax() == at
    assert not index.scores("").any()


def test_stemming_is_the_languages_own():
    assert BM25.build(["the running rivers"], language="en").scores("river run")[0] > 0
    assert BM25.build(["the running rivers"], language="none").scores("river run")[0] == 0
    assert BM25.build(["ينحت النهر الوديان", "الرماد"], language="ar").scores("نهر")[0] > 0
    with pytest.raises(SettingError, match="no language named 'english'"):
        BM25.build(["x"], language="english")


def test_the_turkish_i_has_a_dot_or_none_in_both_cases_and_no_other_language_knows_it():
    terms = Analyzer("tr")
    assert terms("IŞIK") == terms("ışık") != terms("işik") == terms("İŞİK")
    assert Analyzer("none")("IŞIK") == Analyzer("none")("işik")
    assert Analyzer("none")("İŞİK STRASSE") == Analyzer("none")("işik straße")


def test_a_word_whose_stem_is_empty_is_its_own_and_i_is_no_word_of_english():
    assert Analyzer("ne")("को") == ["को"]
    assert Analyzer("en")("I see") == Analyzer("en")("see")


def test_a_document_without_terms_moves_no_score_to_another():
    index = BM25.build(["", "foo", "...", "the", "quick fox", "!!!"])
    assert index.without_terms == 4
    assert index.scores("quick").nonzero()[0].tolist() == [4]
    assert not BM25.build(["...", ""]).scores("quick").any()


def warnings_for(texts, language, base, tmp_path):
    corpus = {f"d{number}": Doc(f"d{number}", text) for number, text in enumerate(texts)}
    return stage.index(corpus, base, tmp_path / "index", language=language, max_tokens=64)


@pytest.mark.parametrize("code", ["zh", "ja", "ko", "th", "hi", "ar", "el", "ru", "de"])
def test_a_language_that_bm25_does_not_stem_is_told_with_what_to_set(code, base, tmp_path):
    (warning,) = warnings_for([TEXTS[code]] * 3, "en", base, tmp_path)
    assert f"--set index.language={code}" in warning
    assert not warnings_for([TEXTS[code]] * 3, code, base, tmp_path / "right")
    assert not warnings_for([TEXTS[code]] * 3, "none", base, tmp_path / "none")


def test_documents_without_words_are_told(base, tmp_path):
    assert not warnings_for([doc.text for doc in DOCS[:6]], "en", base, tmp_path)
    (warning,) = warnings_for([*(doc.text for doc in DOCS[:6]), "...", "the"], "en", base, tmp_path / "blank")
    assert "no words in 2 of 8 documents" in warning


def test_a_chinese_character_is_as_long_as_three_letters():
    assert length_of("lava") == 4
    assert length_of("熔岩 lava") == 2 * 3 + 5
    assert length_of("ลาวา") == 4


def test_the_tables_of_characters_have_no_mark_and_no_punctuation_as_a_letter():
    assert words_of("·・，。๏") == []
    assert words_of("山川") == ["山", "川"]
    assert UNSPACED.count("-") >= 10


def test_bm25_never_imports_jax(tmp_path):
    (tmp_path / "jax").mkdir()
    (tmp_path / "jax" / "__init__.py").write_text("")
    (tmp_path / "jax" / "lax.py").write_text("raise SystemExit('jax was imported')")
    (tmp_path / "jax" / "lax.pyi").write_text("")
    code = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
from acclimate.search.bm25 import BM25
from acclimate.corpus.language import stop_words
assert BM25.build(["red fox", "dog"]).scores("fox")[0] > 0 and stop_words("de")
assert not any(name.partition(".")[0] == "jax" for name in sys.modules), "jax was imported"
import jax  # whoever else wants it gets it
"""
    subprocess.run([sys.executable, "-c", code], check=True)
