"""What servers say when they fail, in the words of many of them, and what follows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acclimate.llm.decoding import Decoding
from acclimate.llm.server import wire
from acclimate.llm.server.failures import Outcome, cause, connection_failure, failure, one_line, page_title
from acclimate.llm.server.terms import Terms

CHAT, DRAWN = Decoding(chat=True), Decoding(temperature=0.7, top_p=0.9)


def error(message, **more):
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None, **more}}


TOO_LONG = [
    (400, error("This model's maximum context length is 4097 tokens. However, you requested 5000 tokens.")),
    (400, error("too long", code="context_length_exceeded")),
    (400, {"object": "error", "message": "This model's maximum context length is 64 tokens.", "code": 400}),
    (400, error("The prompt (total length 5000) is too long to fit into the model (context length 4096).")),
    (400, error("'max_tokens' or 'max_completion_tokens' is too large: 40. This model's maximum context length is 64")),
    (400, error("request (200 tokens) exceeds the available context size (128 tokens)", type="exceed_context_size")),
    (500, {"error": "the input length exceeds the context length"}),
    (400, {"error": "Trying to keep the first 5000 tokens when context the overflows. Context length of only 4096"}),
    (422, {"error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 2048. Given: 3000"}),
    (422, {"error": "Input validation error: `inputs` must have less than 1024 tokens. Given: 1500"}),
    (400, error("prompt is too long: 208310 tokens > 200000 maximum")),
    (400, error("input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000")),
    (400, [error("The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).")]),
    (400, {"object": "error", "message": "Prompt contains 40000 tokens, too large for model with 32768 maximum"}),
    (400, error("Please reduce the length of the messages or completion.")),
    (413, error("Request too large for model `x` on tokens per minute (TPM): Limit 6000, Requested 7054")),
    (429, error("Request too large for x on tokens per min (TPM): Limit 10000, Requested 12000")),
    (400, error("This model's maximum prompt length is 131072 but the request contains 537812 tokens.")),
    (400, error("The input (5000 tokens) is longer than the model's context length (4096 tokens).")),
    (400, error("Invalid 'messages[0].content': string too long.", code="string_above_max_length")),
    (413, "Payload Too Large"),
    (400, error("tokens in request more than max tokens allowed")),
    (400, error("Invalid request: Your request exceeded model token limit: 8192")),
    (400, error("prompt tokens (5000) + max_tokens (48) must be less than 4096")),
    (400, error("输入长度超过模型最大长度限制")),
    (200, error("This endpoint's maximum context length is 8192 tokens.", code=400)),
]
REFUSED = [
    (400, error("The response was filtered due to Azure OpenAI's content management policy.", code="content_filter")),
    (400, error("Output data may contain inappropriate content.", code="data_inspection_failed")),
    (403, error("Input was flagged by moderation", code=403, metadata={"reasons": ["violence"]})),
    (400, error("Your request was rejected as a result of our safety system.", code="moderation_blocked")),
    (400, error("Content Exists Risk")),
    (400, {"error": {"code": "1301", "message": "系统检测到输入或生成内容可能包含不安全或敏感内容"}}),
    (400, [error("The prompt was blocked: PROHIBITED_CONTENT")]),
    (451, "for legal reasons"),
    (400, error("The request was rejected because it was considered high risk")),
    (400, {"error": {"code": 400, "message": "request blocked by guardrails"}}),
]
STOP = [  # with a part of the hint
    (401, error("Incorrect API key provided"), "is OPENAI_API_KEY right?"),
    (401, error("no entry"), "is OPENAI_API_KEY right?"),
    (402, error("Insufficient Balance"), "no credit"),
    (402, error("pay first"), "no credit"),
    (403, error("Your account is not active, please check your billing details"), "OPENAI_API_KEY"),
    (403, error("Your account may not use the content filter"), "OPENAI_API_KEY"),
    (404, error("The model `m` does not exist", code="model_not_found"), "model's name"),
    (404, error('model "m" not found, try pulling it first'), "model's name"),
    (404, {"detail": "Not Found"}, "does the address end"),
    (407, "who are you?", "proxy"),
    (400, error("Cannot parse the request, please retry with valid JSON"), ""),
    (501, "Not Implemented", "does the address end"),
    (400, error("x is not a valid model ID", code=400), "model's name"),
    (400, error('Failed to load model "x". Error: No matching model'), "model's name"),
    (400, [error("API key not valid. Please pass a valid API key.", status="INVALID_ARGUMENT")], "OPENAI_API_KEY"),
    (405, {"detail": "Method Not Allowed"}, "does the address end"),
    (410, "Gone", "does the address end"),
    (429, error("You exceeded your current quota", code="insufficient_quota"), "no credit"),
    (400, error("Your credit balance is too low to access the API"), "no credit"),
    (404, error("model: claude-x", type="not_found_error"), "model's name"),
    (400, {"Message": "The provided model identifier is invalid."}, "model's name"),
    (403, {"Message": "You may not see this account"}, "OPENAI_API_KEY"),
    (400, error("No models loaded. Please load a model in the developer page"), "model's name"),
    (200, error("Insufficient credits. Add more to your account.", code=402), "no credit"),
    (200, error("who are you?", code=401), "OPENAI_API_KEY"),
    (
        200,
        {"error": "Unexpected endpoint or method. (POST /chat/completions). Returning 200 anyway"},
        "does the address",
    ),
    (200, {"error": "something that nobody has heard of"}, ""),
    (301, "the server redirects to http://elsewhere", "elsewhere"),
]
AGAIN = [
    (429, error("Rate limit reached for requests")),
    (429, [error("You exceeded your current quota, please retry in 20 s", status="RESOURCE_EXHAUSTED")]),
    (500, error("The server had an error while processing your request")),
    (500, "Internal Server Error"),
    (502, "<h1>Bad gateway</h1>"),
    (503, error("Loading model", code=503, type="unavailable_error")),
    (503, error("Engine overloaded")),
    (529, error("Overloaded")),
    (408, ""),
    (424, {"error": "Request failed during generation: CUDA out of memory", "error_type": "generation"}),
    (400, error("loading, please retry")),
    (400, {"detail": "The model is loading. Try again in 20 seconds."}),
    (400, {"error": "server busy"}),
    (200, error("Provider returned error", code=502)),
    (200, [error("nobody knows", status=500)]),
    (200, {"error": "gone", "status_code": "503"}),
    (200, {"error": "the server is busy, please try again later"}),
]
CASES = [
    (means, *case, *[""] * (2 - len(case[1:])))
    for means, cases in zip(
        (Outcome.TOO_LONG, Outcome.REFUSED, Outcome.STOP, Outcome.AGAIN), (TOO_LONG, REFUSED, STOP, AGAIN), strict=True
    )
    for case in cases
]


@pytest.mark.parametrize(("means", "status", "body", "hint"), CASES)
def test_what_a_failure_means(means, status, body, hint):
    found = failure(status, body)
    assert found.means is means, found
    assert hint in found.hint and bool(hint) == bool(found.hint)
    assert not Terms().learned(found, wire.request("m", "p", CHAT, Terms())) or means in (Outcome.AGAIN, Outcome.STOP)


@given(
    status=st.integers(100, 599) | st.none(),
    body=st.recursive(
        st.none() | st.integers() | st.text(max_size=20),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["error", "message", "code", "detail", "loc", "x"]), inner, max_size=3)
        ),
        max_leaves=6,
    ),
)
def test_any_failure_means_something_and_is_told_on_one_line(status, body):
    shown = str(failure(status, body))
    assert shown.isprintable()
    assert len(shown) < 600


# Terms

LOGPROBS = [
    (400, error("'logprobs' is not supported with this model", param="logprobs")),
    (400, error("logprobs are not supported")),
    (400, [error("Logprobs is not enabled for models/gemini-x", status="INVALID_ARGUMENT")]),
    (403, error("You are not allowed to request logprobs from this model")),
    (422, {"detail": [{"type": "extra_forbidden", "loc": ["body", "logprobs"], "msg": "Extra inputs", "input": True}]}),
    (500, error("Internal error: logprobs requires a config option at model load")),
    (501, error("not implemented: logprobs")),
    (200, {"error": "log probs are not available"}),
    (200, {"error": "takes neither temperature nor logprobs"}),
    (400, error("Unknown field", param="logprobs", allowed=["temperature", "top_p"])),
]
OTHERS = [
    ("temperature", 400, error("Unsupported value: 'temperature' does not support 0", param="temperature")),
    ("temperature", 422, {"error": "Input validation error: `temperature` must be strictly positive"}),
    ("top_p", 400, error("`temperature` and `top_p` cannot both be specified for this model. Please use only one.")),
    ("top_p", 422, {"error": "Input validation error: `top_p` must be > 0.0 and < 1.0"}),
    ("seed", 422, {"object": "error", "message": {"detail": [{"loc": ["body", "seed"], "msg": "not permitted"}]}}),
    ("stop", 400, error("Unsupported parameter: 'stop' is not supported with this model.", param="stop")),
    ("stop", 422, {"detail": [{"loc": ["body", "stop"], "msg": "Extra inputs are not permitted"}]}),
    ("temperature", 400, error("Unsupported field temperature; known: seed", param="temperature")),
    ("seed", 422, {"message": "not permitted", "errors": [{"field": "seed"}]}),
    ("seed", 400, {"title": "Bad Request", "errors": {"seed": ["not allowed"], "input": "top_p"}}),
    ("seed", 400, {"title": "Bad Request", "invalid-params": [{"name": "seed", "reason": "neither is top_p"}]}),
]


@pytest.mark.parametrize(("status", "body"), LOGPROBS)
def test_log_probabilities_that_are_refused_are_left_out(status, body):
    terms = Terms()
    assert terms.learned(failure(status, body), wire.request("m", "p", CHAT, Terms()))
    assert (terms.left_out, terms.limit) == (("logprobs",), "max_tokens")
    assert "logprobs" not in wire.request("m", "p", CHAT, terms)


@pytest.mark.parametrize(("name", "status", "body"), OTHERS)
def test_what_else_is_refused_is_left_out_and_nothing_beside_it(name, status, body):
    terms = Terms()
    assert terms.learned(failure(status, body), wire.request("m", "p", DRAWN, Terms()))
    assert terms.left_out == (name,)


def test_a_limit_has_other_names_and_is_left_out_at_last():
    terms = Terms()
    use = error("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.", param="max_tokens")
    for _ in range(2):  # what is recommended is not refused
        terms.learned(failure(400, use), wire.request("m", "p", CHAT, terms))
        assert (terms.limit, terms.omitted()) == ("max_completion_tokens", [])
    no = error("Unknown parameter: 'max_completion_tokens'", param="max_completion_tokens")
    assert terms.learned(failure(400, no), wire.request("m", "p", CHAT, terms))
    assert not {"max_tokens", "max_completion_tokens"} & wire.request("m", "p", CHAT, terms).keys()
    assert not terms.learned(failure(400, no), wire.request("m", "p", CHAT, terms))


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (429, error("too many requests with logprobs")),
        (503, error("no worker with logprobs is free")),
        (401, error("this key may not use logprobs")),
        (400, error("nonsense")),
        (500, error("params: temperature=0.0, max_tokens=40, logprobs=1")),
        (422, {"detail": [{"loc": ["body", "model"], "msg": "missing", "input": {"logprobs": True}}]}),
        (400, error("the seed of this document")),
    ],
)
def test_what_is_no_complaint_of_a_parameter_leaves_none_out(status, body):
    terms = Terms()
    assert not terms.learned(failure(status, body), wire.request("m", "p", CHAT, Terms()))
    assert terms == Terms()


def test_terms_are_kept_and_only_ever_grow():
    one, other = Terms(("temperature",), "max_completion_tokens"), Terms(("logprobs",), thinks=True)
    assert Terms.load(one.dump()) == one
    one.add(other)
    assert one == Terms(("logprobs", "temperature"), "max_completion_tokens", True)
    for odd in ("", "[]", "null", '{"left_out": 3, "limit": [], "thinks": "no"}', "[" * 5000, '{"left_out": [{}]}'):
        assert Terms.load(odd) == Terms()


# Words


def test_what_others_wrote_is_shown_on_one_line_without_secrets(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-hunter2\n")
    shown = one_line(
        "bad\n\x1b[31mkey sk-hunter2 for http://me:hunter3@there/v1?key=hunter4#hunter5 \u202e" + "x" * 900
    )
    assert "hunter" not in shown
    assert shown.isprintable()
    assert len(shown) <= 300
    assert (
        failure(401, error("Incorrect API key: sk-hunter2")).message
        == "status 401: Incorrect API key: ***; invalid_request_error"
    )


def test_a_failure_without_words_is_told_by_its_status():
    assert [failure(status, "").message for status in (410, 499)] == ["status 410: Gone", "status 499: no message"]


def test_an_error_is_told_with_what_is_behind_it():
    try:
        try:
            raise OSError(111, "Connection refused")
        except OSError as error:
            raise RuntimeError("Connection error.") from error
    except RuntimeError as error:
        assert "Connection error." in cause(error)
        assert "Connection refused" in cause(error)


@pytest.mark.parametrize(
    ("words", "means", "hint"),
    [
        ("[Errno 111] Connection refused", Outcome.AGAIN, ""),
        ("[Errno -3] Temporary failure in name resolution", Outcome.AGAIN, ""),
        ("peer closed connection without sending complete message body", Outcome.AGAIN, ""),
        ("[Errno -2] Name or service not known", Outcome.STOP, "name of the host"),
        ("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed", Outcome.STOP, "SSL_CERT_FILE"),
        ("encoding with 'idna' codec failed (UnicodeError: label empty or too long)", Outcome.STOP, "address right"),
        ("illegal request line", Outcome.STOP, "https://"),
        ("[SSL: WRONG_VERSION_NUMBER] wrong version number", Outcome.STOP, "http://"),
    ],
)
def test_a_connection_that_cannot_be_made_is_not_tried_for_minutes(words, means, hint, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://there:3128")
    try:
        raise RuntimeError("Connection error.") from OSError(words)
    except RuntimeError as error:
        found = connection_failure(error)
    assert found.means is means
    assert words in found.message
    assert hint in found.hint
    assert "HTTPS_PROXY" in str(found)


def test_a_page_is_known_by_its_start_and_told_by_its_title():
    assert page_title("<!doctype html><html><head><title>Sign\nin</title></head>") == "Sign in"
    assert page_title("\n<h1>Bad gateway</h1>") == "Bad gateway"
    assert page_title("<html><body><p>Bad <b>gateway</b></p></body>") == "Bad gateway"
    assert page_title('{"choices": []}') is None
    assert page_title("<think>no</think>") is None


def test_more_tokens_than_a_server_gives_name_the_setting():
    for words in ("max_tokens is too large: 64", "This model supports at most 4,096 completion tokens"):
        found = failure(400, {"error": {"message": words}})
        assert (found.means, "generate.max_new_tokens" in found.hint) == (Outcome.STOP, True)
