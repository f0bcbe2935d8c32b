"""Remove what LLMs put around a query: reasoning, chat tokens, fences, tags, JSON, preambles, labels, quotes and the
like.

Rules are data: a pattern over the whole text, whose group `query` is what remains. The first rule that changes the text
is applied, then all are tried again, so nested wrappings are removed, and the result is a fixed point. Every rule needs
an explicit mark: an unwrapped query is returned as it is.
"""

from __future__ import annotations

import html
import itertools
import json
import re
from functools import cache
from typing import Any

from acclimate.llm.answers import reasoning

# A label of a query before a colon: nouns in the languages of many collections and of our own prompts, with words
# around them.
_AROUND = r"""
    (?:relevant|search|web|google|good|bad|example|sample|user(?:['’]s)?|possible|potential|final|generated|suggested
    |natural[ -]language|(?:short|long)(?:-tail)?|mögliche|relevante|passende
    |(?:de|di|der|do)\ (?:búsqueda|recherche|ricerca|pesquisa|busca)|de\ l['’]utilisateur|del\ usuario|dell['’]utente
    |do\ usuário|pertinente?|possible|posible|possibile|possível|(?:пример|возможный|релевантный|пользовательский)
    |поисков(?:ый|ого)|пользователя|खोज|tìm\ kiếm|pencarian|arama|البحث|بحث|관련|예시|사용자|가능한|검색)
"""
_NOUNS = r"""
    (?:query|queries|question|questions|q|keywords?|key\ phrase|claim|title|request|answer|output|response|result)
    | (?:search|query)\ (?:terms?|words?|string|text|phrase) | (?:google\ )?search(?:\ for)? | someone\ asks
    | assistant | user
    | (?:such|beispiel)?(?:an)?frage | suchbegriffe? | suchbegriff | antwort
    | requête | question | recherche | mots[- ]clés | réponse
    | pregunta | consulta | búsqueda | palabras\ clave | respuesta
    | domanda | interrogazione | ricerca | query\ di\ ricerca | parole\ chiave | risposta
    | pergunta | consulta | pesquisa | palavras[- ]chave | resposta
    | vraag | zoekopdracht | zoekvraag | zoekterm(?:en)? | antwoord
    | fråga | sökfråga | spørsmål | spørgsmål | søgning | kysymys | hakulause | svar
    | pytanie | zapytanie | odpowiedź | otázka | dotaz | kérdés | întrebare | soru | sorgu(?:su)?
    | вопрос | запроса? | ответ | питання | запит | пошуковий\ запит | ερώτηση | ερώτημα
    | سؤال | السؤال | استعلام | الاستعلام | سوال | پرسش | بحث | الإجابة | שאלה | שאילתה
    | प्रश्न | सवाल | क्वेरी | उत्तर | คำถาม | คำค้นหา | ข้อความค้นหา | câu\ hỏi | truy\ vấn | pertanyaan | kueri
    | (?:用户|可能|相关|相關|生成|示例|搜索|搜尋|查询|查詢|检索|検索|関連する|ユーザー|的|の)*
      (?:搜索|搜尋|查询|查詢|检索|检索式|問題|问题|提问|关键词|關鍵詞|语句|搜索词|检索词|答案|回答|输出
      |问|問|答|質問文?|検索文?|クエリ|検索語|ワード|キーワード|問い|答え)
    | 질문 | 검색어 | 쿼리 | 질의 | 답변
"""
_NAMES = rf"(?:{_AROUND}[ ])*(?:{_NOUNS})(?:[ ]{_AROUND})*"
_NAME = rf"(?:{_NAMES})(?:\s*\([^()\n]*\))?\s*(?:\#|no\.)?\s*\d*"
_TOKEN = r"""(?:<\|[\w▁ -]{2,30}\|> | <｜[^｜<>\n]{2,40}｜> | </?s> | </?(?:bos|eos|pad|unk)> | <(?:start|end)_of_turn>
    | <EOS_TOKEN> | <end_of_utterance> | <0x0A> | \[/?INST\] | <</?SYS>> | \[(?:EOS|BOS|PAD|UNK|CLS|SEP)\])"""
_TAG = r"""(?:\w+_?)?(?:query|queries|question)|q|search|claim|keywords?|title|(?:final_?)?answer|final|output|response
    |result|text|example|tool_call|li|p"""
_REMARK = r"""(?:(?:this|the|it|these)\ (?:\w+\ )?(?:query|queries|question|search)\b | it\ (?:asks|targets|captures)\b
    | (?:note|notes|explanation|rationale|reasoning|justification|answer|why)\ ?: | i\ hope\b | let\ me\ know\b
    | feel\ free\b | would\ you\ like\b)"""
