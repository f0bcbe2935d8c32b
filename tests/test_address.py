"""Names and addresses of LLMs behind servers, the secrets that they may hold, and the surroundings of the client."""

from __future__ import annotations

import pytest

pytest.importorskip("openai", reason="the openai extra is not installed")

from hypothesis import given
from hypothesis import strategies as st
from serving import PROMPTS, echo, error, model, serving

from acclimate.base.errors import AcclimateError, LLMError, MissingExtra, SettingError
from acclimate.base.secrets import has_secret, redacted
from acclimate.llm.backends.server import ServerLLM
from acclimate.llm.server.address import check_no_secrets, parse
from acclimate.llm.server.client import _surroundings as surroundings

pytestmark = pytest.mark.usefixtures("short_waits")

PROXIES = ("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "all_proxy", "https_proxy", "http_proxy", "NO_PROXY", "no_proxy")


@pytest.fixture(autouse=True)
def bare(monkeypatch):
    for name in (*PROXIES, "OPENAI_BASE_URL", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("name", "model", "url"),
    [
        ("openai:m@http://h:8000/v1", "m", "http://h:8000/v1"),
        ("openai:m@https://h/v1/", "m", "https://h/v1"),
        ("openai:@cf/meta/llama-3.1", "@cf/meta/llama-3.1", "https://api.openai.com/v1"),
        ("openai:@cf/meta/llama-3.1@http://h/v1", "@cf/meta/llama-3.1", "http://h/v1"),
        ("openai:claude@20240620", "claude@20240620", "https://api.openai.com/v1"),
        ("openai:qwen2.5:7b@http://[::1]:11434/v1", "qwen2.5:7b", "http://[::1]:11434/v1"),
        ("openai:m@http://h/openai/deployments/m?api-version=2024-06-01", "m", "http://h/openai/deployments/m"),
        ("openai:m@http://h/@acc/v1", "m", "http://h/@acc/v1"),
    ],
)
def test_a_name_is_a_model_and_an_address(name, model, url):
    found = parse(name)
    assert (found.model, found.url) == (model, url)
    assert found.query == ({"api-version": "2024-06-01"} if "?" in name else {})
    assert not has_secret(name)


@pytest.mark.parametrize(
    "address",
    ["host:8000/v1", "localhost", "localhost:8000", "10.0.0.7/v1", "[::1]:80", "gpu-box:8000", "api.x.com/v1"],
)
def test_an_address_without_its_scheme_is_refused_with_the_whole_one(address, monkeypatch):
    with pytest.raises(SettingError, match="expected @http://") as raised:
        parse(f"openai:m@{address}")
    assert f"@http://{address}" in str(raised.value)
    monkeypatch.setenv("OPENAI_BASE_URL", address)
    with pytest.raises(SettingError, match=r"OPENAI_BASE_URL is .*expected http://") as raised:
        parse("openai:m")


@pytest.mark.parametrize("begin", ["http:/", "https:\\\\", "http:\\"])
def test_slashes_that_are_missing_or_of_another_kind_are_no_part_of_a_model_s_name(begin):
    with pytest.raises(SettingError, match=r"expected @http://h:8000/v1$"):
        parse(f"openai:m@{begin}h:8000/v1")


def test_an_address_of_another_scheme_is_told_with_http(monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "ftp://host/v1")
    with pytest.raises(SettingError, match=r"OPENAI_BASE_URL is 'ftp://host/v1', .*; expected http://host/v1$"):
        parse("openai:m")


@pytest.mark.parametrize(
    "name",
    [
        "openai:m@http://",
        "openai:m@http:///v1",
        "openai:m@http://h:port/v1",
        "openai:m@http://h:99999/v1",
        "openai:m@http://h/v1,",
    ],
)
def test_an_address_that_cannot_be_is_refused(name):
    with pytest.raises(SettingError):
        parse(name)


SECRET = "hunter2hunter2"
SECRETS = [
    "openai:m@http://user:{}@h/v1",
    "openai:m@http://{}@h/v1",
    "openai:m@http://user:a/{}@h/v1",
    "openai:m@http://h/v1#{}",
    "openai:m@http://h/v1?key={}",
    "openai:m@http://h/v1?api-version=1&key={}",
    "openai:m@ftp://user:{}@h/v1",
    "openai:m@user:{}@h:8000/v1",
    "yes-no:openai:m@https://user:{}@h/v1",
    "likelihood:openai-completions:m@http://h/v1#{}",
    "openia:m@http://user:{}@h/v1",
    "http://user:{}@h/v1",
    "https:/user:{}@h/docs.jsonl",  # an address as the path of a file has it
]


@pytest.mark.parametrize("form", SECRETS)
def test_a_secret_in_a_name_is_refused_wherever_it_stands_and_never_repeated(form, monkeypatch):
    name = form.format(SECRET)
    assert has_secret(name)
    assert SECRET not in redacted(f"see {name}, please")
    for value in (name, ["bm25", name], ("bm25", name)):
        with pytest.raises(
            SettingError, match=r"label.teachers: an address with a secret in it; .*OPENAI_API_KEY"
        ) as raised:
            check_no_secrets({"label": {"n_ways": 8, "teachers": value}})
        assert SECRET not in str(raised.value)
    for said in (name, f"openai:m {name}"):
        with pytest.raises(SettingError) as raised:
            ServerLLM(said)
        assert SECRET not in str(raised.value)
    monkeypatch.setenv("OPENAI_BASE_URL", name.rpartition("m@")[2])
    with pytest.raises(SettingError) as raised:
        ServerLLM("openai:m")
    assert SECRET not in str(raised.value)


@given(st.text(max_size=40))
def test_a_text_without_an_address_is_shown_as_it_is(text):
    if ":/" not in text and "@" not in text:
        assert redacted(text) == text


def test_settings_without_addresses_hold_no_secret():
    check_no_secrets(
        {"generate": {"prompt": ("file.yaml#NAME",), "task": "what is a@b # c", "n": 3, "llm": "openai:m"}}
    )


# What the surroundings do to a client


def test_white_space_around_a_key_is_no_part_of_it(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", " secret-key\r\n")
    with serving() as server:
        assert model(server).complete(PROMPTS[:1])[0].text == "what is number 0"
        assert server.keys == ["Bearer secret-key"]


@pytest.mark.parametrize("char", ["\n", "…", "\x7f", "é"])
def test_a_key_that_cannot_be_sent_is_refused_by_the_place_of_what_it_cannot_hold(monkeypatch, char):
    monkeypatch.setenv("OPENAI_API_KEY", f"sk-{char}hunter2")
    with pytest.raises(SettingError, match=rf"OPENAI_API_KEY: character 4 is U\+{ord(char):04X}") as raised:
        ServerLLM("openai:m@http://h/v1").check()
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("ALL_PROXY", "socks://me:hunter2@h:1080/", r"ALL_PROXY is socks://\*\*\*@h:1080/; expected .*socks5://"),
        ("HTTPS_PROXY", "ftp://h", "HTTPS_PROXY is ftp://h; expected"),
        ("HTTPS_PROXY", "http://me:hunter2@h:port", r"HTTPS_PROXY is http://\*\*\*@h:port; expected"),
        ("OPENAI_BASE_URL", "http://\U0001f600.example/v1", r"no address: Invalid IDNA hostname"),
        ("SSL_CERT_FILE", "/nonexistent/ca.pem", "SSL_CERT_FILE is '/nonexistent/ca.pem', which cannot be read"),
        ("OPENAI_ORG_ID", "org\n1", r"OPENAI_ORG_ID: character 4 is U\+000A"),
        ("OPENAI_CUSTOM_HEADERS", "X-A: b\nX-\u00dc: c", r"OPENAI_CUSTOM_HEADERS: character 10 is U\+00DC"),
        ("OPENAI_PROJECT_ID", "é", r"OPENAI_PROJECT_ID: character 1 is U\+00E9"),
    ],
)
def test_a_variable_that_makes_the_client_impossible_is_named(monkeypatch, variable, value, said):
    monkeypatch.setenv(variable, value)
    with pytest.raises(AcclimateError, match=said) as raised:
        ServerLLM("openai:m" if variable == "OPENAI_BASE_URL" else "openai:m@https://h/v1").check()
    assert "hunter2" not in str(raised.value)


