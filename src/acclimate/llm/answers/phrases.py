"""Phrases that identify answers which are not queries: apologies, thinking aloud, references to the document."""

from __future__ import annotations

import re

# Refusals, by how they begin. People write similar queries ("I can't find my phone"), so without an apology the refused
# act must be the task, and not something that only people cannot do.
APOLOGY = re.compile(
    r"""
    (?:(?:i|we)['’\ ]?(?:a?m|a?re)\ (?:\w+\ )?sorry|sorry|i\ apologi[sz]e|(?:my\ )?apologies|unfortunately)
        [,.!]?\s*(?:but\ )?(?:as\ an\ ai\b[^,]*,\ )?
        (?:i|we)(?:\ (?:can['’]?t|cannot|can\ not|won['’]?t|will\ not|do\ not|don['’]?t|must\ decline)
        |['’]?\ ?(?:a?m|a?re)\ (?:not\ able|unable)\ to)\b
        (?!\ (?:hear|see\ you|come|go|make\ it|be\ there|sleep|wait|stop|stay|talk|speak|love|forget|remember)\b
            (?!.*\b(?:quer(?:y|ies)|questions?|documents?|texts?|passages?|requests?|content)\b))
    | (?:i|we)(?:\ (?:can['’]?t|cannot|can\ not|won['’]?t|will\ not)|['’]?\ ?(?:a?m|a?re)\ (?:not\ able|unable)\ to)\s
        (?:help|assist|comply|fulfil|engage|provide|generate|create|write|answer|discuss)\w*\ (?:you\ )?(?:with\ )?
        (?:\w+\ ){0,2}(?:that|this|these|quer(?:y|ies)|questions?|content|requests?|information)\b
    | as\ an?\ (?:(?:ai|artificial\ intelligence|(?:large\ )?language\ model|assistant|chatbot|system)\s?)+
        (?:[\w\ ]*,|\b(?:i|we)\b)
    | (?:please|(?:could|can)\ you(?:\ please)?)\ (?:provide|share|paste|give\ me)\ (?:me\ with\ )?(?:the|a|your|more)\b
        [^?]*\b(?:document|text|passage|article|content|context)
    | (?:there\ is\ no|no)\ (?:document|text|passage)\ (?:was\ |is\ )?(?:provided|given)\W*$
    | (?:no\ (?:relevant\ )?(?:query|question)|none|n/a|not\ applicable|null)\W*$
    | es\ tut\ mir\ (?:sehr\ )?leid(?:[,.!]|\W*$) | leider\ kann\ ich\b
    | je\ suis\ (?:vraiment\ )?désolée?(?:[,.!]|\W*$|\ mais\b) | désolée?,\ (?:mais\ )?je\b
    | je\ ne\ peux\ pas\ (?:vous\ aider|t['’]aider|générer)
    | lo\ siento,?\ (?:pero|no)\b | no\ puedo\ (?:ayudarte|ayudarle|ayudar\ con|generar\ una)
    | mi\ dispiace,?\ (?:ma|non)\b | non\ posso\ (?:aiutarti|aiutarla|generare\ una)
    | (?:desculpe|sinto\ muito|lamento),?\ (?:mas|não)\b | não\ posso\ (?:ajudar|gerar\ uma)
    | (?:het\ )?spijt\ me\b | (?:jag\ är\ )?(?:tyvärr|ledsen)[,\ ]+(?:kan|men)\b
    | przykro\ mi,?\ ale\b | üzgünüm(?:[,.!]|\W*$)
    | (?:извините|простите),?\ (?:но\ )?я\b | к\ сожалению,?\ я\b | я\ не\ могу\ помочь
    | (?:عذر[اًا]+|(?:أنا\ )?آسف)(?:[،,.]|\W*$|.*(?:لا\ أستطيع|لا\ يمكنني))
    | (?:很|非常)?(?:抱歉|对不起|對不起)(?:[，,。！\s].*(?:无法|無法|不能|没有|沒有)|[。！]?$)
    | 我(?:无法|不能|無法)(?:提供|回答|生成)(?!.*怎么办)
    | (?:申し訳(?:ありません|ございません|ない)|(?:すみません|ごめんなさい)[がけ、,。])
        (?:.*(?:できません|ません|できない)|。?$)
    | 죄송(?:합니다|하지만)(?:[.,!]|\W*$|.*(?:없습니다|어렵습니다))
    """,
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)

