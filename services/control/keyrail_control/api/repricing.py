"""Routes that price what was used: anew, and elsewhere. A slice of attempts each; the asker adds them up."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from keyrail.config import document
from keyrail.config.problems import ConfigError
from keyrail.contracts.base import now_ms
from keyrail.contracts.config import ProviderConfig
from keyrail.contracts.ledger import LedgerPage, LedgerQuery
from keyrail.contracts.repricing import RepriceQuery, WhatIfQuery
from keyrail.contracts.slips import Target
from keyrail.providers import registry
from keyrail_control import audit, texts
from keyrail_control.api.bodies import Body
from keyrail_control.api.routing import Call, Route, Routes
from keyrail_control.configuration import FILENAME, Configuration
from keyrail_control.errors import BadConfig, Conflict, Invalid, LedgerFailed, Unknown
from keyrail_control.seeding import Ask

Time = Annotated[str, Meta(max_length=64)]
Name = Annotated[str, Meta(min_length=1, max_length=200)]
SECOND_MS: Final = 1_000


class Reprice(Body, frozen=True, kw_only=True):
    """A slice of the attempts since then, `until` then, after `cursor`.

    With `write` the same slice is written: `to` is the cursor and `digest` the digest of its dry run. Ask
    with the `since` and `until` of the first answer for all others.
    """

    since: Time
    until: Time | None = None
    provider: Name | None = None
    model: Name | None = None
    cursor: Name | None = None
    to: Name | None = None
    digest: Name | None = None
    write: bool = False


class WhatIf(Body, frozen=True, kw_only=True):
    """A slice of the attempts since then, `until` then, after `cursor`.

    Priced at `model` (`provider/model`), under the prices of `contract` (a keyrail.yaml), or both; at each
    attempt's own time, or all as if they began `at` then.
    """

    since: Time
    until: Time | None = None
    model: Name | None = None
    contract: str | None = None
    filename: Annotated[str, Meta(min_length=1, max_length=255)] = FILENAME
    at: Time | None = None
    route: Name | None = None
    team: Name | None = None
    feature: Name | None = None
    cursor: Name | None = None


class Slice(msgspec.Struct, frozen=True, kw_only=True):
    """A slice of attempts, by model. Ask again with `cursor`, null: there are no more."""

    since: str
    until: str
    revision: int | None = None
    catalogue: str | None = None
    digest: str | None = None
    written: int | None = None
    context: int | None = None
    models: list[dict[str, Any]] = []
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class RepricingRoutes:
    """`ask` raises Unavailable and LedgerFailed."""

    configuration: Configuration
    ask: Ask

    def routes(self) -> Routes:
        """This part of the table."""
        return (
            Route(
                "POST",
                "/v1/reprice",
                "Price attempts again: look, then write",
                self._reprice,
                Reprice,
                Slice,
                errors=(409, 502),
            ),
            Route(
                "POST",
                "/v1/whatif",
                "Price attempts at another model or under another contract",
                self._what_if,
                WhatIf,
                Slice,
                errors=(404, 502),
            ),
        )

    async def _reprice(self, call: Call[Reprice]) -> Slice:
        body = call.body
        since_ms, until_ms = _range(body.since, body.until)
        if body.write and body.to is None:
            raise Invalid("to: the cursor of the slice's dry run, without which nothing is written")
        query = RepriceQuery(
            since_ms=since_ms,
            until_ms=until_ms,
            provider=body.provider,
            model=body.model,
            cursor=body.cursor,
            to=body.to,
            digest=body.digest,
            write=body.write,
        )
        page = await self.ask(LedgerQuery(query=query))
        row = _row(page)
        if row.get("stale"):
            raise Conflict(
                "prices or attempts are not those that were shown any more; what was written until now stays:"
                " run it again"
            )
        if body.write and row.get("written"):
            audit.changed("reprice", body.to or "", attempts=row["written"], revision=row["revision"])
        return _slice(page, row, since_ms, until_ms)

    async def _what_if(self, call: Call[WhatIf]) -> Slice:
        body = call.body
        since_ms, until_ms = _range(body.since, body.until)
        if body.model is None and body.contract is None:
            raise Invalid("model or contract: one of them is needed")
        terms = None if body.contract is None else await asyncio.to_thread(_terms, body)
        known = (await self.configuration.view()).providers if terms is None else terms
        query = WhatIfQuery(
            since_ms=since_ms,
            until_ms=until_ms,
            model=None if body.model is None else _target(body.model, known),
            terms=terms,
            at_ms=None if body.at is None else texts.before("at", body.at, now_ms()),
            route=body.route,
            team=body.team,
            feature=body.feature,
            cursor=body.cursor,
        )
        page = await self.ask(LedgerQuery(query=query))
        return _slice(page, _row(page), since_ms, until_ms)


def _range(since: str, until: str | None) -> tuple[int, int]:
    """In whole seconds, so that the texts of the answer mean exactly the same."""
    now = now_ms()
    begin = texts.before("since", since, now)
    end = now if until is None else texts.before("until", until, now)
    begin, end = begin // SECOND_MS * SECOND_MS, -(-end // SECOND_MS) * SECOND_MS
    if begin >= end:
        raise Invalid("until: must be after since")
    return begin, end


def _target(text: str, known: dict[str, ProviderConfig]) -> Target:
    provider, _, model = text.partition("/")
    if not model:
        raise Invalid("model: must be provider/model")
    if provider not in known:
        raise Unknown("there is no such provider")
    return Target(provider=provider, model=model)


def _terms(body: WhatIf) -> dict[str, ProviderConfig]:
    """The prices of the contract. Raises BadConfig."""
    try:
        view = document.parse(body.contract or "", body.filename, registry.configs())
    except ConfigError as error:
        raise BadConfig(error.problems) from None
    return view.providers


def _row(page: LedgerPage) -> dict[str, Any]:
    if len(page.rows) != 1:
        raise LedgerFailed("the ledger did not say what the attempts cost")
    return page.rows[0]


def _slice(page: LedgerPage, row: dict[str, Any], since_ms: int, until_ms: int) -> Slice:
    return Slice(
        since=_time(since_ms),
        until=_time(until_ms),
        cursor=page.cursor,
        **{name: row.get(name) for name in ("revision", "catalogue", "digest", "written", "context")},
        models=row["models"],
    )


def _time(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms / SECOND_MS, UTC):%Y-%m-%dT%H:%M:%SZ}"
