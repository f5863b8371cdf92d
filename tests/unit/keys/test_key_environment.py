from __future__ import annotations

import pytest

from keyrail.keys.environment import found, scrubbed
from keyrail.keys.secret import Secret

NAMES = {
    "OPENAI_API_KEY": "openai",
    "GEMINI_API_KEY": "gemini",
    "GOOGLE_API_KEY": "gemini",
    "GROQ_TOKEN": "groq",
}


def test_keys_are_picked_by_name_and_stripped() -> None:
    environ = {"OPENAI_API_KEY": " sk-1\n", "GROQ_TOKEN": "g-1", "OTHER_API_KEY": "no"}
    assert found(environ, NAMES) == {"openai": Secret("sk-1"), "groq": Secret("g-1")}


@pytest.mark.parametrize("blank", ["", " ", "\t\n"])
def test_a_blank_value_is_no_key(blank: str) -> None:
    assert found({"OPENAI_API_KEY": blank}, NAMES) == {}


@pytest.mark.parametrize(
    ("environ", "value"),
    [
        ({"GOOGLE_API_KEY": "second", "GEMINI_API_KEY": "first"}, "first"),
        ({"GOOGLE_API_KEY": "second", "GEMINI_API_KEY": " "}, "second"),
    ],
)
def test_of_two_variables_of_one_provider_the_first_listed_wins(environ: dict[str, str], value: str) -> None:
    assert found(environ, NAMES) == {"gemini": Secret(value)}


def test_a_child_gets_what_is_on_the_list_and_nothing_else() -> None:
    passed = {
        "PATH": "/bin",
        "HOME": "/home/a",
        "LANG": "C.UTF-8",
        "LC_ALL": "C",
        "LC_TIME": "de_DE",
        "TZ": "UTC",
        "TMPDIR": "/tmp",
        "SSL_CERT_FILE": "/etc/ca.pem",
        "SSL_CERT_DIR": "/etc/ca",
        "REQUESTS_CA_BUNDLE": "/etc/ca.pem",
        "KEYRAIL_HOME": "/home/a/.keyrail",
        "KEYRAIL_PORT": "8080",
    }
    kept_back = {
        "OPENAI_API_KEY": "sk-1",
        "AWS_SECRET_ACCESS_KEY": "aws",
        "PYTHONPATH": "/x",
        "LD_PRELOAD": "/x.so",
        "PATHEXT": "x",
        "LCX": "x",
        "keyrail_home": "x",
        "HTTPS_PROXY": "http://user:secret@proxy",
    }
    assert scrubbed(passed | kept_back) == passed


def test_further_prefixes_can_be_allowed() -> None:
    assert scrubbed({"OTEL_ENDPOINT": "x", "OTHER": "y"}, "OTEL_") == {"OTEL_ENDPOINT": "x"}


def test_a_provider_key_is_not_passed_on_whatever_the_prefixes_allow() -> None:
    environ = {
        "OPENAI_API_KEY": "sk-1",
        "KEYRAIL_OPENAI_API_KEY": "sk-2",
        "Keyrail_Groq_Api_Key": "sk-4",
        "GROQ_TOKEN": "g-1",
        "KEYRAIL_UPSTREAM": " sk-1 ",
        "KEYRAIL_OTHER": "g-1",
        "KEYRAIL_HOME": "/srv",
        "KEYRAIL_EMPTY": "",
        "EMPTY_API_KEY": "",
    }
    child = scrubbed(environ, "OPENAI_", "GROQ_", "Keyrail_", provider_keys=NAMES)
    assert child == {"KEYRAIL_HOME": "/srv", "KEYRAIL_EMPTY": ""}
