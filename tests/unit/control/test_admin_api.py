from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from keyrail.contracts.ledger import AttemptsQuery, CostsQuery, LedgerPage, LedgerQuery, RequestQuery
from keyrail_control.api import Api, Unavailable, create_app

TOKEN = "adm_secret"
BEARER = f"Bearer {TOKEN}".encode()


class Ledger:
    """Answers with `page` and remembers the question."""

    def __init__(self) -> None:
        self.page = LedgerPage(rows=[{"attempts": 1}], cursor="next")
        self.asked: LedgerQuery | None = None
        self.error: Exception | None = None

    async def __call__(self, query: LedgerQuery) -> LedgerPage:
        self.asked = query
        if self.error:
            raise self.error
        return self.page


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture
def api(ledger: Ledger) -> Api:
    async def metrics() -> bytes:
        return b"up 1\n"

    async def providers() -> list[dict[str, object]]:
        return [{"provider": "openai", "keys": ["env"]}]

    return create_app(ledger, metrics, providers, hashlib.sha256(TOKEN.encode()).hexdigest())


async def call(
    api: Api, path: str, query: str = "", *authorization: bytes, method: str = "GET"
) -> tuple[int, Any]:
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        raise AssertionError("no route reads a body")

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "headers": [(b"authorization", value) for value in authorization],
    }
    await api(scope, receive, send)
    body = sent[1]["body"]
    json_body = (b"content-type", b"application/json") in sent[0]["headers"]
    return sent[0]["status"], json.loads(body) if json_body else body


OPEN = {"/healthz", "/metrics"}


async def test_every_route_but_the_open_ones_is_refused_without_the_token(api: Api, ledger: Ledger) -> None:
    assert {route.path for route in api.routes if route.open} == OPEN
    for route in api.routes:
        path = route.path + ("x" if route.path.endswith("/") else "")
        for method in ("GET", "POST", "DELETE", "OPTIONS"):
            if not route.open:
                assert (await call(api, path, method=method))[0] == 401
    assert ledger.asked is None


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/nothing", "/v1/costs/", "/V1/costs", "//v1/costs"])
async def test_what_is_no_route_is_refused_too(api: Api, path: str) -> None:
    assert (await call(api, path))[0] == 401
    assert (await call(api, path, "", BEARER))[0] == 404


@pytest.mark.parametrize(
    "authorization",
    [
        (b"Bearer wrong",),
        (b"Bearer ",),
        (b"",),
        (TOKEN.encode(),),
        (b"Basic " + TOKEN.encode(),),
        (BEARER + b" ",),
        (BEARER, b"Bearer other"),
        (b"Bearer \xff",),
    ],
)
async def test_anything_but_exactly_the_token_is_refused(
    api: Api, ledger: Ledger, authorization: tuple[bytes, ...]
) -> None:
    status, body = await call(api, "/v1/costs", "", *authorization)

    assert status == 401
    assert "message" in body["error"]
    assert ledger.asked is None


async def test_costs_become_a_question(api: Api, ledger: Ledger) -> None:
    status, body = await call(api, "/v1/costs", "by=team&since=2026-01-02T03:04:05Z&cursor=%3Dsearch", BEARER)

    assert status == 200
    assert body == {"rows": [{"attempts": 1}], "cursor": "next"}
    assert ledger.asked is not None
    assert ledger.asked.query == CostsQuery(by="team", since_ms=1767323045000, cursor="=search")


async def test_a_span_counts_back_from_now(api: Api, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keyrail_control.api.now_ms", lambda: 10_000_000_000)
    for span, back in (("30m", 1_800_000), ("1h", 3_600_000), ("7d", 604_800_000)):
        assert (await call(api, "/v1/attempts", f"since={span}", BEARER))[0] == 200
        assert ledger.asked is not None
        assert ledger.asked.query == AttemptsQuery(since_ms=10_000_000_000 - back)


@pytest.mark.parametrize(
    "query",
    [
        "since=yesterday",
        "since=1w",
        "since=2026-01-02T03:04:05",
        "since=",
        "by=user",
        "by=",
        "limit=10",
        "sinse=1h",
        "by=team&by=model",
        "cursor=%ff",
    ],
)
async def test_a_parameter_that_is_not_understood_is_refused(api: Api, ledger: Ledger, query: str) -> None:
    status, body = await call(api, "/v1/costs", query, BEARER)

    assert status == 400
    assert body["error"]["message"]
    assert ledger.asked is None


async def test_a_request_is_one_object(api: Api, ledger: Ledger) -> None:
    status, body = await call(api, "/v1/requests/some-id", "", BEARER)

    assert (status, body) == (200, {"attempts": 1})
    assert ledger.asked is not None
    assert ledger.asked.query == RequestQuery(request_id="some-id")


async def test_an_unknown_request_is_404(api: Api, ledger: Ledger) -> None:
    ledger.page = LedgerPage()

    assert (await call(api, "/v1/requests/some-id", "", BEARER))[0] == 404


@pytest.mark.parametrize(
    ("error", "status"), [(Unavailable(), 503), (TimeoutError(), 503), (RuntimeError("secret"), 500)]
)
async def test_a_ledger_that_does_not_answer_is_said_to_be_away(
    api: Api, ledger: Ledger, error: Exception, status: int
) -> None:
    ledger.error = error

    got, body = await call(api, "/v1/costs", "", BEARER)

    assert got == status
    assert "secret" not in json.dumps(body)


async def test_an_error_of_the_ledger_is_passed_on(api: Api, ledger: Ledger) -> None:
    ledger.page = LedgerPage(error="the cursor is not one of ours")

    assert await call(api, "/v1/costs", "cursor=x", BEARER) == (
        502,
        {"error": {"message": "the cursor is not one of ours"}},
    )


async def test_metrics_and_health_are_open(api: Api) -> None:
    assert await call(api, "/metrics") == (200, b"up 1\n")
    assert await call(api, "/healthz") == (200, {"status": "ok"})


async def test_providers_are_a_page(api: Api) -> None:
    assert await call(api, "/v1/providers", "", BEARER) == (
        200,
        {"rows": [{"provider": "openai", "keys": ["env"]}], "cursor": None},
    )
    assert (await call(api, "/v1/providers", "since=1h", BEARER))[0] == 400
