"""Serves the table: who may ask, which route, a strict body, an answer. Everything else is refused.

Who asks is looked at first, by the head alone: without the token, whether a path exists is not told, and no
body is read.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
from dataclasses import dataclass
from functools import partial
from typing import Final

import msgspec
from nats.errors import Error as NatsError

from keyrail.bus.errors import BusError
from keyrail.http.request import Request
from keyrail.keys.base import InvalidKey, KeyNotFound, KeyStoreError
from keyrail_control.api import bodies, routing
from keyrail_control.api.routing import JSON, Call, Match, Routes, Text
from keyrail_control.errors import BadConfig, Conflict, Invalid, LedgerFailed, Unavailable, Unknown

log = logging.getLogger(__name__)

MAX_BODY: Final = 3 << 20
"""A configuration of the largest size, as a JSON string."""
_STATUS: Final[tuple[tuple[type[Exception], int], ...]] = (
    (Invalid, 400),
    (InvalidKey, 400),
    (Unknown, 404),
    (KeyNotFound, 404),
    (Conflict, 409),
    (LedgerFailed, 502),
    (Unavailable, 503),
    (KeyStoreError, 503),
)
_BUS_ERRORS: Final = (BusError, NatsError, TimeoutError, OSError)
_ENCODER = msgspec.json.Encoder(decimal_format="string")


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer."""

    status: int
    body: bytes
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()


class Api:
    """A handler for HttpServer. `routes` is all it serves; `token_sha256` is a hex digest."""

    def __init__(self, routes: Routes, token_sha256: str) -> None:
        self.routes = routes
        self._token_sha256 = token_sha256.lower()
        self._tasks: set[asyncio.Task[None]] = set()

    def __call__(self, request: Request) -> None:
        """Answer one request."""
        given = request.headers.get(b"authorization")
        if b"authorization" in request.repeated:
            given = None
        admitted = self.admit(request.method, request.path, given)
        if isinstance(admitted, Answer):
            _send(request, admitted)
        else:
            request.read(MAX_BODY, partial(self._with_body, request, admitted))

    def admit(self, method: str, path: str, authorization: bytes | None) -> Match | Answer:
        """The route that is to serve the request, or why none is."""
        found = routing.find(self.routes, method, path)
        if isinstance(found, Match) and found.route.open:
            return found
        if not self._authorised(authorization):
            refusal = error(401, "the admin token is missing or wrong")
            return Answer(401, refusal.body, headers=(("www-authenticate", "Bearer"),))
        if isinstance(found, Match):
            return found
        if not found:
            return error(404, "no such path")
        refusal = error(405, f"this path takes {' and '.join(found)}")
        return Answer(405, refusal.body, headers=(("allow", ", ".join(found)),))

    async def answer(self, match: Match, query: bytes, content_type: str, body: bytes) -> Answer:
        """Let the route serve. Whatever goes wrong is an answer too, and its reason in the log."""
        try:
            return await _served(match, query, content_type, body)
        except BadConfig as bad:
            return _bad_config(bad)
        except Exception as failure:  # the edge of the process
            for kind, status in _STATUS:
                if isinstance(failure, kind):
                    return error(status, str(failure))
            if isinstance(failure, _BUS_ERRORS):
                log.warning("admin request failed", extra={"error": type(failure).__name__})
                return error(503, "the bus does not answer")
            log.exception("admin request failed")
            return error(500, "internal error")

    def _authorised(self, given: bytes | None) -> bool:
        if given is None or given[:7].lower() != b"bearer ":
            return False
        return hmac.compare_digest(hashlib.sha256(given[7:]).hexdigest(), self._token_sha256)

    def _with_body(self, request: Request, match: Match, body: bytes | None) -> None:
        if body is None:
            _send(request, error(413, f"the body is longer than {MAX_BODY} bytes"))
            return
        task = asyncio.get_running_loop().create_task(self._run(request, match, body))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, request: Request, match: Match, body: bytes) -> None:
        content_type = request.headers.get(b"content-type", b"").decode("latin-1")
        _send(request, await self.answer(match, request.query, content_type, body))


def error(status: int, message: str) -> Answer:
    """An answer that says what is wrong."""
    return Answer(status, _ENCODER.encode({"error": {"message": message}}))


async def _served(match: Match, query: bytes, content_type: str, body: bytes) -> Answer:
    route = match.route
    parameters = routing.query(query, route.query)
    if route.body is None:
        bodies.nothing(body)
        call = Call(match.path, parameters, None)
    else:
        call = Call(match.path, parameters, bodies.decode(route.body, body, content_type))
    answer = await route.serve(call)
    if isinstance(answer, Text):
        return Answer(route.status, answer.body, answer.content_type)
    return Answer(route.status, _ENCODER.encode(answer))


def _bad_config(bad: BadConfig) -> Answer:
    problems = [{"line": each.line, "message": each.message} for each in bad.problems]
    return Answer(400, _ENCODER.encode({"error": {"message": str(bad)}, "problems": problems}))


def _send(request: Request, answer: Answer) -> None:
    headers = (("content-type", answer.content_type), ("cache-control", "no-store"), *answer.headers)
    request.answer(answer.status, headers, answer.body)