_QUERY_NOUN = r"(?:query|queries|question|questions|search\ terms?|keywords?|claim|title)"

_THOUGHT = r"(?:thoughts?|reasoning|rationale|explanation|thinking(?:\ process)?)"
_ASIAN = "查询|查詢|搜索|搜尋|检索|问题|問題|关键词|句子|クエリ|検索|質問|通り|とおり|질문|검색|쿼리|같습니다"
_SOMEONE = r"""(?:i['’]d|(?:i|one|you|someone|somebody|people|users|(?:an?|the)\ (?:user|person|searcher))
    \ (?:would|could|might|may|can))"""
_PREAMBLES = (  # announcements of a query on a line of their own, before a colon; alone they are a reason to reject
    rf"""(?:(?:sure|certainly|absolutely|great|of\ course|okay|ok|yes|alright|got\ it|understood|so|therefore|thus)\b
        (?:\ thing)?[,.!:]?\s*)?(?:(?:based\ on|given)\ the\ [^,:?\n]*,\s*)?
        (?:here(?:['’]s|\ is|\ are|\ you\ (?:go|are))|the\ following\ (?:is|are)
        |(?:a|one)\ (?:relevant|possible|good|potential|suitable|suggested)\ {_QUERY_NOUN}
        |(?:a|an|one|my|the|this|your)\ (?:\w+\ ){{0,3}}{_QUERY_NOUN}\ (?:\w+\ ){{0,6}}(?:is|are|be)
        |(?:based\ on|for|given|after\ reading|to\ find)\ (?:the|this)\ (?:\w+\ )?(?:document|text|passage|article)\b
        |{_SOMEONE}\ (?:search|ask|type|write|suggest))\b(?:[^:?\n\"]|\"[^\"\n]*\")*:""",
    r"(?:sure|certainly|absolutely|of\ course|okay|understood)\b(?:\ thing)?[,.!]*\s*(?:[:!]|(?<=\.)\s*\n)",
    r"(?:try\ this|how\ about(?:\ this)?|as\ requested)\s*:",
    r"(?:claro,\ |ja,\ |oui,\ )?"
    r"(?:hier\ (?:ist|sind)|voici|voilà|aquí\ (?:tienes|está|va|hay)|ecco|aqui\ (?:está|vai|estão)"
    r"|hier\ is|вот|eine\ (?:mögliche|passende|relevante)\ (?:such)?(?:an)?frage|une\ (?:possible\ )?requête"
    r"|una\ (?:posible\ )?consulta|una\ possibile|uma\ possível|إليك|यहाँ)(?!\w)[^:：?\n]*[:：]",
    rf"(?:好的[，,。]?\s*|네,\s*|はい、)?(?:以下|下面|这|這|一个|可能|根据|用户|次|다음|검색어)[^：:？\n]{{0,30}}"
    rf"(?:{_ASIAN})[^：:？\n]{{0,8}}[：:]",
    rf"\W*{_THOUGHT}\W{{0,3}}[:：][^\n]*(?:\n|\Z)",
    r"¡?(?:natürlich|gerne|bien\ sûr|claro|por\ supuesto|certo|конечно|بالتأكيد|当然|好的|もちろん(?:です)?)\s*[!！。]",
    r"[^\n]*[:：]\**[ \t]*\n",  # any line ending in a colon, if another follows
)
_WRAPPINGS = (
    rf"(?:{_TOKEN}{reasoning.SPOKEN_OF}\s*)+(?:(?:assistant|model)(?:[ \t]*\n|{_TOKEN}))?(?P<query>.*)",
    r"(?:assistant|model)[ \t]*\n(?P<query>.*)",
    r"(?:\$+|\\[(\[])\s*(?P<query>\\(?:boxed|text)\b.*?)\s*(?:\$+|\\[)\]])",
    r"\\(?:boxed|text(?:bf|it|rm)?)\{(?P<query>.*)\}",
    r"(?P<query>.*?)(?:\\[nr])+",
    rf"(?!<s>)(?P<query>.*?)(?:(?<=\S){_TOKEN}.*|\s*{_TOKEN})",  # attached to a word, it ends the text
    r"(?:[|>]-?|\|[^\n]*\|[ \t]*\n[ \t]*\|[-:|\s]+\|)[ \t]*\n(?P<query>.*)",  # in YAML; in a table
    r"(?P<fence>`{3,}|~{3,}|\"{3})(?:[\w+-]*[ \t]*\n|(?:json|text)\b)?(?P<query>.*?)(?:(?P=fence).*)?",
    r"(?P<query>[^<>]*[^<>\s])\s*</(?:\w*query|\w*question|(?:final_?)?answer|response)\s*>\s*",
    r"\{\{(?P<query>\s*[\"'].*)\}\}",
    r"\{\s*(?:search_)?query\s*:\s*(?P<query>[^{}\"'\n]*)\}",
    r"json\s*\n\s*(?P<query>[{\[].*)",
    rf"<(?P<tag>{_TAG})\b[^<>\n]*>{reasoning.SPOKEN_OF}(?P<query>.*?)(?:</(?P=tag)\s*>.*)?",
    r"<(?P<tag>[a-z][\w-]*)\b[^<>\n]*>(?P<query>.*)</(?P=tag)\s*>",
    r"[\[【](?P<tag>query|question|查询|搜索|问题|質問|検索)[\]】]\s*[:：]?(?P<query>.*?)(?:\[/(?P=tag)\].*)?",
    r"(?P<query>.*?(?<=[^\s<>]))<br\s*/?>.*",
    r"(?P<query>.*\S)\s*(?:`{3,}|~{3,})",
    r"[-*_=]{3,}[ \t]*\n(?P<query>.*)",
)
_AFTER_THE_FIRST_LINES = (
    rf"(?:\#{{1,6}}\s+)?\**(?:{_NAME})\**[ \t]*\n(?P<query>.*)",  # a label on its own line
    rf"[#>*_\s]*(?:{_NAME})[*_]*\s*[:：][*_]*(?P<query>.*)",
    r"[【\[]?(?:思考|分析)[】\]]?[:：]?[^\n]*\n(?P<query>.*)",
    rf"(?:the|a|one|my|your)\ (?:\w+\ ){{0,3}}{_QUERY_NOUN}\ (?:\w+\ ){{0,6}}(?:is|be)\s+(?P<query>[\"“„«'‘].*)",
    r"[\"']?(?:search_)?query[\"']?\s*[=:→]\s*(?P<query>[\"'].*[\"']),?",
    r"(?:search\ )?query\s+(?:\#?\d+\s+)?[-–—→]+>?\s+(?P<query>.*)",
    r"\[+(?P<query>(?:[^\[\]\"'\s]+\ ){2,}[^\[\]\"'\s]+)\]+",
    r"\#{1,6}\s+(?!of\b)(?P<query>.*)",
    r"(?P<query>.*\S)\s+\#{2,6}",
    r"\(?1[.)]\s+(?P<query>\S.*?)\s+\(?2[.)]\s.*",  # several on one line
    r"q\d+[.)]\s+(?P<query>\S.*)",
    r"(?:\(?1(?:[.)]|\.\)|\ufe0f?\u20e3)|\*\*1\.\*\*|\[1\]|①|\(?a\)|[-+*•●○◦▪‣·–»➤►▶→🔍🔎👉✅]\ufe0f?|>{1,3})\s+(?P<query>.*)",
    r"(?P<query>[^;\n]*[\w?]);\s*\n.*",
    r"(?P<query>[^;\n]+\ [^;\n]+);(?:\ [^;\n]+\ [^;\n]+;.*|(?<=\?;)\s.*)",  # several queries or questions
    r"(?P<query>[^\n]*\S)\s*\n.*",
    rf"(?P<query>.*[.!?。！？])\s*[(\[*_-]*\s*{_REMARK}.*",
    rf"(?P<query>[\"“„«「].*[\"”“»」])\s*[(\[*_-]*\s*{_REMARK}.*",
    rf"(?P<query>[\"“„«「][^\"“”„«»\n]*[\"”“»」])\s+(?:\([^()]*\)|(?:is|would\ be|could\ be)\ an?\ "
    rf"(?:good|relevant|possible|potential|suitable|likely|\w+\ search)\b.*|[-–—]+\ an?\ (?:\w+\ )?{_QUERY_NOUN}\b.*)",
    rf"(?:to\ find\b[^,\n]*,\s*)?{_SOMEONE}\ (?:search|ask|type|query)\b[^\"“\n]*(?P<query>[\"“][^\"“”\n]*[\"”])"
    r"(?:\ to\ [^\n\"“]*)?\W*",
    r"(?:はい、)?[^「」\n]*(?:クエリ|検索|質問)[^「」\n]*は(?P<query>「[^「」]*」)です。?",
    r"\[(?P<query>'(?:[^'\n]|(?<=\w)'(?=\w))*')(?:,.*)?\]",
    r"(?:search|query|print)\((?:query=)?(?P<query>[\"'].*[\"'])\)",
    r"(?P<query>.*\S)\s*<!--.*-->",
    r"<!--[^<>]*-->(?P<query>.*)",
    r"\|(?:\s*\d+\s*\|)?\s*(?P<query>[^|\n]*[^|\s])\s*\|.*",
    rf"(?P<query>.*\S)\s*[(\[]\s*{_REMARK}[^()\[\]]*[)\]]?",
    rf"(?P<query>.*?\S)\s+(?:[-–—]+)\s+{_REMARK}.*",
)


