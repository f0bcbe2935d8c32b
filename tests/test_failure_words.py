"""The words of servers that fail: each of these phrases alone says what follows."""

from __future__ import annotations

import pytest

from acclimate.llm.server.failures import Outcome, connection_failure, failure
from acclimate.llm.server.terms import Terms

PHRASES = {
    (400, Outcome.TOO_LONG): """
        context length; context_window; input text is too large; prompt exceeds the maximum; maximum sequence length
        too many tokens; too many input tokens; inputs tokens + 5; inputs must have less than 8; reduce the length of it
        this exceeds the available context; exceeded model token limit; total tokens exceed 8; tokens in request
        prompt tokens 9 are greater than 8; string_above_max_length; context the overflows
        range of input length should be 1 to 8; max_prompt_length; prompt 超长; 文本过长
        text exceeds 8 characters; input exceeds n_ctx; prompt length 9 exceeds max_seq_len 8; too many total text bytes
        max_tokens must be at least 1, got -20
    """,
    (429, Outcome.TOO_LONG): "request too large",
    (400, Outcome.REFUSED): """
        content_filter; content policy; content exists risk; data_inspection_failed; moderated; flagged; inappropriate
        safety system; prohibited content; unsafe input; sensitive words; usage policy; responsible AI policies
        risk control; high risk; prohibited use; guardrail; 敏感; 不安全; 违规
        content_safety; acceptable use policy; potentially harmful
    """,
    (403, Outcome.STOP): """
        flagged account; flagged organization; flagged organisation; flagged api key; flagged billing
        flagged: unauthenticated; flagged: no permission; flagged: unauthorized
    """,
    (429, Outcome.STOP): """
        insufficient_quota; insufficient balance; out of credits; not enough funds; no balance; balance is too low
        billing_hard_limit; billing limit; payment required; 余额不足; 欠费
        monthly spend limit; spending limit; you will regain access on 2030-01-01; add 10 credits
    """,
    (500, Outcome.STOP): """
        api key not valid; missing api key; the model is not available; model_not_found; no models loaded; unknown model
        invalid model; no such model; not a valid model; deploymentnotfound; model deprecated
        unexpected endpoint; invalid url; no route; unknown request url; cannot post; cannot get
    """,
    (400, Outcome.AGAIN): """
        still loading; loading, wait; overloaded; server is busy; try again soon; please wait; please try again
    """,
    (200, Outcome.AGAIN): """
        loading; overloaded; busy; rate limit; too many requests; timeout; timed out; temporary; try again; retry
        unavailable; capacity; internal error; internal_server_error; upstream; provider returned error
    """,
    (200, Outcome.STOP): "whatever else",
}
CONNECTIONS = """
    CERTIFICATE_VERIFY_FAILED; WRONG_VERSION_NUMBER; UNEXPECTED_EOF; record layer; Name or service not known
    nodename nor servname; No address associated; UnsupportedProtocol; InvalidURL; LocalProtocolError
    illegal header line: bytearray(b'x'); illegal status line: bytearray(b'SSH-2.0'); bad Content-Length
    conflicting Content-Length headers; Only Transfer-Encoding: chunked is supported; Receive buffer too long
    Received server _SWITCH_UPGRADE event without a pending proposal; DecodingError: no gzip: incorrect header check
"""


def phrases(text: str) -> list[str]:
    return [phrase.strip() for line in text.strip().splitlines() for phrase in line.split(";")]


@pytest.mark.parametrize(("status", "means"), PHRASES)
def test_what_follows_from_a_phrase(status, means):
    for phrase in phrases(PHRASES[status, means]):
        assert failure(status, {"error": phrase}).means is means, phrase


def test_a_connection_that_can_never_be_made_is_known_by_its_words():
    assert connection_failure(OSError("Connection refused")).means is Outcome.AGAIN
    for phrase in phrases(CONNECTIONS):
        found = connection_failure(OSError(phrase))
        assert found.means is Outcome.STOP and found.hint, phrase


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("chat_template_kwargs", "no chat template; enable_thinking"),
        ("logprobs", "logprobs; log probabilities"),
        ("stop", "'stop' is wrong; a stop sequence; stop words"),
    ],
)
def test_a_parameter_is_known_by_any_of_its_names(name, text):
    for phrase in phrases(text):
        terms = Terms()
        assert terms.learned(failure(400, phrase), {name: 1}), phrase
        assert terms.left_out == (name,)


def test_of_numbers_a_code_alone_is_shown():
    assert failure(400, {"error": {"code": 1301, "status": 7, "message": "odd"}}).message == "status 400: odd; 1301"


def test_the_words_of_an_error_are_shown_whatever_they_are_called():
    names = (
        "message msg detail error errors code type status param reason title error_description error_type metadata raw"
    )
    names += " reasons body fault failed_generation field property parameter name invalid-params invalid_params"
    for name in names.split():
        assert failure(400, {"error": {name: "odd words", "input": "a document"}}).message == "status 400: odd words", (
            name
        )


def test_a_key_that_is_a_word_is_no_secret(monkeypatch: pytest.MonkeyPatch):
    """Servers without keys are given one of these, as their documentation says."""
    for key in ("ollama", "EMPTY", "none"):
        monkeypatch.setenv("OPENAI_API_KEY", key)
        assert failure(400, f"no model, try: {key} pull qwen").message == f"status 400: no model, try: {key} pull qwen"
