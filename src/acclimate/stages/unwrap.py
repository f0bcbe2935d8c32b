"""What LLMs wrap around a query, taken off from the outside in: reasoning, tokens of a chat template, fences, tags,
JSON, preambles, labels, numbers, quotes, explanations.

All of it is data. A rule is a pattern over the whole text whose group `query` is what it leaves; the first rule that
changes the text does so, and all are tried again, so wrappings within wrappings come off, and unwrapping twice is
unwrapping once. Every rule needs a mark of the wrapping: a query that is not wrapped comes back as it is.
"""

from __future__ import annotations

import itertools
import json
import re
from typing import Any

from acclimate.llm import reasoning

# A query by its name, before a colon: in the languages of many collections, and by what our own prompts ask for.
_NAMES = r"""
    (?:(?:relevant|search|good|bad|example|sample|user|possible|final|generated|suggested)\ )*
        (?:query|queries|question|questions|q|keywords?|key\ phrase|claim|title|request|answer|output|response)
    | assistant
    | search\ (?:terms?|words?|string|phrase) | someone\ asks
    | (?:such|beispiel)?(?:an)?frage | suchbegriffe? | suchbegriff
    | requête(?:\ de\ recherche)? | question | recherche | mots[- ]clés
    | (?:pregunta|consulta|búsqueda)(?:\ de\ búsqueda)? | palabras\ clave
    | domanda | interrogazione | ricerca | query\ di\ ricerca | parole\ chiave
    | pergunta | consulta | pesquisa | palavras[- ]chave
    | vraag | zoekopdracht | zoekvraag | zoekterm(?:en)?
    | fråga | sökfråga | spørsmål | spørgsmål | søgning | kysymys | hakulause
    | pytanie | zapytanie | otázka | dotaz | kérdés | întrebare | soru | sorgu | arama\ sorgusu
    | вопрос | (?:поисковый\ )?запрос | питання | (?:пошуковий\ )?запит | ερώτηση | ερώτημα
    | (?:سؤال|السؤال|استعلام|الاستعلام|استعلام\ البحث|سوال|پرسش) | שאלה | שאילתה
    | प्रश्न | सवाल | คำถาม | คำค้นหา | câu\ hỏi | truy\ vấn | pertanyaan | kueri
    | (?:搜索|搜尋|查询|查詢|检索|检索式|問題|问题|提问|关键词|關鍵詞|查询语句|搜索查询|搜索词)
    | (?:質問|検索|検索クエリ|検索語|検索ワード|クエリ|キーワード|問い) | (?:질문|검색어|검색\ 쿼리|쿼리|질의)
"""
_NAME = rf"(?:{_NAMES})(?:\s*\([^()\n]*\))?\s*(?:\#|no\.)?\s*\d*"
_TOKEN = r"""(?:<\|[\w▁ -]{2,30}\|> | <｜[^｜<>\n]{2,40}｜> | </?s> | </?(?:bos|eos|pad|unk)> | <(?:start|end)_of_turn>
    | \[/?INST\] | <</?SYS>> | \[(?:EOS|BOS|PAD|UNK|CLS|SEP)\])"""
_TAG = r"(?:search_?)?(?:query|queries|question)|claim|keywords?|title|(?:final_?)?answer|output|response|result|text"
_REMARK = r"""(?:(?:this|the|it|these)\ (?:\w+\ )?(?:query|queries|question|search)\b | it\ (?:asks|targets|captures)\b
    | (?:note|notes|explanation|rationale|reasoning|justification|answer|why)\ ?: | i\ hope\b | let\ me\ know\b
    | feel\ free\b | would\ you\ like\b)"""
_WANTED = r"(?:query|queries|question|questions|search\ terms?|keywords?|claim|title)"

