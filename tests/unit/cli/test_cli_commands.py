from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from keyrail.http.admin import AdminClient, AdminError, NotFound
from keyrail_cli import client, main, render
from keyrail_cli.home import NotRunning, admin, home

Serve = Callable[[dict[str, httpx.Response]], None]


def answering(pages: dict[str, httpx.Response]) -> AdminClient:
    """A client of an API that has exactly these answers, by path and query."""

    def handler(request: httpx.Request) -> httpx.Response:
        assert request.headers["authorization"] == "Bearer t0"
        return pages[request.url.raw_path.decode()]

    return AdminClient("http://admin", "t0", httpx.MockTransport(handler))


def page(rows: list[dict[str, object]], cursor: str | None = None) -> httpx.Response:
    return httpx.Response(200, json={"rows": rows, "cursor": cursor})


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Serve:
    def one(pages: dict[str, httpx.Response]) -> None:
        monkeypatch.setattr(client, "connect", lambda: answering(pages))

    return one


def test_rows_follow_every_page() -> None:
    pages = {
        "/v1/attempts": page([{"n": 1}], "a b"),
        "/v1/attempts?cursor=a+b": page([{"n": 2}], "c"),
        "/v1/attempts?cursor=c": page([{"n": 3}]),
    }

    assert [row["n"] for row in answering(pages).rows("/v1/attempts", {})] == [1, 2, 3]


def test_an_id_cannot_leave_its_path() -> None:
    pages = {"/v1/requests/..%2Fcosts": httpx.Response(404, json={"error": {"message": "not known"}})}

    with pytest.raises(NotFound, match="not known"):
        answering(pages).one("/v1/requests", "../costs")


def test_an_answer_that_is_no_json_is_an_error() -> None:
    with pytest.raises(AdminError, match="does not speak"):
        list(answering({"/v1/costs": httpx.Response(200, text="<html>")}).rows("/v1/costs", {}))


def test_costs_are_a_table_with_the_dearest_first(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    sums = {"requests": 1, "attempts": 1, "output_tokens": 3}
    rows: list[dict[str, object]] = [
        {"team": None, "cost_usd": None, "input_tokens": None, "unknown_cost_attempts": 1, **sums},
        {"team": "a", "cost_usd": "0.5", "input_tokens": 7, "unknown_cost_attempts": 0, **sums},
        {"team": "b", "cost_usd": "10.25", "input_tokens": 7, "unknown_cost_attempts": 0, **sums},
    ]
    serve({"/v1/costs?by=team&since=1h": page(rows)})

    assert main.main(["costs", "--by", "team", "--since", "1h"]) == 0

    assert capsys.readouterr().out == (
        "team  requests  attempts  input tokens  output tokens  cost usd  unknown cost attempts\n"
        "b            1         1             7              3     10.25                      0\n"
        "a            1         1             7              3       0.5                      0\n"
        "             1         1       unknown              3   unknown                      1\n"
    )


def test_json_is_a_list_of_objects(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    rows: list[dict[str, object]] = [{"attempt_id": "1", "cost_usd": None}]
    serve({"/v1/attempts": page(rows)})

    assert main.main(["attempts", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == rows


def test_a_request_shows_its_attempts(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    row = {
        "request_id": "r1",
        "status": "ok",
        "cost_usd": "0.1",
        "model": "openai/x",
        "attempts": [{"provider": "openai", "cost_usd": "0.1", "failure": None}],
    }
    serve({"/v1/requests/r1": httpx.Response(200, json=row)})

    assert main.main(["requests", "show", "r1"]) == 0
    out = capsys.readouterr().out
    assert "cost usd     0.1" in out
    assert "openai" in out.splitlines()[-1]

    assert main.main(["requests", "show", "r1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == row


def test_an_unknown_request_ends_with_status_1(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    serve({"/v1/requests/r1": httpx.Response(404, json={"error": {"message": "not known here"}})})

    assert main.main(["requests", "show", "r1"]) == 1
    assert capsys.readouterr().err == "keyrail: not known here\n"


def test_the_home_says_where_and_with_what_token(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"admin_url": "http://127.0.0.1:1"}')
    (tmp_path / "admin.token").write_text("t0\n")

    assert admin(tmp_path) == ("http://127.0.0.1:1", "t0")
    assert home({"KEYRAIL_HOME": str(tmp_path)}) == tmp_path
    assert home({}) == Path(".keyrail")


@pytest.mark.parametrize("text", [None, "{", "[]", "{}"])
def test_a_home_where_nothing_runs_is_said(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "run.json").write_text(text)

    with pytest.raises(NotRunning, match=str(tmp_path)):
        admin(tmp_path)


def test_nobody_listening_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(AdminError, match=r"no answer from Keyrail at http://127\.0\.0\.1:9"):
        AdminClient("http://127.0.0.1:9", "t0").one("/v1/requests", "x")


def test_a_provider_cannot_write_to_the_terminal() -> None:
    assert render.cell("a\x1b[2Jb\n") == "a\N{REPLACEMENT CHARACTER}[2Jb\N{REPLACEMENT CHARACTER}"


def test_unknown_is_never_zero() -> None:
    assert render.cell(None) == "unknown"
    assert render.cell(0) == "0"
    assert render.table(("a",), []) == "a"


def test_providers_are_shown_with_their_key_and_what_they_support(
    serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    row: dict[str, object] = {
        "provider": "openai",
        "key": "yes",
        "keys": ["env"],
        "native": ["openai-chat", "openai-responses"],
        "faces": ["chat"],
        "prices": ["catalogue"],
        "base_url": "https://api.openai.com/v1",
    }
    serve({"/v1/providers": page([row])})
    assert main.main(["providers"]) == 0
    heading, line = capsys.readouterr().out.splitlines()
    assert heading.split() == ["provider", "key", "native", "faces", "prices", "base", "url"]
    assert "openai-chat, openai-responses" in line
    serve({"/v1/providers": page([row])})
    assert main.main(["providers", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [row]