# Thinking aloud without any mark.
THOUGHT = re.compile(
    r"""
    (?:okay|ok|alright|hmm+|so|well|first)\b[,.…]*\s*(?:so\b,?\s*)?
        (?:the\ user\b|(?:i\ (?:need|should|have)\ to|i\ should|let\ me|we\ need\ to)\b
        .*\b(?:quer(?:y|ies)|questions?|search|document|passage|text|user|people|someone|think)\b
        |let['’]s\ (?:see|think))
    | the\ user\ (?:wants|asks|asked|is\ asking|needs|has\ (?:provided|given|asked))\b
        .*\b(?:quer(?:y|ies)|questions?|search|document|passage|text)\b
    | (?:we|i)\ (?:need|have)\ to\ (?:write|create|generate|produce|come\ up)\b
        .*\b(?:quer(?:y|ies)|questions?|title|claim)\b
    | let\ me\ (?:think|see|look\ at|start\ by)\b
        (?:\W*$|[.,:…]|.*\b(?:quer(?:y|ies)|question|document|passage|text|user)\b)
    """,
    re.IGNORECASE | re.VERBOSE,
)

_TEXT_NOUN = r"(?:passage|document|text|article|paper|study|studies|abstract|paragraph|excerpt|section|report)s?"
_CODE_NOUN = r"(?:author|result|function|method|class|module|code|example|program)(?:s|es)?"
_ASPECT_OF = (
    r"(?:purpose|topic|subject|theme|focus|title|authors?|goal|aim|findings?|conclusions?|summary|idea|point) of"
)
_STATED_IN = r"(?:mentioned|described|discussed|presented|reported|stated|used)(?: \w+)? (?:in|by)"
_AT_END = r"(?=\W*$|[,;:?])"
# Messages of programs, as people search for them: "this code is already redeemed" does not refer to the document.
ERROR_MESSAGE = re.compile(
    rf"this {_CODE_NOUN} (?:"
    r"(?:is|was|has|has been) (?:already|not|no longer|currently|invalid|expired|disabled|deprecated|blocked)"
    r"|(?:can ?not|can['’]t|could not|couldn['’]t) be|(?:does not|doesn['’]t) (?:exist|work)|has (?:expired|stopped)"
    r")\b",
    re.IGNORECASE,
)
NEEDS_THE_DOC = re.compile(
    r"\b(?:"
    rf"(?:this|these|the above|the following|following) (?:{_TEXT_NOUN}|{_CODE_NOUN})"
    r"|(?:the|in) (?:given|present|current|provided) (?:passage|text|article|paper|study|abstract|paragraph|excerpt)s?"
    r"|which of the following"
    r"|the (?:table|figure|example|code|text|passage|list|section|diagram|excerpt|statement)s? (?:above|below)"
    r"|the (?:passage(?! (?:of|to|through|from|between)\b)|excerpt|paragraph(?! (?:tag|element|style|mark|sign)\b))"
    rf"|(?:according to|{_STATED_IN}|{_ASPECT_OF}) the {_TEXT_NOUN}(?! (?:of|file|editor|node|object|property)\b)"
    r"|(?:in|of|by|from) the (?:article|paper|study|abstract)(?! (?:of|clip|tray|size|about|on)\b)"
    rf"|(?:in|of|by|from) the (?:text|document|report){_AT_END}"
    rf"|(?:mentioned|described|discussed|presented|listed|shown) (?:above|below|here){_AT_END}"
    # Incomplete, unless an object or a name follows.
    r"|the authors?(?! (?:of|field|tag|name|element|attribute)\b)(?! (?-i:[A-Z]))"
    r")\b",
    re.IGNORECASE,
)
