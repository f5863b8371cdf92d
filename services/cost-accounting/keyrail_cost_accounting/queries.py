"""Questions to SQL, and rows to pages. Pure. Values travel as server-side parameters, never in the text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

from keyrail.contracts.base import Json
from keyrail.contracts.ledger import (
    PAGE,
    AlertsQuery,
    AttemptsQuery,
    CostsQuery,
    LedgerPage,
    RequestQuery,
)
from keyrail_cost_accounting.costs import GROUP_KEY
from keyrail_cost_accounting.statement import Parameters, Statement

PAGE_BYTES = 800_000
"""A page's JSON stays below a bus message of 1 MB."""
SETTLING = timedelta(seconds=60)
"""How long after its last attempt a request may go on without a row: the next hop, or a late event."""

Record = dict[str, Json]


class BadCursor(ValueError):
    """The cursor is not one that an earlier page gave."""


ATTEMPT = """
toString(a.attempt_id) AS attempt_id, toString(a.request_id) AS request_id, a.status AS status,
a.provider AS provider, a.model AS model,
a.input_tokens AS input_tokens, a.cache_read_tokens AS cached_input_tokens,
a.cache_write_tokens AS cache_write_tokens, a.output_tokens AS output_tokens,
a.reasoning_tokens AS reasoning_tokens, a.served_tier AS served_tier,
toString(a.cost_usd) AS cost_usd, a.price_source AS price_source, a.price_version AS price_version,
a.estimated AS estimated, a.failure AS failure, a.detail AS detail, a.http_status AS http_status,
a.finish AS finish, a.upstream_id AS upstream_id,
a.tenant AS tenant, a.key_id AS key_id, a.team AS team, a.feature AS feature, a.route AS route,
a.strategy AS strategy, a.role AS role, a.standing AS standing, a.basis AS basis,
a.revision AS revision, a.epoch AS epoch, a.hop AS hop,
a.provider_key_id AS provider_key_id, a.stream AS stream,
concat(replaceOne(toString(a.started_at), ' ', 'T'), 'Z') AS started_at,
concat(replaceOne(toString(a.settled_at), ' ', 'T'), 'Z') AS settled_at,
a.first_byte_ms AS first_byte_ms, a.first_content_ms AS first_content_ms, a.duration_ms AS duration_ms,
a.worker AS worker, a.role AS role, a.standing AS standing, a.basis AS basis
"""

REQUEST = """
toString(r.request_id) AS request_id, r.status AS status, r.model AS model, r.http_status AS http_status,
r.failure AS failure, r.detail AS detail, r.dialect AS dialect, r.stream AS stream,
r.tenant AS tenant, r.key_id AS key_id, r.team AS team, r.feature AS feature,
r.dispatches AS dispatches, r.ingress AS ingress,
concat(replaceOne(toString(r.received_at), ' ', 'T'), 'Z') AS received_at,
r.first_byte_ms AS first_byte_ms, r.duration_ms AS duration_ms
"""

ALERT = """
a.alert_id AS alert_id, a.kind AS kind, a.tenant AS tenant, a.subject AS subject, a.detail AS detail,
a.raised_by AS raised_by, concat(replaceOne(toString(a.raised_at), ' ', 'T'), 'Z') AS raised_at
"""

OPEN_ATTEMPTS = Statement(
    "SELECT toString(a.attempt_id) AS attempt_id, a.worker AS worker"
    " FROM attempts AS a FINAL WHERE a.rank = 0 AND a.status = 'running'"
)


def attempts(query: AttemptsQuery) -> Statement:
    """Attempts, oldest first. Raises BadCursor."""
    where, parameters = _where(query.tenant, query.since_ms)
    if query.cursor is not None:
        at_ms, attempt_id = attempt_position(query.cursor)
        at = "fromUnixTimestamp64Milli({at:Int64}, 'UTC')"
        where += f" AND a.started_at >= {at} AND (a.started_at, a.attempt_id) > ({at}, {{after:UUID}})"
        parameters |= {"at": at_ms, "after": attempt_id}
    return Statement(
        f"SELECT {ATTEMPT} FROM attempts AS a FINAL WHERE {where}"
        f" ORDER BY a.started_at, a.attempt_id LIMIT {PAGE + 1}",
        parameters,
    )


def alerts(query: AlertsQuery) -> Statement:
    """Alerts, oldest first. Raises BadCursor."""
    where, parameters = _where(query.tenant, query.since_ms, "raised_at")
    if query.cursor is not None:
        at_ms, alert_id = position(query.cursor)
        where += (
            " AND (a.raised_at, a.alert_id) > (fromUnixTimestamp64Milli({at:Int64}, 'UTC'), {after:String})"
        )
        parameters |= {"at": at_ms, "after": alert_id}
    return Statement(
        f"SELECT {ALERT} FROM alerts AS a FINAL WHERE {where}"
        f" ORDER BY a.raised_at, a.alert_id LIMIT {PAGE + 1}",
        parameters,
    )


def request(query: RequestQuery) -> tuple[Statement, Statement] | None:
    """The request's own row, and its attempts in order. None: no request can have this id."""
    try:
        request_id = str(UUID(query.request_id))
    except ValueError:
        return None
    parameters: Parameters = {"id": request_id}
    tenant = ""
    if query.tenant is not None:
        parameters["tenant"] = query.tenant
        tenant = " AND tenant = {tenant:String}"
    return (
        Statement(
            f"SELECT {REQUEST} FROM requests AS r FINAL WHERE r.request_id = {{id:UUID}}{tenant}", parameters
        ),
        Statement(
            f"SELECT {ATTEMPT} FROM attempts AS a FINAL WHERE a.request_id = {{id:UUID}}{tenant}"
            " ORDER BY a.epoch, a.hop, a.started_at, a.attempt_id",
            parameters,
        ),
    )


