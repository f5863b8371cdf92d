"""Questions about what routing decided, and what was said of the quality of answers."""

from __future__ import annotations

from keyrail.contracts.base import Contract


class DecisionsQuery(Contract, frozen=True, kw_only=True, tag_field="kind", tag="decisions"):
    """Decisions at or after `since_ms` and before `until_ms`, of each tenant oldest first.

    A row is a RequestRouted as JSON, with `routed_at` for `routed_ms`; money is a string. `most`: rows of a
    page.
    """

    tenant: str | None = None
    route: str | None = None
    request_id: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    cursor: str | None = None
    most: int | None = None


class VerdictsQuery(Contract, frozen=True, kw_only=True, tag_field="kind", tag="verdicts"):
    """Verdicts given at or after `since_ms` and before `until_ms`, oldest first.

    One that was given several times is there once, as it was given first.
    """

    tenant: str | None = None
    route: str | None = None
    task: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    cursor: str | None = None
