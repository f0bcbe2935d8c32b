"""A table of answers as LLMs give them: good queries, wrapped ones, and what is no query."""

from __future__ import annotations

import json

DOC = "Dhows. A dhow is a sailing ship with one or two masts. They carried dates, fish and timber along the coast."
Q = "what is a dhow"

# Queries that need no cleaning: they come back as they are, and are kept.
GOOD = """
what is the K segment of DHN1?
3.5 inch floppy drive capacity
json.dumps indent
'a' vs "b" in shell quoting
"connection reset by peer" nginx
C++ std::vector<int>::push_back complexity
of course records: how to keep them
who is the author of dracula
who were the authors of the federalist papers
the author Ursula K. Le Guin biography
change the author of a git commit
meta tags for the author field in html
which authors wrote about the sea
how to save the document without losing the text
change the color of the text in css
extract links from the text file
the study of heat transfer in slip flow
the passage of the civil rights act
rites of passage in the amazon
northwest passage first crossing
the paragraph tag in html
find the root of a given function
get the current class name in python
current document encoding vim
what floats above paper lanterns
Above the Law summary
who sings Above and Beyond
bonds listed below investment grade
is it safe to swim below the falls
question answering over tables
search query parsing grammar
query planner in postgres
claim tax back for working from home
list of countries by area
here comes the sun chords
sure thing chords miguel
sorry sorry super junior lyrics
sorry i can't hear you in japanese
sorry i don't speak spanish
this code is already redeemed
this method is not defined in ruby
this program cannot be run in DOS mode
i'm sorry brenda lee release year
i cannot sleep at night what helps
none of the above meaning
let me down slowly lyrics
so what pink album
first user of email
model train scales
assistant manager salary
reasoning models compared
sql query = is not null
i can't find my phone
i don't have a passport how do i travel
i can't create a new user what now
kann ich das Visum verlängern
no puedo crear una cuenta
je ne peux pas me connecter
我无法登录账号
no text shown in a tkinter label
no document scanner found windows 11
how to use <div> and <span>
what does the <output> element do
difference between <s> and <del> in html
what does <|im_end|> mean in chat templates
what are <think> tags in deepseek
[Errno 2] No such file or directory
["a", "b"].join in javascript
{% block %} in jinja templates
# of users in a slack channel
#include <vector> not found
**kwargs in python
__init__ and __new__ in python
what is a 24"
6" pipe fittings
the "this" keyword in java
why is the sky blue?
2 factor authentication for github
1984 george orwell themes
7zip command line
x: y in python dictionaries
what is http://localhost:8000
ratio 16:9 in pixels
error: expected ';' before '}' token
note to self app
this american life episodes
these boots are made for walking singer
how do i cite this american life in apa
was ist eine Dhau?
Wo wurden Dhaus gebaut und womit beladen
qu'est-ce qu'un boutre ?
¿qué es un dhow?
¿Cuántos mástiles tiene un dhow?
che cos'è un sambuco
o que é um dhow
что такое доу
сколько мачт у доу?
什么是独桅帆船？
独桅帆船运送什么货物
ダウ船とは何ですか
『坊っちゃん』の主人公
《红楼梦》的作者是谁
다우선은 무엇인가요
ما هو الداو؟
מהי ספינת דאו
แดวคืออะไร
thuyền dhow là gì
dhow nedir ve nerede kullanılır
चाय कैसे बनाते हैं
dates, fish and timber
how many masts does a dhow have
as an AI engineer what should I learn
2. Bundesliga table
-v flag in docker
.NET Core 8 dependency injection
C# async await vs Task.Run
print("hello") syntax error
dict.get() default value
10 best ways to sail
the passage of time meaning
what does </s> mean in llama
[CLS] and [SEP] in bert
<|endoftext|> token id gpt2
<title> tag length
</think> tag missing in a template
<think> tag in deepseek
&nbsp; in html
$\\alpha$ decay formula
let me see lyrics usher
i need to write a cover letter
the user wants to uninstall chrome without admin rights
ok i need to lose weight
es tut mir leid auf englisch
je suis désolé traduction
üzgünüm ne demek
对不起 英文
对不起，我爱你 电视剧
抱歉 用日语怎么说
すみません、と言う 英語
申し訳ありませんが ビジネスメール 例文
죄송합니다 영어로
آسف بالانجليزي
这个：指示代词 用法
次の元素：周期表
다음 중 옳은 것: 문제 풀이
how to search "exact phrase"
int x; in c and what it means
""".strip().splitlines()

