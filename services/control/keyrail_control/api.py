"""The admin HTTP API: questions to the ledger, providers and metrics, for one holder of the admin token.

A table says which paths exist and whether they are open; everything else is refused before it is looked at.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast, get_args
from urllib.parse import parse_qsl, unquote

import msgspec

from keyrail.contracts.base import now_ms
from keyrail.contracts.ledger import (
    AttemptsQuery,
    CostsQuery,
    Grouping,
    LedgerPage,
    LedgerQuery,
    RequestQuery,
)

log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGI = Callable[[Scope, Receive, Send], Awaitable[None]]
Ask = Callable[[LedgerQuery], Awaitable[LedgerPage]]
Scrape = Callable[[], Awaitable[bytes]]
Rows = Callable[[], Awaitable[list[dict[str, object]]]]

UNITS_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
SPAN = re.compile(r"(\d{1,6})([smhd])")
JSON = "application/json"


class Unavailable(Exception):
    """Raised by `ask` when nobody answers for the ledger: 503."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer."""

    status: int
    body: bytes
    content_type: str = JSON


class Refused(Exception):
    """The request cannot be served as it is."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Call:
    """What a route gets to see of a request."""

    query: Mapping[str, str]
    tail: str = ""

    def only(self, *names: str) -> None:
        """Refuse parameters that would be ignored: a misspelt filter must not widen an answer."""
        if unknown := self.query.keys() - set(names):
            raise Refused(400, f"unknown parameter: {min(unknown)}")


@dataclass(frozen=True, slots=True)
class Route:
    """A path, or with a slash at its end everything one token below it."""

    path: str
    serve: Callable[[Call], Awaitable[Answer]]
    open: bool = False


class Api:
    """The ASGI application. `routes` is all it serves."""

    def __init__(self, ask: Ask, metrics: Scrape, providers: Rows, token_sha256: str) -> None:
        self._ask = ask
        self._metrics = metrics
        self._providers = providers
        self._token_sha256 = token_sha256.lower()
        self.routes = (
            Route("/healthz", self._health, open=True),
            Route("/metrics", self._scrape, open=True),
            Route("/v1/costs", self._costs),
            Route("/v1/attempts", self._attempts),
            Route("/v1/requests/", self._request),
            Route("/v1/providers", self._list_providers),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(scope["type"])
        try:
            answer = await self._serve(scope)
        except Refused as refused:
            answer = _error(refused.status, str(refused))
        except Exception:  # the edge of the process: an asker gets an answer, the log the reason
            log.exception("admin request failed")
            answer = _error(500, "internal error")
        headers = [(b"content-type", answer.content_type.encode()), (b"cache-control", b"no-store")]
        headers.append((b"content-length", str(len(answer.body)).encode()))
        if answer.status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    async def _serve(self, scope: Scope) -> Answer:
        path = cast("str", scope["path"])
        route = next((each for each in self.routes if _matches(each.path, path)), None)
        if (route is None or not route.open) and not self._authorised(scope):
            raise Refused(401, "the admin token is missing or wrong")
        if route is None:
            raise Refused(404, "no such path")
        if scope["method"] != "GET":
            raise Refused(405, "only GET is served here")
        return await route.serve(Call(_query(scope), unquote(path[len(route.path) :])))

    def _authorised(self, scope: Scope) -> bool:
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        if len(given) != 1 or given[0][:7].lower() != b"bearer ":
            return False
        return hmac.compare_digest(hashlib.sha256(given[0][7:]).hexdigest(), self._token_sha256)

    async def _health(self, call: Call) -> Answer:
        return Answer(200, b'{"status": "ok"}')

    async def _scrape(self, call: Call) -> Answer:
        return Answer(200, await self._metrics(), "text/plain; version=0.0.4; charset=utf-8")

    async def _costs(self, call: Call) -> Answer:
        call.only("by", "since", "cursor")
        query = CostsQuery(
            by=_grouping(call.query.get("by")),
            since_ms=_since(call.query.get("since"), now_ms()),
            cursor=call.query.get("cursor"),
        )
        return _page(await self._question(LedgerQuery(query=query)))

    async def _attempts(self, call: Call) -> Answer:
        call.only("since", "cursor")
        since_ms = _since(call.query.get("since"), now_ms())
        query = AttemptsQuery(since_ms=since_ms, cursor=call.query.get("cursor"))
        return _page(await self._question(LedgerQuery(query=query)))

    async def _request(self, call: Call) -> Answer:
        call.only()
        page = await self._question(LedgerQuery(query=RequestQuery(request_id=call.tail)))
        if not page.rows:
            raise Refused(404, "the ledger does not know this request")
        return Answer(200, msgspec.json.encode(page.rows[0]))

    async def _list_providers(self, call: Call) -> Answer:
        call.only()
        return Answer(200, msgspec.json.encode({"rows": await self._providers(), "cursor": None}))

    async def _question(self, query: LedgerQuery) -> LedgerPage:
        try:
            page = await self._ask(query)
        except (Unavailable, TimeoutError) as error:
            raise Refused(503, str(error) or "the ledger does not answer") from error
        if page.error is not None:
            raise Refused(502, page.error)
        return page


def create_app(ask: Ask, metrics: Scrape, providers: Rows, token_sha256: str) -> Api:
    """The admin API. `ask` raises Unavailable when nobody answers; `token_sha256` is a hex digest."""
    return Api(ask, metrics, providers, token_sha256)


def _matches(pattern: str, path: str) -> bool:
    if not pattern.endswith("/"):
        return path == pattern
    tail = path.removeprefix(pattern)
    return tail not in (path, "") and "/" not in tail


def _query(scope: Scope) -> dict[str, str]:
    try:
        pairs = parse_qsl(scope["query_string"].decode(), keep_blank_values=True, errors="strict")
    except UnicodeDecodeError as error:
        raise Refused(400, "the query is not UTF-8") from error
    if len({name for name, _ in pairs}) != len(pairs):
        raise Refused(400, "a parameter is given twice")
    return dict(pairs)


def _grouping(text: str | None) -> Grouping | None:
    if text is None or text in get_args(Grouping):
        return cast("Grouping | None", text)
    raise Refused(400, f"by: one of {', '.join(get_args(Grouping))}")


def _since(text: str | None, now: int) -> int | None:
    """Milliseconds since the epoch, from a span back from now (`30m`, `1h`, `7d`) or an RFC 3339 time."""
    if text is None:
        return None
    if span := SPAN.fullmatch(text):
        return max(0, now - int(span[1]) * UNITS_MS[span[2]])
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise Refused(400, "since: a span such as 30m, 1h or 7d, or an RFC 3339 time") from error
    if at.tzinfo is None:
        raise Refused(400, "since: the time needs its offset from UTC, such as Z")
    return max(0, int(at.astimezone(UTC).timestamp() * 1000))


def _page(page: LedgerPage) -> Answer:
    return Answer(200, msgspec.json.encode({"rows": page.rows, "cursor": page.cursor}))


def _error(status: int, message: str) -> Answer:
    return Answer(status, msgspec.json.encode({"error": {"message": message}}))
