"""Routes of prices: which are in force, setting one, and which there were."""

from __future__ import annotations

import asyncio
import difflib
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from keyrail.contracts.base import now_ms
from keyrail.contracts.ledger import CostsQuery, LedgerQuery
from keyrail.contracts.repricing import PricesQuery
from keyrail_control import price_rows, price_text
from keyrail_control.api.bodies import Body
from keyrail_control.api.pages import Rows
from keyrail_control.api.routing import Call, Route, Routes
from keyrail_control.configuration import Configuration
from keyrail_control.errors import Invalid, LedgerFailed, Unavailable, Unknown
from keyrail_control.price_rows import Model
from keyrail_control.price_text import NotEditable
from keyrail_control.seeding import Ask

LATELY_MS: Final = 30 * 86_400_000
LISTED: Final = 500
"""Most models in one answer."""
_MODEL: Final = {
    "provider": "of this provider alone",
    "model": "of this model alone, and then provider is needed",
}


class NewPrice(Body, frozen=True, kw_only=True):
    """What a model costs from now on, or `from` then on, in US dollars per million tokens (searches: per
    thousand).

    It replaces the whole price: what has no rate of its own counts as input, or output. `dry_run`: say only
    what would change.
    """

    provider: Annotated[str, Meta(min_length=1, max_length=64)]
    model: Annotated[str, Meta(min_length=1, max_length=200)]
    input: Decimal
    output: Decimal
    cache_read: Decimal | None = None
    cache_write: Decimal | None = None
    cache_write_1h: Decimal | None = None
    audio_input: Decimal | None = None
    audio_output: Decimal | None = None
    searches: Decimal | None = None
    since: Annotated[str, Meta(max_length=40)] | None = msgspec.field(default=None, name="from")
    dry_run: bool = False


class PriceSet(msgspec.Struct, frozen=True, kw_only=True):
    """`revision` is in force; `diff` is what it changed in the text, or would."""

    revision: int
    changed: bool
    diff: str


@dataclass(frozen=True, slots=True)
class PriceRoutes:
    """`ask` raises Unavailable and LedgerFailed."""

    configuration: Configuration
    ask: Ask

    def routes(self) -> Routes:
        """This part of the table."""
        return (
            Route(
                "GET",
                "/v1/prices",
                "Prices in force, of what is named or was used lately",
                self._list,
                answer=Rows,
                query=_MODEL,
                errors=(404,),
            ),
            Route(
                "POST",
                "/v1/prices",
                "Set a price: a new revision of the configuration",
                self._set,
                NewPrice,
                PriceSet,
                errors=(404, 409),
            ),
            Route(
                "GET",
                "/v1/prices/history",
                "Prices that a model had and will have",
                self._history,
                answer=Rows,
                query={"provider": "whose model", "model": "which", "cursor": "from the page before"},
                errors=(502,),
            ),
        )

    async def _list(self, call: Call[None]) -> Rows:
        provider, model = call.query.get("provider"), call.query.get("model")
        if model is not None and provider is None:
            raise Invalid("model: needs provider too")
        view = await self.configuration.view()
        if provider is not None and provider not in view.providers:
            raise Unknown("there is no such provider")
        if provider is not None and model is not None:
            wanted = [(provider, model)]
        else:
            found = {*price_rows.named(view), *await self._used_lately()}
            wanted = [each for each in found if provider in (None, each[0])]
        after = call.query.get("cursor")
        left = [each for each in sorted(wanted, key="/".join) if after is None or "/".join(each) > after]
        rows = await asyncio.to_thread(price_rows.in_force, left[:LISTED], view, now_ms())
        return Rows(rows=rows, cursor="/".join(left[LISTED - 1]) if len(left) > LISTED else None)

    async def _used_lately(self) -> list[Model]:
        """As far as the ledger says; a list of prices does not fail because it is away."""
        found: list[Model] = []
        query = CostsQuery(by="model", since_ms=now_ms() - LATELY_MS)
        try:
            while True:
                page = await self.ask(LedgerQuery(query=query))
                found += [(str(row["provider"]), str(row["model"])) for row in page.rows]
                if page.cursor is None:
                    return found
                query = query.replace(cursor=page.cursor)
        except (Unavailable, LedgerFailed):
            return found

    async def _set(self, call: Call[NewPrice]) -> PriceSet:
        new = call.body
        if new.provider not in (await self.configuration.view()).providers:
            raise Unknown("there is no such provider")
        edit = partial(_edited, new=new, rates=_rates(new))
        if new.dry_run:
            before, after, revision = await self.configuration.revised(edit)
            changed = before != after
        else:
            before, after, published = await self.configuration.revise(edit)
            revision, changed = published.view.revision, published.changed
        return PriceSet(revision=revision, changed=changed, diff=_diff(before, after))

    async def _history(self, call: Call[None]) -> Rows:
        provider, model = call.query.get("provider"), call.query.get("model")
        if not provider or not model:
            raise Invalid("provider and model: both are needed")
        cursor = call.query.get("cursor")
        query = PricesQuery(provider=provider, model=model, cursor=cursor)
        page = await self.ask(LedgerQuery(query=query))
        ours = [{"source": "configured", **row} for row in page.rows]
        theirs = [] if page.cursor is not None else await asyncio.to_thread(price_rows.dated, provider, model)
        return Rows(rows=[*ours, *theirs], cursor=page.cursor)


def _rates(new: NewPrice) -> dict[str, Decimal]:
    found: dict[str, Decimal] = {}
    for name in price_rows.RATES:
        rate: Decimal | None = getattr(new, name)
        if rate is None:
            continue
        if not (rate.is_finite() and 0 <= rate <= 1_000_000):
            raise Invalid(f"{name}: must be US dollars, a number from 0 to 1000000")
        found[name] = rate
    return found


def _edited(text: str, new: NewPrice, rates: dict[str, Decimal]) -> str:
    try:
        return price_text.with_price(text, new.provider, new.model, rates, new.since)
    except NotEditable as error:
        raise Invalid(str(error)) from None


def _diff(before: str, after: str) -> str:
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), "in force", "new", lineterm="")
    return "\n".join(lines)