# What an LLM writes around a query.
WRAPPED = [
    # reasoning
    f"<think>The user wants one query, so short words are best.</think>\n\n{Q}",
    f"<think>\nThe user wants one query.\nAbout ships?\n</think>\n\n{Q}\n",
    f"<think>\n\n</think>\n\n{Q}",
    f"<think></think>{Q}",
    f"Okay, the user wants a query.\nMaybe a short one.\n</think>\n\n{Q}",
    f"Okay, the user wants a query.</think>\n{Q}",
    f"<thinking>Ships: ask for them</thinking>\n{Q}",
    f"<thought>one two three</thought>\nQuery: {Q}",
    f"<reasoning>It is about ships.</reasoning>\n<answer>{Q}</answer>",
    f"[THINK]ships, dates, fish[/THINK]{Q}",
    f"◁think▷ships◁/think▷{Q}",
    f"<|begin_of_thought|>ships<|end_of_thought|>\n{Q}",
    f"<|channel|>analysis<|message|>User wants a query.<|end|><|start|>assistant<|channel|>final<|message|>{Q}",
    f"<|channel|>final<|message|>{Q}<|return|>",
    f"<seed:think>hm</seed:think>{Q}",
    f'<think>a</think>\n<think>b</think>\n**Query:** "{Q}"',
    f"{Q}\n<think>was that right",
    # template tokens
    f"{Q}<|im_end|>",
    f"{Q}</s>",
    f"{Q} </s>",
    f"{Q}<|eot_id|>",
    f"{Q}<end_of_turn>",
    f"{Q}[/INST]",
    f"{Q} [/INST]",
    f"{Q}<|endoftext|>",
    f"{Q}<|end|>",
    f"{Q}<eos>",
    f"{Q}<｜end▁of▁sentence｜>",
    f"{Q}<|im_end|>\n<|im_start|>user\nDocument:",
    f"{Q}<|im_end|><|im_start|>user and more",
    f"<s>{Q}</s>",
    f"[/INST] {Q}",
    f"<|assistant|> {Q}",
    f"<s>[INST] {Q} [/INST]</s>",
    f'"{Q}"</s>',
    # JSON
    json.dumps({"query": Q}),
    json.dumps({"query": Q}, indent=2),
    json.dumps([Q, "where do dhows sail"]),
    json.dumps([{"query": Q, "type": "fact"}]),
    json.dumps({"queries": [Q, "where do dhows sail"]}),
    json.dumps({"queries": [{"text": Q}]}),
    json.dumps({"thought": "about ships", "search_query": Q}),
    json.dumps({"language": "en", "frage": Q}),
    json.dumps({"result": {"question": Q}}),
    f"```json\n{json.dumps({'query': Q})}\n```",
    f"```json\n{json.dumps({'query': Q}, indent=2)}\n```\nThis query asks for ships.",
    f"Here is the JSON:\n```json\n{json.dumps({'query': Q})}\n```",
    f"```json {json.dumps({'query': Q})} ```",
    f"{json.dumps({'query': Q})}<|im_end|>",
    "{'query': '" + Q + "'}",
    '{"query": "' + Q + '",}',
    f"{json.dumps({'query': Q})} I hope this helps!",
    # tags
    f"<query>{Q}</query>",
    f"<query>\n{Q}\n</query>",
    f"<search_query>{Q}</search_query>",
    f"<question>{Q}</question>\nThis asks for ships.",
    f"<query>{Q}",
    f'<query lang="en">{Q}</query>',
    f"Here is a query:\n<query>{Q}</query>",
    f"<output><query>{Q}</query></output>",
    # fences, headings, bold
    f"```\n{Q}\n```",
    f"```text\n{Q}\n```",
    f"~~~\n{Q}\n~~~",
    f"`{Q}`",
    f"# Query\n{Q}",
    f"## Search Query\n\n{Q}\n",
    f"### Query: {Q}",
    f"# {Q}",
    f"**Query**\n{Q}",
    f"**Query:** {Q}",
    f"**Query**: {Q}",
    f"*Query:* {Q}",
    f"__Query:__ {Q}",
    f"**{Q}**",
    f"*{Q}*",
    f"> {Q}",
    f"---\n{Q}\n---",
    f"**Search Query:**\n\n{Q}",
    f"**Query:**\n```\n{Q}\n```",
    # preambles
    f"Sure! Here is a relevant query: {Q}",
    f"Sure! Here's a search query:\n\n{Q}",
    f"Certainly! {Q}",
    f"Here you go: {Q}",
    f"Okay, here is one query for the document:\n{Q}",
    f'Here\'s one question: "1) {Q}"',
    f"The query is: {Q}",
    f'A possible query could be: "{Q}"',
    f"My search query would be: {Q}",
    f"Based on the document, one might search for: {Q}",
    f"I would search for: {Q}",
    f"Possible search:\n{Q}",
    f'Here is a query:\r\n\r\n"{Q}"\r\n',
    f"Hier ist eine Suchanfrage: {Q}",
    f"Voici une requête possible : « {Q} »",
    f"Aquí tienes una consulta: {Q}",
    f"Ecco una domanda: {Q}",
    f"Вот запрос: {Q}",
    f"以下是查询：{Q}",
    f"好的，以下是一个查询：\n{Q}",
    f"以下はクエリです：{Q}",
    # labels
    f"Query: {Q}",
    f"query 1: {Q}",
    f"Q: {Q}",
    f"Q1: {Q}",
    f"Question #1: {Q}",
    f"Query (English): {Q}",
    f"Search words: {Q}",
    f"Relevant Query: “{Q}”",
    f"Keywords: {Q}",
    f"Frage: {Q}",
    f"Suchanfrage: {Q}",
    f"Requête : {Q}",
    f"Question : {Q}",
    f"Pregunta: {Q}",
    f"Consulta de búsqueda: {Q}",
    f"Domanda: {Q}",
    f"Pergunta: {Q}",
    f"Vraag: {Q}",
    f"Fråga: {Q}",
    f"Pytanie: {Q}",
    f"Soru: {Q}",
    f"Вопрос: {Q}",
    f"Поисковый запрос: {Q}",
    f"问题：{Q}",
    f"問題：{Q}",
    f"查询：{Q}",
    f"質問：{Q}",
    f"検索クエリ：{Q}",
    f"질문: {Q}",
    f"سؤال: {Q}",
    f"الاستعلام: {Q}",
    f"שאלה: {Q}",
    f"प्रश्न: {Q}",
    f"Câu hỏi: {Q}",
    f"**Frage:** „{Q}“",
    # quotes
    f'"{Q}"',
    f"'{Q}'",
    f'"{Q}".',
    f"“{Q}”",
    f"„{Q}“",
    f"„{Q}”",
    f"«{Q}»",
    f"« {Q} »",
    f"»{Q}«",
    f"‚{Q}‘",
    f"‹{Q}›",
    f"「{Q}」",
    f"『{Q}』",
    f'"{Q}',
    f"**“{Q}”**",
    # several, and what follows
    f"1. {Q}\n2. where do dhows sail\n3. why",
    f"1. {Q} 2. where do dhows sail 3. why",
    f"1) {Q}\n2) where do dhows sail",
    f"(1) {Q}\n(2) where do dhows sail",
    f"- {Q}\n- where do dhows sail",
    f"• {Q}\n• where do dhows sail",
    f"a) {Q}\nb) where do dhows sail",
    f"Query 1: {Q}\nQuery 2: where do dhows sail",
    f"Here are three queries:\n\n1. **{Q}**\n2. where do dhows sail",
    f"{Q}\nwhere do dhows sail",
    f"{Q}\n\nThis query is short and does not copy the document.",
    f"{Q}\n\nExplanation: it is about ships.",
    f"{Q} (This query targets ships.)",
    f'"{Q}" - This query asks for ships.',
    f'"{Q}" This question can be answered by the document.',
    f"{Q}\n\n```",
    f"\n\n   {Q}   \n",
    f"<|im_start|>assistant\n{Q}<|im_end|>",
    f"<start_of_turn>model\n{Q}<end_of_turn>",
    f"assistant\n\n{Q}",
    f"Assistant: {Q}",
    f"Reasoning: the document is about ships.\nQuery: {Q}",
    f"**Thought:** It is about ships, so ask for them.\n\n**Query:** {Q}",
    f'The search query would be "{Q}".',
    f"A good query is “{Q}”",
    f'"query": "{Q}"',
    f'query = "{Q}"',
    f"Query - {Q}",
    f"Query → {Q}",
    f"{Q} ###",
    f"\\boxed{{{Q}}}",
    f"{Q}\\n",
    f"&quot;{Q}&quot;",
    f"¡Claro! Aquí tienes una consulta:\n\n{Q}",
    f"Natürlich! Hier ist eine Suchanfrage: {Q}",
    f"Bien sûr ! Voici une requête : {Q}",
    f"Конечно! Вот запрос: {Q}",
    f"当然！以下是一个搜索查询：\n\n{Q}",
    f"もちろんです。検索クエリ：「{Q}」",
    f"> **Query:** {Q}",
    # markup, tables, numbers, calls of tools
    f"- query: {Q}",
    f"query: |\n  {Q}",
    f"```yaml\nqueries:\n  - {Q}\n  - other one\n```",
    f"| Query |\n|---|\n| {Q} |",
    f"| # | Query |\n|---|---|\n| 1 | {Q} |",
    f"<q>{Q}</q>",
    f"<user_query>{Q}</user_query>",
    f"<p><b>{Q}</b></p>",
    f"<ul><li>{Q}</li><li>where do dhows sail</li></ul>",
    f"{Q}<br>where do dhows sail",
    f"[Query]: {Q}",
    f"[query]{Q}[/query]",
    f"【查询】{Q}",
    f"&lt;query&gt;{Q}&lt;/query&gt;",
    f"&ldquo;{Q}&rdquo;",
    f"$\\boxed{{\\text{{{Q}}}}}$",
    f"__{Q}__",
    f'"""\n{Q}\n"""',
    f"Q1. {Q}",
    f"[1] {Q}",
    f"1️⃣ {Q}",
    f"🔍 **{Q}**",
    f"{Q}; where do dhows sail; why do they",
    f"['{Q}']",
    f"{{'queries': ['{Q}', 'other one']}}",
    f'{{query: "{Q}"}}',
    json.dumps({"name": "search", "arguments": {"query": Q}}),
    f"<tool_call>\n{json.dumps({'name': 'search', 'arguments': {'query': Q}})}\n</tool_call>",
    f'search(query="{Q}")',
    # a query, and what is told of it
    f'Query: "{Q}"\n\nExplanation: it asks for ships.',
    f'Query: "{Q}" (asks for ships)',
    f'"{Q}" is a good query for the document.',
    f'Someone might search for "{Q}".',
    f"To find this document, someone might search for: {Q}",
    f"Based on the provided document, here is a query: {Q}",
    f"Got it. Here's a query: {Q}",
    f"So the query is: {Q}",
    f"I'd search: {Q}",
    f"Of course.\n{Q}",
    # reasoning and templates of more makers
    f"<|START_THINKING|>ships<|END_THINKING|><|START_RESPONSE|>{Q}<|END_RESPONSE|>",
    f"Thinking...\nships are\n...done thinking.\n\n{Q}",
    f'<think type="x">ships are</think>{Q}',
    f"[REASONING]ships[/REASONING]{Q}",
    f"Thinking: ships are.\n\nQuery: {Q}",
    f"思考：船。\n查询：{Q}",
    f"<|start_header_id|>assistant<|end_header_id|>\n\n{Q}<|eot_id|>",
    # labels and preambles in more languages
    f"用户查询：{Q}",
    f"根据文档，用户可能会搜索：{Q}",
    f"相关搜索查询：“{Q}”",
    f"関連する検索クエリ：{Q}",
    f"はい、検索クエリは「{Q}」です。",
    f"관련 검색어: {Q}",
    f"네, 검색어는 다음과 같습니다: {Q}",
    f"Возможный запрос: «{Q}»",
    f"Пример поискового запроса: {Q}",
    f"Consulta de búsqueda relevante: {Q}",
    f"Claro, aquí tienes: {Q}",
    f"بالتأكيد! إليك استعلام البحث: {Q}",
    f"खोज क्वेरी: {Q}",
    f"Eine passende Suchanfrage wäre: „{Q}“",
    f"Une requête pertinente serait : « {Q} »",
    f"Truy vấn tìm kiếm: {Q}",
]

