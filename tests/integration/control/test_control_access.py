"""Who may ask, over real HTTP: every route of the table, and what is none."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from support.control import TOKEN, Controlled, Home
from support.nats import NatsServer

from keyrail.keys import virtual
from keyrail_control.api.routing import Route
from scripts.export_admin_api import routes

ROUTES = routes()
GUARDED = [route for route in ROUTES if not route.open]
pytestmark = pytest.mark.asyncio(loop_scope="module")


def named(route: Route[Any]) -> str:
    return f"{route.method} {route.path}"


def path(route: Route[Any]) -> str:
    filled = route.path
    for parameter in route.parameters:
        filled = filled.replace(f"{{{parameter}}}", "something")
    return filled


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def control(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Controlled]:
    server = NatsServer(tmp_path_factory.mktemp("nats"))
    await server.start()
    running = await Controlled.start(server, Home(tmp_path_factory.mktemp("home")))
    yield running
    await running.stop()
    server.stop()


@pytest.mark.parametrize("route", GUARDED, ids=named)
async def test_a_route_is_refused_to_who_has_not_the_token(control: Controlled, route: Route[Any]) -> None:
    issued = virtual.issue().key
    wrong: list[list[tuple[str, str]]] = [
        [],
        [("authorization", f"Bearer {issued}")],
        [("x-api-key", issued)],
        [("x-api-key", TOKEN)],
        [("authorization", "Bearer wrong")],
        [("authorization", "Bearer")],
        [("authorization", TOKEN)],
        [("authorization", f"Basic {TOKEN}")],
        [("authorization", f"Bearer {TOKEN}x")],
        [("authorization", f"Bearer {TOKEN}"), ("authorization", f"Bearer {TOKEN}")],
        [("authorization", f"Bearer {TOKEN}, Bearer {TOKEN}")],
    ]
    async with httpx.AsyncClient(base_url=control.http.base_url, trust_env=False) as client:
        for headers in wrong:
            answer = await client.request(route.method, path(route), headers=headers, content=b"{")
            assert answer.status_code == 401, headers
            assert answer.headers["www-authenticate"] == "Bearer"
            assert answer.json() == {"error": {"message": "the admin token is missing or wrong"}}
        answer = await client.request(route.method, f"{path(route)}?token={TOKEN}&api_key={TOKEN}")
        assert answer.status_code == 401


@pytest.mark.parametrize("route", ROUTES, ids=named)
async def test_a_route_takes_its_own_methods_and_says_which(control: Controlled, route: Route[Any]) -> None:
    taken = {each.method for each in ROUTES if each.pattern.fullmatch(path(route))}
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"):
        if method in taken:
            continue
        answer = await control.http.request(method, path(route))
        assert answer.status_code == 405
        assert set(answer.headers["allow"].split(", ")) == taken


@pytest.mark.parametrize("route", [route for route in GUARDED if route.body], ids=named)
async def test_a_body_is_read_strictly(control: Controlled, route: Route[Any]) -> None:
    before = await control.rows("/v1/config/history"), await control.rows("/v1/tokens")
    typed = {"content-type": "application/json"}
    bad = [b"[]", b"null", b'"CANARY"', b"{", b'{"CANARY":1}', b'{"value": "CANARY", "x": }', b"\xff{}"]
    bad += [b'{"unknown": "CANARY"}', b'{"a":' * 100_000, b'{"text": "\\ud800"}', b"{} CANARY"]
    for body in bad:
        answer = await control.http.request(route.method, path(route), content=body, headers=typed)
        assert answer.status_code == 400, body[:40]
        assert answer.json()["error"]["message"]
        assert "CANARY" not in answer.text
    for content_type in ("text/plain", "application/x-www-form-urlencoded"):
        answer = await control.http.request(
            route.method, path(route), content=b"{}", headers={"content-type": content_type}
        )
        assert answer.status_code == 400
    assert (await control.rows("/v1/config/history"), await control.rows("/v1/tokens")) == before


@pytest.mark.parametrize("route", [route for route in ROUTES if not route.body], ids=named)
async def test_a_route_without_a_body_takes_none_and_no_unknown_parameters(
    control: Controlled, route: Route[Any]
) -> None:
    answer = await control.http.request(route.method, path(route), content=b'{"force": true}')
    assert answer.status_code == 400
    for query in ("sinse=1h", "since=1h&since=2h", "since=%ff"):
        answer = await control.http.request(route.method, f"{path(route)}?{query}")
        assert answer.status_code == 400


@pytest.mark.parametrize(
    "odd", ["/", "/v1", "/v1/nothing", "/v1/costs/", "/V1/costs", "//v1/costs", "/v1/keys/a/b", "/healthz/x"]
)
async def test_what_is_no_route_is_refused_before_it_is_said_to_be_none(
    control: Controlled, odd: str
) -> None:
    async with httpx.AsyncClient(base_url=control.http.base_url, trust_env=False) as client:
        for method in ("GET", "POST", "DELETE"):
            assert (await client.request(method, odd)).status_code == 401
    assert (await control.http.get(odd)).status_code == 404


async def test_an_open_path_is_open_to_its_method_alone(control: Controlled) -> None:
    async with httpx.AsyncClient(base_url=control.http.base_url, trust_env=False) as client:
        assert (await client.get("/healthz")).json() == {"status": "ok"}
        assert (await client.get("/metrics")).status_code == 200
        assert (await client.post("/healthz")).status_code == 401


async def test_nobody_is_told_to_send_a_body_before_the_token_is_right(control: Controlled) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", control.control.port)
    writer.write(
        b"POST /v1/keys HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\nexpect: 100-continue\r\n\r\n"
    )
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    assert head.startswith(b"HTTP/1.1 401 ")
    writer.close()
    await writer.wait_closed()


async def test_a_body_that_is_too_long_is_413(control: Controlled) -> None:
    body = json.dumps({"text": "#" * (4 << 20)})
    answer = await control.http.post(
        "/v1/config/check", content=body, headers={"content-type": "application/json"}
    )
    assert answer.status_code == 413


async def test_the_description_that_is_served_is_the_one_in_the_docs(control: Controlled) -> None:
    committed = Path(__file__).parents[3] / "docs/admin-api.json"
    assert await control.get("/openapi.json") == json.loads(committed.read_text())
