"""Routes of virtual keys. The secret is in one answer, and nowhere after that."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from keyrail.config import budgets
from keyrail.contracts.base import now_ms
from keyrail.contracts.budgets import Budget, Limits
from keyrail.contracts.config import TokenRecord
from keyrail.keys.base import check_name
from keyrail_control import texts
from keyrail_control.api.bodies import Body
from keyrail_control.api.pages import Page
from keyrail_control.api.routing import Call, Route, Routes
from keyrail_control.errors import Invalid
from keyrail_control.virtual_keys import VirtualKeys

LONGEST_TAG: Final = 64
MOST_MODELS: Final = 200
MOST_BUDGETS: Final = 8
_TAG_EXTRA: Final = frozenset("._-:/@ ")
_MODEL: Final = re.compile(r"[!-~]{1,200}")
Most = Annotated[int, Meta(ge=1, le=1_000_000_000)]


class IssueToken(Body, frozen=True, kw_only=True):
    """What a virtual key may do. `tags`: whether its requests may name a team and feature that it lacks.

    `models`: names or patterns with `*` and `?`; none: everything. `budgets` such as `10/day`, `5/day/soft`,
    `100` (a month). `expires`: a span such as `30d`, or an RFC 3339 time.
    """

    tenant: str = "default"
    team: str | None = None
    feature: str | None = None
    tags: bool = True
    models: list[str] = []
    rpm: Most | None = None
    tpm: Most | None = None
    concurrent: Most | None = None
    budgets: list[str] = []
    expires: str | None = None


class RotateToken(Body, frozen=True, kw_only=True):
    """How long the secret before stays good: `24h`, `0s` not at all."""

    overlap: str = "0s"


class TokenRow(msgspec.Struct, frozen=True, kw_only=True):
    """A virtual key without its secret. After a rotation the one before is good until `previous_until_ms`."""

    id: str
    tenant: str
    team: str | None
    feature: str | None
    tags: bool
    models: list[str]
    rpm: int | None
    tpm: int | None
    concurrent: int | None
    budgets: list[str]
    created_ms: int
    expires_ms: int | None
    revoked: bool
    previous_until_ms: int | None


class IssuedToken(TokenRow, frozen=True, kw_only=True):
    """A new virtual key. `key` is shown this once."""

    key: str


class RotatedToken(msgspec.Struct, frozen=True, kw_only=True):
    """The new secret. `key` is shown this once; the one before is good until `previous_until_ms`."""

    id: str
    key: str
    previous_until_ms: int | None


@dataclass(frozen=True, slots=True)
class TokenRoutes:
    """What can be done with virtual keys."""

    tokens: VirtualKeys

    def routes(self) -> Routes:
        """This part of the table."""
        return (
            Route("GET", "/v1/tokens", "All virtual keys, oldest first", self._list, answer=Page[TokenRow]),
            Route(
                "POST", "/v1/tokens", "Issue a virtual key", self._issue, IssueToken, IssuedToken, status=201
            ),
            Route(
                "POST",
                "/v1/tokens/{id}/rotate",
                "Give a virtual key a new secret",
                self._rotate,
                RotateToken,
                RotatedToken,
                errors=(404, 409),
            ),
            Route(
                "DELETE",
                "/v1/tokens/{id}",
                "Revoke a virtual key",
                self._revoke,
                answer=TokenRow,
                errors=(404,),
            ),
        )

    async def _list(self, call: Call[None]) -> Page[TokenRow]:
        return Page(rows=[row(record) for record in await self.tokens.records()])

    async def _issue(self, call: Call[IssueToken]) -> IssuedToken:
        record, issued = await self.tokens.issue(record_of(call.body, now_ms()))
        return IssuedToken(**msgspec.structs.asdict(row(record)), key=issued.key)

    async def _rotate(self, call: Call[RotateToken]) -> RotatedToken:
        overlap = texts.span_ms("overlap", call.body.overlap)
        record, issued = await self.tokens.rotate(call.path["id"], overlap)
        return RotatedToken(id=record.id, key=issued.key, previous_until_ms=record.previous_until_ms)

    async def _revoke(self, call: Call[None]) -> TokenRow:
        return row(await self.tokens.revoke(call.path["id"]))


def row(record: TokenRecord) -> TokenRow:
    """What is shown of a record."""
    return TokenRow(
        id=record.id,
        tenant=record.tenant,
        team=record.team,
        feature=record.feature,
        tags=record.tags,
        models=list(record.models),
        rpm=record.limits.rpm,
        tpm=record.limits.tpm,
        concurrent=record.limits.concurrent,
        budgets=[budgets.written(budget) for budget in record.budgets],
        created_ms=record.created_ms,
        expires_ms=record.expires_ms,
        revoked=record.revoked,
        previous_until_ms=record.previous_until_ms,
    )


def record_of(wanted: IssueToken, now: int) -> TokenRecord:
    """A record without id and hash. Raises Invalid and InvalidKey, by the name of the field."""
    check_name("tenant", wanted.tenant)
    _check_tag("team", wanted.team)
    _check_tag("feature", wanted.feature)
    if len(wanted.models) > MOST_MODELS:
        raise Invalid(f"models: at most {MOST_MODELS}")
    for index, model in enumerate(wanted.models):
        if not _MODEL.fullmatch(model):
            raise Invalid(f"models[{index}]: 1 to 200 characters without blanks")
    return TokenRecord(
        id="",
        sha256="",
        tenant=wanted.tenant,
        team=wanted.team,
        feature=wanted.feature,
        tags=wanted.tags,
        created_ms=now,
        expires_ms=None if wanted.expires is None else texts.after("expires", wanted.expires, now),
        models=tuple(wanted.models),
        limits=Limits(rpm=wanted.rpm, tpm=wanted.tpm, concurrent=wanted.concurrent),
        budgets=_budgets(wanted.budgets),
    )


def _check_tag(name: str, text: str | None) -> None:
    """As ingress wants it of a header, so that both can name the same team."""
    if text is None:
        return
    if not 1 <= len(text) <= LONGEST_TAG or not all(c.isalnum() or c in _TAG_EXTRA for c in text):
        raise Invalid(f"{name}: 1 to {LONGEST_TAG} letters, digits or '._-:/@ '")


def _budgets(texts: Sequence[str]) -> tuple[Budget, ...]:
    if len(texts) > MOST_BUDGETS:
        raise Invalid(f"budgets: at most {MOST_BUDGETS}")
    found: list[Budget] = []
    for index, text in enumerate(texts):
        budget = budgets.parse(text)
        if isinstance(budget, str):
            raise Invalid(f"budgets[{index}]: {budget}")
        if any((each.per, each.soft) == (budget.per, budget.soft) for each in found):
            kind = "soft" if budget.soft else "hard"
            raise Invalid(f"budgets[{index}]: there is a {kind} budget by {budget.per} already")
        found.append(budget)
    return tuple(found)