_THOUGHT = r"(?:thoughts?|reasoning|rationale|explanation|thinking(?:\ process)?)"
_PREAMBLES = (  # what announces a query on its own line, in front of a colon; one that says nothing else is a reason
    rf"""(?:(?:sure|certainly|absolutely|great|of\ course|okay|ok|yes)\b(?:\ thing)?[,.!:]?\s*)?
        (?:here(?:['’]s|\ is|\ are|\ you\ (?:go|are))|the\ following\ (?:is|are)
        |(?:a|one)\ (?:relevant|possible|good|potential|suitable|suggested)\ {_WANTED}
        |(?:a|an|one|my|the|this|your)\ (?:\w+\ ){{0,3}}{_WANTED}\ (?:\w+\ ){{0,6}}(?:is|are|be)
        |(?:based\ on|for|given|after\ reading)\ (?:the|this)\ (?:document|text|passage|article)\b
        |i\ (?:would|could|['’]d|might)\ (?:search|ask|type|write|suggest))\b[^:?\n]*:""",
    r"(?:sure|certainly|absolutely|of\ course)\b(?:\ thing)?[,.!]*\s*[:!]",
    r"(?:hier\ (?:ist|sind)|voici|voilà|aquí\ (?:tienes|está|va|hay)|ecco|aqui\ (?:está|vai|estão)|hier\ is|вот"
    r"|eine\ mögliche|une\ possible|una\ posible|una\ possibile|uma\ possível)\b[^:：?\n]*[:：]",
    r"(?:好的[，,。]?\s*)?(?:以下|下面|这|這|一个|可能|次)[^：:？\n]{0,30}[：:] | 다음[^：:？\n]{0,30}[：:]",
    rf"\W*{_THOUGHT}\W{{0,3}}[:：][^\n]*(?:\n|\Z)",
    r"¡?(?:natürlich|gerne|bien\ sûr|claro|por\ supuesto|certo|конечно|当然|好的|もちろん(?:です)?)\s*[!！。]",
    r"[^\n]*[:：]\**[ \t]*\n",  # any line that ends in a colon, where there is another
)
_WRAPPINGS = (
    rf"(?:{_TOKEN}\s*)+(?:(?:assistant|model)[ \t]*\n)?(?P<query>.*)",
    r"(?:assistant|model)[ \t]*\n(?P<query>.*)",
    r"\\boxed\{(?P<query>.*)\}",
    r"(?P<query>.*?)(?:\\[nr])+",
    rf"(?!<s>)(?P<query>.*?)(?:(?<=\S){_TOKEN}.*|\s*{_TOKEN})",  # one that is glued on ends the text, whatever follows
    r"(?P<fence>`{3,}|~{3,})(?:[\w+-]*[ \t]*\n|(?:json|text)\b)?(?P<query>.*?)(?:(?P=fence).*)?",
    rf"<(?P<tag>{_TAG})\b[^<>\n]*>(?P<query>.*?)(?:</(?P=tag)\s*>.*)?",
    r"(?P<query>.*\S)\s*(?:`{3,}|~{3,})",
    r"[-*_=]{3,}[ \t]*\n(?P<query>.*)",
)
_AFTER_THE_FIRST_LINES = (
    rf"(?:\#{{1,6}}\s+)?\**(?:{_NAME})\**[ \t]*\n(?P<query>.*)",  # a label on a line of its own
    rf"[#>*_\s]*(?:{_NAME})[*_]*\s*[:：][*_]*(?P<query>.*)",
    rf"(?:the|a|one|my|your)\ (?:\w+\ ){{0,3}}{_WANTED}\ (?:\w+\ ){{0,6}}(?:is|be)\s+(?P<query>[\"“„«'‘].*)",
    r"[\"']?(?:search_)?query[\"']?\s*[=:→]\s*(?P<query>[\"'].*[\"']),?",
    r"(?:search\ )?query\s+[-–—→]+>?\s+(?P<query>.*)",
    r"\#{1,6}\s+(?!of\b)(?P<query>.*)",
    r"(?P<query>.*\S)\s+\#{2,6}",
    r"\(?1[.)]\s+(?P<query>\S.*?)\s+\(?2[.)]\s.*",  # several on one line
    r"(?:\(?\d{1,2}[.)]|\(?[a-h]\)|[-*•–>])\s+(?P<query>.*)",
    r"(?P<query>[^\n]*\S)\s*\n.*",
    rf"(?P<query>.*[.!?。！？])\s*[(\[*_-]*\s*{_REMARK}.*",
    rf"(?P<query>[\"“„«「].*[\"”“»」])\s*[(\[*_-]*\s*{_REMARK}.*",
    rf"(?P<query>.*\S)\s*[(\[]\s*{_REMARK}[^()\[\]]*[)\]]?",
    rf"(?P<query>.*?\S)\s+(?:[-–—]+)\s+{_REMARK}.*",
)


