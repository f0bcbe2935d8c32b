"""A table of LLM answers: good queries, and answers that are none, with their reasons."""

from __future__ import annotations

DOC = "Dhows. A dhow is a sailing ship with one or two masts. They carried dates, fish and timber along the coast."
Q = "what is a dhow"

# Queries that need no cleaning: returned unchanged.
GOOD = """
what is the K segment of DHN1?
3.5 inch floppy drive capacity
json.dumps indent
[object Object]
analysisService injection angular
{{ csrf_token }} django
what does </p> mean
closing tag </answer> in xml
try this at home
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


# Answers that are not queries, with the rejection reason.
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
    ("what is a dh\ufffdw", "stop", "unusable answer"),  # an undecodable byte
    ("what is a dh\ufffdw", "length", "unusable answer"),
    ("仙台の味噌は大豆に\ufffd", "length", "unfinished"),  # within a character of several tokens
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