def lost(attempt_ids: list[str], now_ms: int) -> Statement:
    """Settle these attempts as lost where the ledger still shows them as running: rank 1, cost unknown."""
    changed = {
        "rank": "1",
        "status": "'lost'",
        "failure": "'unavailable'",
        "detail": "'the worker of this attempt was not heard from any more'",
        "estimated": "true",
        "settled_at": "fromUnixTimestamp64Milli({now:Int64}, 'UTC')",
    }
    replaced = ", ".join(f"{value} AS {column}" for column, value in changed.items())
    return Statement(
        # the condition is inside: outside, `rank` would be the one replaced
        f"INSERT INTO attempts SELECT * REPLACE ({replaced}) FROM"
        " (SELECT * FROM attempts FINAL WHERE rank = 0 AND attempt_id IN {ids:Array(UUID)})",
        {"ids": attempt_ids, "now": now_ms},
    )


def page(query: CostsQuery | AttemptsQuery | AlertsQuery, rows: Sequence[Record]) -> LedgerPage:
    """Rows that fit one message, with a cursor when there are more."""
    fit = fitting(rows)
    more = len(fit) < len(rows)
    if isinstance(query, CostsQuery):
        cursor = str(fit[-1][GROUP_KEY]) if more else None
        shown = [{name: value for name, value in row.items() if name != GROUP_KEY} for row in fit]
        return LedgerPage(rows=shown, cursor=cursor, error=None)
    at, id = ("raised_at", "alert_id") if isinstance(query, AlertsQuery) else ("started_at", "attempt_id")
    cursor = f"{fit[-1][at]} {fit[-1][id]}" if more else None
    return LedgerPage(rows=list(fit), cursor=cursor, error=None)


def request_page(own: Sequence[Record], its_attempts: Sequence[Record], now: datetime) -> LedgerPage:
    """The request as one row with its attempts, derived from them while it has no row of its own."""
    if own:
        record = dict(own[0])
    elif its_attempts:
        record = _derived(its_attempts, now)
    else:
        return LedgerPage()
    record["cost_usd"] = _total(its_attempts)
    record["attempts"] = list(its_attempts)
    if len(json.dumps(record)) > PAGE_BYTES:
        return LedgerPage(error=f"the request has {len(its_attempts)} attempts: more than one answer holds")
    return LedgerPage(rows=[record], cursor=None, error=None)


def _derived(its_attempts: Sequence[Record], now: datetime) -> Record:
    """A request that runs, or whose ingress died before it could say how it ended."""
    first, last = its_attempts[0], its_attempts[-1]
    ended = [row["settled_at"] for row in its_attempts]
    runs = None in ended or now - max(_time(str(at)) for at in ended) < SETTLING
    return {
        "request_id": first["request_id"],
        "status": "running" if runs else "lost",
        "model": first["route"] or f"{first['provider']}/{first['model']}",
        "http_status": None,
        "failure": None,
        "detail": None,
        "dialect": None,
        "stream": first["stream"],
        "tenant": first["tenant"],
        "key_id": first["key_id"],
        "team": first["team"],
        "feature": first["feature"],
        "dispatches": last["epoch"],
        "ingress": None,
        "received_at": first["started_at"],
        "first_byte_ms": None,
        "duration_ms": None,
    }


def _total(its_attempts: Sequence[Record]) -> str | None:
    """The sum of what the attempts cost; None when one of them is not known."""
    total = Decimal(0)
    for row in its_attempts:
        cost = row["cost_usd"]
        if not isinstance(cost, str):
            return None
        total += Decimal(cost)
    return format(total, "f")


def _where(tenant: str | None, since_ms: int | None, at: str = "started_at") -> tuple[str, Parameters]:
    conditions, parameters = ["1"], Parameters()
    if tenant is not None:
        conditions.append("a.tenant = {tenant:String}")
        parameters["tenant"] = tenant
    if since_ms is not None:
        conditions.append(f"a.{at} >= fromUnixTimestamp64Milli({{since:Int64}}, 'UTC')")
        parameters["since"] = since_ms
    return " AND ".join(conditions), parameters


def position(cursor: str) -> tuple[int, str]:
    """The time and the rest of a cursor. Raises BadCursor."""
    try:
        at, _, id = cursor.partition(" ")
        return round(_time(at).timestamp() * 1000), id
    except ValueError as error:
        raise BadCursor("the cursor is not one that an earlier page gave") from error


def attempt_position(cursor: str) -> tuple[int, str]:
    """Time and id of the last attempt on the page before. Raises BadCursor."""
    at_ms, id = position(cursor)
    try:
        return at_ms, str(UUID(id))
    except ValueError as error:
        raise BadCursor("the cursor is not one that an earlier page gave") from error


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def fitting(rows: Sequence[Record]) -> Sequence[Record]:
    """Those, from the first on, that one page holds; at least one of them."""
    size = 0
    for index, row in enumerate(rows[:PAGE]):
        size += len(json.dumps(row))
        if size > PAGE_BYTES and index > 0:
            return rows[:index]
    return rows[:PAGE]
