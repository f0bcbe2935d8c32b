"""The whole chain to the report in other languages than English: queries are kept, and BM25 finds with them."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest
from chain import tiny_models

import acclimate.llm
from acclimate.base.testing import FakeLLM
from acclimate.cli.main import main
from acclimate.records import Completion


@dataclass(frozen=True)
class Language:
    """A small collection: one document for each subject, a query that people ask, one that the LLM writes."""

    subjects: str  # as queries have them / as documents do
    document: str
    question: str
    written: str

    def __iter__(self):
        for number, pair in enumerate(self.subjects.split()):
            in_query, _, in_document = pair.partition("/")
            yield f"doc{number:02}", in_query, in_document or in_query


LANGUAGES = {
    "zh": Language(
        "火山 冰川 海啸 沙漠 季风 潮汐 彩虹 闪电 蜜蜂 章鱼 企鹅 骆驼 蝙蝠 鲑鱼 蜘蛛 面包 奶酪 咖啡 泡菜 茶",
        "在北方山区可以见到{}，当地居民详细记录了{}的来历和用途，每年都有许多学者前来研究它的变化规律。",
        "{}的来历",
        "哪里能见到{}",
    ),
    "de": Language(
        "Gletscher/Gletschern Vulkane/Vulkanen Wüsten/Wüste Monde/Monden Bienen/Biene Kamele/Kamelen Lachse/Lachsen "
        "Spinnen/Spinne Brote/Broten Käse/Käses Geigen/Geige Trompeten/Trompete Fahrräder/Fahrrädern Ballone/Ballonen "
        "Pyramiden/Pyramide Brücken/Brücke Kompasse/Kompassen Linsen/Linse Gewitter/Gewittern Höhlen/Höhle",
        "Von {} berichten die Bücher der alten Bibliothek, und die Gelehrten haben sich lange mit {} beschäftigt, weil "
        "sie für das Leben der Menschen in den Tälern wichtig sind.",
        "Was ist über {} bekannt?",
        "welche Bücher berichten über {}",
    ),
    "ar": Language(
        "نهر/النهر جبل/الجبل بحر/البحر قمر/القمر كتاب/الكتاب جسر/الجسر خبز/الخبز ملح/الملح قصر/القصر جمل/الجمل "
        "نحل/النحل ثلج/الثلج سوق/السوق حصن/الحصن باب/الباب سيف/السيف حصان/الحصان عسل/العسل ذهب/الذهب قطن/القطن",
        "كتب العلماء منذ زمن بعيد عن {} في كتب كثيرة، ويعرف الناس في المدينة القديمة قيمة {} وفائدته في حياتهم كل يوم.",
        "ما فائدة {}",
        "ماذا كتب العلماء عن {}",
    ),
}


class Writer(FakeLLM):
    """Asks about the subject that the document of its prompt names most often."""

    def __init__(self, language: Language) -> None:
        self.language = language

    def _answer(self, prompt: str) -> Completion:
        subject = max(self.language, key=lambda one: prompt.count(one[2]))[1]
        return Completion(self.language.written.format(subject), (-0.1, -0.2), 9, 5, "stop")


@pytest.mark.parametrize("code", LANGUAGES)
def test_the_whole_chain_reads_the_language(code, tiny_encoder, tmp_path, monkeypatch, capsys):
    language = LANGUAGES[code]
    monkeypatch.setattr(acclimate.llm, "load", lambda name, **_: Writer(language))
    corpus, out = tmp_path / "corpus", tmp_path / "run"
    (corpus / "qrels").mkdir(parents=True)
    with (
        (corpus / "corpus.jsonl").open("w", encoding="utf-8") as docs,
        (corpus / "queries.jsonl").open("w", encoding="utf-8") as queries,
    ):
        for doc_id, in_query, in_document in language:
            text = language.document.format(in_document, in_document)
            docs.write(json.dumps({"_id": doc_id, "text": text}, ensure_ascii=False) + "\n")
            queries.write(json.dumps({"_id": f"q{doc_id}", "text": language.question.format(in_query)}) + "\n")
    rows = "".join(f"q{doc_id}\t{doc_id}\t1\n" for doc_id, *_ in language)
    (corpus / "qrels" / "test.tsv").write_text(f"query-id\tcorpus-id\tscore\n{rows}")
    small = "index.max_tokens=48 mine.n_ways=3 train.max_tokens=48 train.epochs=1 label.n_ways=8 distill.epochs=1 "
    small += f"distill.student=dense-query evaluate.rerank_depth=3 generate.prompt=instruct index.language={code}"
    sets = [part for change in (*small.split(), *tiny_models(tiny_encoder)) for part in ("--set", change)]

    assert main(["adapt", str(corpus), "--out", str(out), *sets]) == 0

    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    stages = {stage["name"]: stage for stage in report["stages"]}
    assert stages["generate"]["out"] == stages["filter"]["out"] == stages["mine"]["out"] == 20
    measured = {system["name"]: system["measures"] for system in report["systems"]}
    assert measured["bm25"]["nDCG@10"] > 0.9
    assert not any("index.language" in warning for warning in report["warnings"])
    assert "warning: Most documents look like" not in capsys.readouterr().err