def _compiled(patterns: tuple[str, ...]) -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(pattern, re.IGNORECASE | re.DOTALL | re.VERBOSE) for pattern in patterns)


_PREAMBLE, _OUTER, _INNER = map(_compiled, (_PREAMBLES, _WRAPPINGS, _AFTER_THE_FIRST_LINES))
_LONGEST = 2000  # characters of an answer that are looked at; what wraps a query is far shorter
_QUOTES = "\"\" '' “” „“ „” ”” ‘’ ‚‘ «» »« ‹› ›‹ 「」 『』 ＂＂ `` &quot;&quot; **** **".split()
_JSON = re.compile(r"\{\s*[\"']|\[\s*[\"'{]")
_TEXT_IN_JSON = re.compile(
    r"""["'](?P<key>[\w ]+)["']\s*:\s*(?P<quote>["'])(?P<text>(?:\\.|(?!(?P=quote)).)*)""", re.DOTALL
)
_KEYS = (
    "search_query",
    "query",
    "queries",
    "question",
    "questions",
    "search",
    "claim",
    "keywords",
    "title",
    "text",
    "q",
)
_NO_QUERY = re.compile(
    r"thought|thinking|reason|rational|explan|analys|language|type|intent|id|document", re.IGNORECASE
)


def unwrapped(text: str) -> tuple[str, bool]:
    """The query in what an LLM wrote, and whether a preamble was in front of it."""
    begin, end = reasoning.answer_span(text)
    text, had_preamble = text[begin : min(end, begin + _LONGEST)], False
    while True:
        before, text = text, text.strip()
        if (found := _off(text, _OUTER)) is None and (found := _in_json(text)) is None:
            found = _behind(text, _PREAMBLE)
            had_preamble |= found is not None
        if found is None and (found := _off(text, _INNER)) is None:
            found = _in_quotes(text)
        text = text if found is None else found
        if text == before:
            return text, had_preamble


def _off(text: str, rules: tuple[re.Pattern[str], ...]) -> str | None:
    return next((match["query"] for rule in rules if (match := rule.fullmatch(text))), None)


def _behind(text: str, rules: tuple[re.Pattern[str], ...]) -> str | None:
    return next((text[match.end() :] for rule in rules if (match := rule.match(text))), None)


def _in_quotes(text: str) -> str | None:
    """What stands between a pair of quotes, and nothing else does; a last stop may stand behind them."""
    for pair, bare in itertools.product(_QUOTES, (text, text.rstrip(".,;"))):
        opening, closing = pair[: len(pair) // 2], pair[len(pair) // 2 :]
        inner = bare[len(opening) : -len(closing)]
        if f"{opening}{inner}{closing}" == bare and opening not in inner and closing not in inner:
            return inner
    return text[1:] if text[:1] in ('"', "“", "„", "«") and not set(text[1:]) & set('"“”„»') else None


def _in_json(text: str) -> str | None:
    """The first text in an answer that is JSON, or was meant to be: the one whose key calls it a query, if there is."""
    if not _JSON.match(text):
        return None
    try:
        value, end = json.JSONDecoder().raw_decode(text)
        if isinstance(value, dict) or not text[end:].partition("\n")[0].strip():  # else it only begins like JSON
            return _text_of(value)
    except RecursionError:
        return ""
    except ValueError:
        if found := {match["key"]: match["text"] for match in _TEXT_IN_JSON.finditer(text)}:
            return _text_of(found)
    return None


def _text_of(value: Any) -> str:
    """The first text in a value; "" where there is none."""
    if isinstance(value, dict):
        named = {str(key).casefold().replace(" ", "_"): part for key, part in value.items()}
        parts = [named[key] for key in _KEYS if key in named]
        parts += [part for key, part in named.items() if key not in _KEYS and not _NO_QUERY.search(key)]
    else:
        parts = value if isinstance(value, list) else []
    if isinstance(value, str):
        return value
    return next(filter(None, map(_text_of, parts)), "")
