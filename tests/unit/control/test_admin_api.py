"""The table and what serves it, without a network."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from msgspec import Struct

from keyrail.bus.errors import BusUnavailable
from keyrail.contracts.decisions import DecisionsQuery
from keyrail.contracts.ledger import (
    AlertsQuery,
    AttemptsQuery,
    CostsQuery,
    LedgerPage,
    LedgerQuery,
    RequestQuery,
)
from keyrail.keys.base import InvalidKey, KeyStoreUnavailable
from keyrail.keys.secret import Secret
from keyrail_control.api import bodies, routing
from keyrail_control.api.bodies import Body
from keyrail_control.api.handler import Answer, Api
from keyrail_control.api.ledger import LedgerRoutes
from keyrail_control.api.routing import Call, Match, Route
from keyrail_control.api.system import System
from keyrail_control.errors import Conflict, Invalid, LedgerFailed, Unavailable, Unknown

TOKEN = "adm_secret"
BEARER = f"Bearer {TOKEN}".encode()


@dataclass
class Ledger:
    """Answers with `page` and remembers the questions."""

    page: LedgerPage = LedgerPage(rows=[{"attempts": 1}], cursor="next")  # noqa: RUF009 - frozen
    asked: list[LedgerQuery] = field(default_factory=list[LedgerQuery])
    error: Exception | None = None

    async def __call__(self, query: LedgerQuery) -> LedgerPage:
        self.asked.append(query)
        if self.error:
            raise self.error
        return self.page


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


def api_of(*routes: Route[Any]) -> Api:
    return Api(routes, hashlib.sha256(TOKEN.encode()).hexdigest())


@pytest.fixture
def api(ledger: Ledger) -> Api:
    async def metrics() -> bytes:
        return b"up 1\n"

    async def providers() -> list[dict[str, object]]:
        return [{"provider": "openai", "keys": ["env"]}]

    return api_of(*System(metrics, providers).routes(), *LedgerRoutes(ledger).routes())


async def call(
    api: Api,
    path: str,
    query: str = "",
    authorization: bytes | None = BEARER,
    *,
    method: str = "GET",
    body: bytes = b"",
) -> tuple[int, Any]:
    answer = api.admit(method, path, authorization)
    if isinstance(answer, Match):
        answer = await api.answer(answer, query.encode(), "application/json", body)
    return answer.status, json.loads(answer.body) if answer.content_type == routing.JSON else answer.body


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        b"Bearer wrong",
        b"Bearer ",
        b"Bearer",
        b"",
        TOKEN.encode(),
        b"Basic " + TOKEN.encode(),
        BEARER + b" ",
        b"Bearer  " + TOKEN.encode(),
        b"Bearer \xff",
        BEARER + b", " + BEARER,
    ],
)
def test_anything_but_exactly_the_token_is_refused(api: Api, authorization: bytes | None) -> None:
    for method, path in (("GET", "/v1/costs"), ("POST", "/v1/costs"), ("GET", "/nothing")):
        answer = api.admit(method, path, authorization)
        assert isinstance(answer, Answer)
        assert answer.status == 401
        assert ("www-authenticate", "Bearer") in answer.headers


def test_the_scheme_may_be_written_in_any_case(api: Api) -> None:
    assert isinstance(api.admit("GET", "/v1/costs", b"bEARER " + TOKEN.encode()), Match)


@pytest.mark.parametrize(
    "path",
    ["/", "/v1", "/v1/nothing", "/v1/costs/", "/V1/costs", "//v1/costs", "/v1/requests/", "/v1/requests/a/b"],
)
async def test_what_is_no_route_is_not_found(api: Api, path: str) -> None:
    assert (await call(api, path))[0] == 404


async def test_costs_become_a_question(api: Api, ledger: Ledger) -> None:
    status, body = await call(api, "/v1/costs", "by=team&since=2026-01-02T03:04:05Z&cursor=%3Dsearch")

    assert status == 200
    assert body == {"rows": [{"attempts": 1}], "cursor": "next"}
    assert [each.query for each in ledger.asked] == [
        CostsQuery(by="team", since_ms=1767323045000, cursor="=search")
    ]


async def test_costs_may_end_before_now(api: Api, ledger: Ledger) -> None:
    query = "by=provider_key&since=2026-01-02T03:04:05Z&until=2026-01-02T03:04:06Z"

    assert (await call(api, "/v1/costs", query))[0] == 200
    assert ledger.asked[-1].query == CostsQuery(
        by="provider_key", since_ms=1767323045000, until_ms=1767323046000
    )
    status, body = await call(api, "/v1/costs", "until=tomorrow")
    assert status == 400
    assert body["error"]["message"].startswith("until: ")


async def test_a_span_counts_back_from_now(api: Api, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keyrail_control.api.ledger.now_ms", lambda: 10_000_000_000)
    for span, back in (("30m", 1_800_000), ("1h", 3_600_000), ("7d", 604_800_000)):
        assert (await call(api, "/v1/attempts", f"since={span}"))[0] == 200
        assert ledger.asked[-1].query == AttemptsQuery(since_ms=10_000_000_000 - back)


async def test_alerts_become_a_question(api: Api, ledger: Ledger) -> None:
    assert (await call(api, "/v1/alerts", "since=2026-01-02T03:04:05Z"))[0] == 200
    assert ledger.asked[-1].query == AlertsQuery(since_ms=1767323045000)


@pytest.mark.parametrize(
    "query",
    [
        "since=yesterday",
        "since=1w",
        "since=2026-01-02T03:04:05",
        "since=999999d",
        "since=0001-01-01T00:00:00%2B23:59",
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
    status, body = await call(api, "/v1/costs", query)

    assert status == 400
    assert body["error"]["message"]
    assert ledger.asked == []


async def test_a_request_is_one_object(api: Api, ledger: Ledger) -> None:
    assert await call(api, "/v1/requests/some-id") == (200, {"attempts": 1, "decisions": [{"attempts": 1}]})
    assert [each.query for each in ledger.asked] == [
        RequestQuery(request_id="some-id"),
        DecisionsQuery(request_id="some-id"),
    ]
    ledger.page = LedgerPage()
    assert (await call(api, "/v1/requests/some-id"))[0] == 404


async def test_metrics_and_health_are_open(api: Api) -> None:
    assert await call(api, "/metrics", authorization=None) == (200, b"up 1\n")
    assert await call(api, "/healthz", authorization=None) == (200, {"status": "ok"})


async def test_providers_are_a_page(api: Api) -> None:
    assert await call(api, "/v1/providers") == (
        200,
        {"rows": [{"provider": "openai", "keys": ["env"]}], "cursor": None},
    )


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (Unavailable("the ledger is not there"), 503, True),
        (LedgerFailed("the cursor is not one of ours"), 502, True),
        (Invalid("by: no"), 400, True),
        (InvalidKey("the id must be"), 400, True),
        (Unknown("there is none"), 404, True),
        (Conflict("it is there"), 409, True),
        (KeyStoreUnavailable("gone"), 503, True),
        (BusUnavailable("inside"), 503, False),
        (TimeoutError("inside"), 503, False),
        (RuntimeError("inside"), 500, False),
    ],
)
async def test_what_goes_wrong_is_an_answer(
    api: Api, ledger: Ledger, error: Exception, status: int, said: bool
) -> None:
    ledger.error = error
    got, body = await call(api, "/v1/costs")
    assert got == status
    assert (str(error) in body["error"]["message"]) == said


class Inner(Struct):
    a: int


class Wanted(Body, frozen=True, kw_only=True):
    value: Secret
    weight: int = 1
    names: list[str] = []
    inner: Inner | None = None


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "value is missing"),
        (b"{}", "value is missing"),
        (b'{"value": 7}', "value: must be str"),
        (b'{"value": null}', "value: must be str"),
        (b'{"value": "s", "weight": "7"}', "weight: must be int, not str"),
        (b'{"value": "s", "weight": 1.5}', "weight: must be int, not float"),
        (b'{"value": "s", "names": ["a", 5]}', "names[1]: must be str, not int"),
        (b'{"value": "s", "inner": {}}', "inner.a is missing"),
        (b'{"value": "s", "inner": {"a": "x"}}', "inner.a: must be int, not str"),
        (b'{"value": "s", "wieght": 1}', "the body has an unknown field: wieght"),
        (b'{"value": "s", "sk-A9": 1}', "the body has an unknown field"),
        (b"[]", "the body: must be object, not array"),
        (b"{", "the body is not valid JSON in UTF-8"),
        (b'{"value": "\xff"}', "the body is not valid JSON in UTF-8"),
    ],
)
def test_a_wrong_body_is_said_to_be_so_by_the_name_of_its_field(body: bytes, said: str) -> None:
    with pytest.raises(Invalid) as refused:
        bodies.decode(Wanted, body, "application/json; charset=utf-8")
    assert str(refused.value) == said
    assert refused.value.__cause__ is refused.value.__context__ is None, "the cause holds what was sent"


def test_a_secret_is_wrapped_as_it_is_read() -> None:
    read = bodies.decode(Wanted, b'{"value": "sk-1"}', "application/json")
    assert read.value == Secret("sk-1")
    assert "sk-1" not in repr(read)


async def test_a_secret_in_an_answer_is_an_error_not_an_answer() -> None:
    async def leak(call: Call[None]) -> dict[str, Any]:
        return {"value": Secret("sk-1")}

    status, body = await call_(Route("GET", "/leak", "", leak, answer=dict[str, Any]))
    assert (status, "sk-1" in str(body)) == (500, False)


async def test_a_path_gives_its_parameters() -> None:
    async def echo(call: Call[None]) -> dict[str, str]:
        return dict(call.path)

    route: Route[None] = Route("GET", "/a/{x}/b.c/{y}", "", echo, answer=dict[str, str])
    assert await call(api_of(route), "/a/1/b.c/2 3") == (200, {"x": "1", "y": "2 3"})
    for other in ("/a//b.c/2", "/a/1/bxc/2", "/a/1/b.c/2/3", "/a/1/b.c/"):
        assert (await call(api_of(route), other))[0] == 404


async def call_(route: Route[Any]) -> tuple[int, Any]:
    return await call(api_of(route), route.path)