_LONGEST = 2000  # characters of an answer that are examined
_QUOTES = "\"\"\"\" '''''' ``'' \"\" '' “” „“ „” ”” ‘’ ‚‘ «» »« ‹› ›‹".split()
_QUOTES += "「」 『』 【】 ＂＂ `` **** ** ____ __ ~~~~ ====".split()
_ESCAPED = re.compile(
    r"&(?:lt|quot|apos|[lrb]?[ds]?quo|laquo|#\d+|#x[\da-f]+);.*&[\w#]+;\W?", re.IGNORECASE | re.DOTALL
)
_APOSTROPHE = re.compile(r"(?<=\w)['’](?=\w)")
_JSON = re.compile(r"\{\s*[\"'\w]|\[\s*[\"'{]")
_TEXT_IN_JSON = re.compile(
    r"""["']?\b(?P<key>[\w ]+)["']?\s*:\s*\[?\s*(?P<quote>["'])(?P<text>(?:\\.|(?!(?P=quote)(?!\w)).)*)""", re.DOTALL
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
    "arguments",
    "parameters",
)
_NO_QUERY = re.compile(
    r"thought|thinking|reason|rational|explan|analys|language|type|intent|id|document|name|function|tool", re.IGNORECASE
)


def unwrap(text: str) -> tuple[str, bool]:
    """(the query in an LLM's answer, whether a preamble preceded it)."""
    begin, end = reasoning.answer_span(text)
    text, had_preamble = text[begin : min(end, begin + _LONGEST)], False
    while True:
        before, text = text, text.strip()
        if (inner := _unwrapped_by(text, _WRAPPINGS)) is None and (inner := _in_json(text)) is None:
            inner = _after_preamble(text, _PREAMBLES)
            had_preamble |= inner is not None
        if inner is None and _ESCAPED.fullmatch(text):
            inner = html.unescape(text)
        if inner is None and (inner := _unwrapped_by(text, _AFTER_THE_FIRST_LINES)) is None:
            inner = _in_quotes(text)
        text = text if inner is None else inner
        if text == before:
            return text, had_preamble


