"""Routes of verdicts: given, listed, and what was learned from them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from keyrail.contracts.base import now_ms
from keyrail.contracts.decisions import VerdictsQuery
from keyrail.contracts.ledger import LedgerQuery
from keyrail.contracts.routing import VerdictGiven
from keyrail.routing.tasks import ANY
from keyrail.routing.text import features
from keyrail_control import texts
from keyrail_control.api.bodies import Body
from keyrail_control.api.pages import Rows
from keyrail_control.api.routing import Call, Route, Routes
from keyrail_control.configuration import Configuration
from keyrail_control.errors import Invalid, Unknown
from keyrail_control.learned import Given, Learned, believed
from keyrail_control.seeding import Ask

DEFAULT: Final = "default"
MOST: Final = 500
"""Verdicts of one question."""
Tenant = Annotated[str, Meta(pattern="^[a-z0-9][a-z0-9_-]{0,63}$")]
Name = Annotated[str, Meta(min_length=1, max_length=200)]
Source = Literal["judge", "check", "human", "outcome", "import"]


class NewVerdict(Body, frozen=True, kw_only=True):
    """How good an answer was, from 0 to 1. What has the same `id` is the same verdict, whatever else it says;
    without an id, what says the same is. Of `prompt` only features are kept, never its text."""

    route: Name
    target: Name
    score: Annotated[float, Meta(ge=0, le=1)]
    tenant: Tenant = DEFAULT
    task: Name = ANY
    id: Name | None = None
    request_id: UUID | None = None
    prompt: str | None = None
    weight: Annotated[float, Meta(gt=0, le=1000)] = 1.0
    source: Source = "import"
    given_by: Name | None = None


class NewVerdicts(Body, frozen=True, kw_only=True):
    """At most 500."""

    verdicts: Annotated[list[NewVerdict], Meta(min_length=1, max_length=MOST)]


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """How many there were, and how many of them were not known before."""

    verdicts: int
    new: int


@dataclass(frozen=True, slots=True)
class VerdictRoutes:
    """`ask` raises Unavailable and LedgerFailed."""

    configuration: Configuration
    learned: Learned
    ask: Ask

    def routes(self) -> Routes:
        """This part of the table."""
        return (
            Route(
                "POST",
                "/v1/verdicts",
                "Say how good answers were",
                self._give,
                NewVerdicts,
                Taken,
            ),
            Route(
                "GET",
                "/v1/verdicts",
                "Verdicts, oldest first",
                self._list,
                answer=Rows,
                query={
                    "tenant": "of this tenant alone",
                    "route": "of this route alone",
                    "task": "of this task alone",
                    "since": "a span back from now (30m, 1h, 7d) or an RFC 3339 time; without it everything",
                    "until": "the same; without it now",
                    "cursor": "from the page before",
                },
                errors=(502,),
            ),
            Route(
                "GET",
                "/v1/routes/{name}/scores",
                "What is believed of a route's targets, by task",
                self._scores,
                answer=Rows,
                query={"tenant": f"whose verdicts; without it {DEFAULT}"},
                errors=(404,),
            ),
        )

    async def _give(self, call: Call[NewVerdicts]) -> Taken:
        at_ms = now_ms()
        given = [_given(each, at_ms) for each in call.body.verdicts]
        return Taken(verdicts=len(given), new=await self.learned.give(given))

    async def _list(self, call: Call[None]) -> Rows:
        now, query = now_ms(), call.query
        since, until = (
            texts.before(name, query[name], now) if name in query else None for name in ("since", "until")
        )
        asked = VerdictsQuery(
            tenant=query.get("tenant"),
            route=query.get("route"),
            task=query.get("task"),
            since_ms=since,
            until_ms=until,
            cursor=query.get("cursor"),
        )
        page = await self.ask(LedgerQuery(query=asked))
        return Rows(rows=page.rows, cursor=page.cursor)

    async def _scores(self, call: Call[None]) -> Rows:
        name = call.path["name"]
        route = (await self.configuration.view()).routes.get(name)
        if route is None:
            raise Unknown("there is no such route")
        tasks = await self.learned.tasks(call.query.get("tenant", DEFAULT), name)
        rows: list[dict[str, Any]] = believed(route, tasks, now_ms())
        return Rows(rows=rows)


def _given(said: NewVerdict, at_ms: int) -> Given:
    if said.prompt is not None and not said.prompt.strip():
        raise Invalid("prompt: must not be empty")
    event = VerdictGiven(
        verdict_id=said.id or _digest(said),
        request_id=None if said.request_id is None else str(said.request_id),
        tenant=said.tenant,
        route=said.route,
        task=said.task,
        target=said.target,
        score=said.score,
        weight=said.weight,
        source=said.source,
        given_by=said.given_by,
        given_ms=at_ms,
    )
    return Given(event, None if said.prompt is None else features(said.prompt).pack())


def _digest(said: NewVerdict) -> str:
    return hashlib.blake2b(msgspec.json.encode(said), digest_size=16).hexdigest()
