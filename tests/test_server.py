"""LLMs behind servers: what is asked, what is read from an answer, and what a server is named by."""

from __future__ import annotations

import pytest

pytest.importorskip("openai", reason="the openai extra is not installed")

from serving import HASTY, PROMPTS, chat, echo, error, model, serving

from acclimate.base.errors import SettingError
from acclimate.llm import Decoding, check, load
from acclimate.llm.backends.server import ServerLLM
from acclimate.llm.completions import Completions
from acclimate.llm.protocol import StreamingLLM

pytestmark = pytest.mark.usefixtures("short_waits")


def test_log_probabilities_are_those_of_the_query_alone():
    tokens = [("\n", -9.0), ("what", -0.5), (" now", -0.25), ("\n", -3.0), ("more", -4.0)]
    with serving(lambda request, nth: chat("\nwhat now\nmore", logprobs=tokens)) as server:
        (found,) = model(server).complete(PROMPTS[:1])
        assert found == ("what now", (-0.5, -0.25), 9, 3, "stop")
        assert server.requests[0]["logprobs"] is True


def test_a_server_without_log_probabilities_is_asked_without():
    def reply(request, nth):
        return error(400, "logprobs are not supported") if "logprobs" in request else echo(request)

    with serving(reply) as server:
        one = model(server, concurrency=1)
        assert [found.logprobs for found in one.complete(PROMPTS[:3])] == [(), (), ()]
        assert len(server.requests) == 4


def test_a_server_that_wants_another_name_for_the_limit_gets_it():
    def reply(request, nth):
        return error(400, "use max_completion_tokens instead") if "max_tokens" in request else echo(request)

    with serving(reply) as server:
        model(server, max_new_tokens=7).complete(PROMPTS[:1])
        assert server.requests[-1]["max_completion_tokens"] == 7


@pytest.mark.parametrize(
    ("text", "finish", "query", "why"),
    [
        ("Here is a query:\n\nwhat now", "stop", "Here is a query:\n\nwhat now", "stop"),
        ("what now, and then", "length", "what now, and then", "length"),
        ("what now\nand then", "length", "what now", "stop"),
        (None, "content_filter", "", "content_filter"),
        ("", "stop", "", "stop"),
    ],
)
def test_what_a_chat_says_becomes_one_line(text, finish, query, why):
    with serving(lambda request, nth: chat(text, finish)) as server:
        (found,) = model(server).complete(PROMPTS[:1])
        assert (found.text, found.finish_reason) == (query, why)


def test_a_remark_beside_an_answer_is_no_error():
    with serving(lambda request, nth: {**echo(request), "msg": "ok", "detail": "cached"}) as server:
        assert model(server).complete(PROMPTS[:1])[0].text == "what is number 0"
        assert len(server.requests) == 1


def test_text_completion_sends_the_prompt_as_it_is_and_its_stops():
    def reply(request, nth):
        token_logprobs = {"tokens": [" what", " now", "\n"], "token_logprobs": [-1.0, None, -2.0]}
        choice = {"index": 0, "text": " what now\nQ", "finish_reason": "stop", "logprobs": token_logprobs}
        return {"choices": [choice], "usage": None}

    with serving(reply) as server:
        one = ServerLLM(f"openai-completions:tiny@{server.url}", patience=HASTY)
        (found,) = one.complete(PROMPTS[:1])
        assert (found.text, found.logprobs) == (" what now", ())  # not of all of its tokens
        assert found.prompt_tokens > 0
        assert server.paths == ["/v1/completions"]
        assert server.requests[0]["prompt"] == PROMPTS[0]
        assert server.requests[0]["stop"] == ["\n"]
        one.decoding_as(Decoding(5, stop=tuple("abcdef"))).complete(PROMPTS[:1])
        assert server.requests[1]["stop"] == [*"abcd"]  # the API takes no more


def test_a_seed_for_each_prompt_when_sampling_and_none_else():
    with serving() as server:
        model(server, temperature=0.7, seed=3).complete(PROMPTS[:3])
        model(server, temperature=0.7, seed=3).complete(PROMPTS[2::-1])
        model(server).complete(PROMPTS[:1])
        by_prompt = {}
        for request in server.requests[:6]:
            by_prompt.setdefault(request["messages"][0]["content"], set()).add(request["seed"])
        assert [len(seeds) for seeds in by_prompt.values()] == [1, 1, 1]
        assert len(set.union(*by_prompt.values())) == 3
        assert "seed" not in server.requests[6]


def test_the_key_goes_to_the_server_and_nowhere_else(tmp_path):
    with serving() as server, Completions(tmp_path / "c.sqlite") as kept:
        one = model(server)
        kept.complete(one, PROMPTS[:2])
        assert set(server.keys) == {"Bearer secret-key"}
        assert "secret" not in one.fingerprint + one.name + repr(vars(one))
    assert all(b"secret-key" not in path.read_bytes() for path in tmp_path.iterdir())


def test_names_addresses_and_fingerprints(monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://elsewhere:1/v1/")
    assert ServerLLM("openai:a/b:free").url == "http://elsewhere:1/v1"
    assert ServerLLM("openai:a/b:free").model == "a/b:free"
    there = ServerLLM("openai:m@http://there:2/v1")
    assert (there.model, there.url, there.name) == ("m", "http://there:2/v1", "openai:m")
    changed = [
        ServerLLM("openai:m@http://here:2/v1"),
        ServerLLM("openai-completions:m@http://there:2/v1"),
        ServerLLM("openai:m@http://there:2/v1", Decoding(temperature=0.5)),
        ServerLLM("openai:m@http://there:2/v1", Decoding(max_new_tokens=9)),
    ]
    assert len({one.fingerprint for one in (there, *changed)}) == 5
    assert isinstance(there, StreamingLLM)
    assert isinstance(load("openai:m@http://there:2/v1"), ServerLLM)


@pytest.mark.parametrize("name", ["openai:", "openai:m@ftp://x", "openai:a b", "openai:m@"])
def test_a_name_that_is_none_is_refused(name):
    with pytest.raises(SettingError, match="expected openai:MODEL"):
        load(name)


def test_a_secret_in_an_address_is_refused_and_not_repeated():
    with pytest.raises(SettingError, match="OPENAI_API_KEY") as raised:
        ServerLLM("openai:m@http://user:hunter2@there/v1")
    assert "hunter2" not in str(raised.value)


def test_openai_itself_needs_a_key(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(SettingError, match="needs a key in OPENAI_API_KEY"):
        check("openai:gpt-4.1-mini")


def test_documents_are_cut_at_words():
    one = ServerLLM("openai:m@http://there/v1")
    assert one.cut("some words here", 100) == "some words here"
    assert one.cut("some words here", 3) == "some words"
    assert one.cut("x" * 50, 2) == "x" * 8