# Answers that are no queries, and why.
BAD = [
    ("", "stop", "empty"),
    ("  ?!", "stop", "empty"),
    ("```\n```", "stop", "empty"),
    ("<query></query>", "stop", "empty"),
    ('{"query": ""}', "stop", "empty"),
    ('{"query": null}', "stop", "empty"),
    ("[]", "stop", "empty"),
    ("<|im_end|>", "stop", "empty"),
    ("</s>", "stop", "empty"),
    ("<think>The user wants a query", "length", "unfinished reasoning"),
    ("<think>The user wants a query\nabout ships, so", "stop", "unfinished reasoning"),
    ("<think>The user wants a query</think>", "stop", "unfinished reasoning"),
    ("[THINK]ships", "length", "unfinished reasoning"),
    ("<|channel|>analysis<|message|>User wants", "length", "unfinished reasoning"),
    ("", "reasoning", "unfinished reasoning"),
    ("Okay, the user wants a query for this text.", "stop", "unfinished reasoning"),
    ("Hmm, let me think about what people would ask", "length", "unfinished reasoning"),
    ("The user wants one search query", "stop", "unfinished reasoning"),
    ("We need to write one query that somebody might type", "stop", "unfinished reasoning"),
    ("Reasoning: the text is about ships.", "stop", "preamble"),
    ("", "context", "too long for the LLM"),
    ("", "error", "unusable answer"),
    ("what is a dh\ufffdw", "stop", "unusable answer"),  # of bytes that are no character
    ("Here are two questions that could be asked about it:", "stop", "preamble"),
    ("Sure! Here is a query:", "stop", "preamble"),
    ("what did the ships that sailed along", "length", "unfinished"),
    ("what did the ships that sailed along", "max_turns", "unfinished"),
    ('{"query": "what did the ships', "length", "unfinished"),
    ("what did the ships that sailed along", "content_filter", "refused"),
    ("I'm sorry, but I can't help with that.", "stop", "refused"),
    ("I’m sorry, I cannot assist with this request.", "stop", "refused"),
    ("Sorry, I can't provide a query for this document.", "stop", "refused"),
    ("I cannot generate a query from this text.", "stop", "refused"),
    ("I can't create content like that", "stop", "refused"),
    ("I am unable to write a query for this document", "stop", "refused"),
    ("As an AI language model, I cannot browse the web.", "stop", "refused"),
    ("Unfortunately, I cannot answer that", "stop", "refused"),
    ("Sorry, I can't go into that document", "stop", "refused"),
    ("Sorry, I can't find a query for it", "stop", "refused"),
    ("I apologize, but I am not able to help with this", "stop", "refused"),
    ("Please provide the document you want a query for.", "stop", "refused"),
    ("Could you please share the text of the document?", "stop", "refused"),
    ("There is no document provided.", "stop", "refused"),
    ("None", "stop", "refused"),
    ("No query.", "stop", "refused"),
    ("Es tut mir leid, aber dabei kann ich nicht helfen.", "stop", "refused"),
    ("Je suis désolé, mais je ne peux pas vous aider.", "stop", "refused"),
    ("Lo siento, pero no puedo ayudar con eso.", "stop", "refused"),
    ("Mi dispiace, ma non posso aiutarti.", "stop", "refused"),
    ("Desculpe, mas não posso ajudar com isso.", "stop", "refused"),
    ("Извините, но я не могу помочь с этим.", "stop", "refused"),
    ("对不起，我无法回答这个问题。", "stop", "refused"),
    ("抱歉，我不能提供帮助。", "stop", "refused"),
    ("申し訳ありませんが、お手伝いできません。", "stop", "refused"),
    ("죄송합니다. 도와드릴 수 없습니다.", "stop", "refused"),
    ("عذراً، لا أستطيع المساعدة في ذلك", "stop", "refused"),
    ("As an AI, I cannot browse the web", "stop", "refused"),
    ("As an AI developed by a company, I can't do that.", "stop", "refused"),
    ("对不起", "stop", "refused"),
    ("非常抱歉，这篇文档没有足够的内容", "stop", "refused"),
    ("すみません、その質問には回答できません。", "stop", "refused"),
    ("Es tut mir leid.", "stop", "refused"),
    ("Let me think.", "stop", "unfinished reasoning"),
    ("The user is asking for one search query", "stop", "unfinished reasoning"),
    ("Okay, so I need to come up with a query", "stop", "unfinished reasoning"),
    ("dhow", "stop", "too short"),
    ("1.0", "stop", "too short"),
    (" ".join(f"w{n}" for n in range(60)), "stop", "too long"),
    ("how to make a method to make a method to make a method", "stop", "repeated"),
    ("what what what is it", "stop", "repeated"),
    ("what does this passage say about dhows", "stop", "not self-contained"),
    ("what did the author find about ships", "stop", "not self-contained"),
    ("who is the author of the article", "stop", "not self-contained"),
    ("In this study, which ships were counted", "stop", "not self-contained"),
    ("what does this function return", "stop", "not self-contained"),
    ("this function is used to moor a dhow", "stop", "not self-contained"),
    ("how is this code already in use", "stop", "not self-contained"),
    ("what do these results show", "stop", "not self-contained"),
    ("what does the table above show", "stop", "not self-contained"),
    ("which of the following is a dhow", "stop", "not self-contained"),
    ("what does the following code print", "stop", "not self-contained"),
    ("according to the text, what is a dhow", "stop", "not self-contained"),
    ("what cargo is mentioned in the document", "stop", "not self-contained"),
    ("how were ships counted in the study", "stop", "not self-contained"),
    ("what is the main topic of the passage", "stop", "not self-contained"),
    ("what is the purpose of the document", "stop", "not self-contained"),
    ("what is a dhow in the given passage", "stop", "not self-contained"),
    ("what methods are described above", "stop", "not self-contained"),
    ("a dhow is a sailing ship with one or two masts", "stop", "echo"),
    ("They carried dates, FISH and timber along the coast", "stop", "echo"),
    ("Query: a dhow is a sailing ship with one or two masts", "stop", "echo"),
    ("why: they carried dates, fish and timber along the coast", "stop", "echo"),
]