@cache
def _compiled(patterns: tuple[str, ...]) -> tuple[re.Pattern[str], ...]:
    """Compile on first use, which takes a quarter of a second."""
    return tuple(re.compile(pattern, re.IGNORECASE | re.DOTALL | re.VERBOSE) for pattern in patterns)


def _unwrapped_by(text: str, patterns: tuple[str, ...]) -> str | None:
    return next((match["query"] for rule in _compiled(patterns) if (match := rule.fullmatch(text))), None)


def _after_preamble(text: str, patterns: tuple[str, ...]) -> str | None:
    return next((text[match.end() :] for rule in _compiled(patterns) if (match := rule.match(text))), None)


def _in_quotes(text: str) -> str | None:
    """The text between a pair of quotes around the whole, possibly with a final stop after them."""
    for pair, bare in itertools.product(_QUOTES, (text, text.rstrip(".,;"))):
        opening, closing = pair[: len(pair) // 2], pair[len(pair) // 2 :]
        inner = bare[len(opening) : -len(closing)]
        plain = _APOSTROPHE.sub("", inner)
        if f"{opening}{inner}{closing}" == bare and opening not in plain and closing not in plain:
            return inner
    return text[1:] if text[:1] in ('"', "“", "„", "«") and not set(text[1:]) & set('"“”„»') else None


def _in_json(text: str) -> str | None:
    """The query in an answer that is JSON, possibly broken: the value of a key for queries, else the first text."""
    if not _JSON.match(text):
        return None
    try:
        value, end = json.JSONDecoder().raw_decode(text)
        if isinstance(value, dict) or not text[end:].partition("\n")[0].strip():  # otherwise it only begins like JSON
            return _text_of(value)
    except RecursionError:
        return ""
    except ValueError:
        if texts := {match["key"]: match["text"] for match in _TEXT_IN_JSON.finditer(text)}:
            return _text_of(texts)
    return None


def _text_of(value: Any) -> str:
    """The first text in a value; "" if none."""
    if isinstance(value, dict):
        named = {str(key).casefold().replace(" ", "_"): part for key, part in value.items()}
        parts = [named[key] for key in _KEYS if key in named]
        parts += [part for key, part in named.items() if key not in _KEYS and not _NO_QUERY.search(key)]
    else:
        parts = value if isinstance(value, list) else []
    if isinstance(value, str):
        return value
    return next(filter(None, map(_text_of, parts)), "")