def test_of_several_files_the_one_that_cannot_be_opened_is_named(monkeypatch):
    for name in ("SSL_CERT_FILE", "SSLKEYLOGFILE"):
        monkeypatch.setenv(name, f"/{name}")
    for name in ("SSL_CERT_FILE", "SSLKEYLOGFILE"):
        assert str(surroundings(FileNotFoundError(2, "None", f"/{name}"))).startswith(f"{name} is '/{name}'")
    assert str(surroundings(OSError("bad"))).startswith("SSL_CERT_FILE is")


def test_a_socks_proxy_says_what_to_install(monkeypatch):
    import builtins

    found = builtins.__import__

    def without(name, *args, **more):
        if name == "socksio":
            raise ImportError(name)
        return found(name, *args, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.setenv("ALL_PROXY", "socks5://me:hunter2@127.0.0.1:1080")
    with pytest.raises(MissingExtra, match=r"ALL_PROXY=socks5://\*\*\*@127.0.0.1:1080.*pip install socksio"):
        ServerLLM("openai:m@http://h/v1").check()


def test_the_version_in_an_address_goes_with_each_request_and_the_key_where_azure_looks_for_it():
    seen = []

    def reply(request, nth):
        return echo(request)

    with serving(reply) as server:
        one = ServerLLM(f"openai:m@{server.url}/deployments/m?api-version=2024-06-01")
        assert one.complete(PROMPTS[:1])[0].text == "what is number 0"
        seen += server.paths
    assert seen == ["/v1/deployments/m/chat/completions?api-version=2024-06-01"]
    assert one._clients[one.url].default_headers["api-key"] == "secret-key"
    assert "secret-key" not in one.fingerprint + repr(one.address)


def test_what_a_server_echoes_is_shown_without_the_key():
    with serving(lambda request, nth: error(401, "Incorrect API key provided: secret-key\n\x1b[31m")) as server:
        with pytest.raises(LLMError, match=r"Incorrect API key provided: \*\*\*") as raised:
            model(server).complete(PROMPTS[:1])
        assert "secret-key" not in str(raised.value)
        assert str(raised.value).isprintable()
