"""Questions about decisions and verdicts to SQL, and rows to pages. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from keyrail.contracts.decisions import DecisionsQuery, VerdictsQuery
from keyrail.contracts.ledger import PAGE, LedgerPage
from keyrail_cost_accounting.queries import BadCursor, Record, fitting, position
from keyrail_cost_accounting.statement import Parameters, Statement

DECISION: Final = """
toString(d.request_id) AS request_id, d.epoch AS epoch, d.tenant AS tenant, d.key_id AS key_id,
d.team AS team, d.feature AS feature, d.route AS route, d.strategy AS strategy, d.revision AS revision,
d.task AS task, d.targets AS targets, d.candidates AS candidates, d.code AS code, d.reason AS reason,
d.propensity AS propensity, d.draw AS draw, d.worth AS worth, d.failure AS failure, d.facts AS facts,
d.router AS router,
concat(replaceOne(toString(d.routed_at), ' ', 'T'), 'Z') AS routed_at
"""
VERDICT: Final = """
d.verdict_id AS verdict_id, if(isNull(d.request_id), NULL, toString(d.request_id)) AS request_id,
d.tenant AS tenant, d.route AS route, d.task AS task, d.target AS target, d.score AS score,
d.weight AS weight, d.source AS source, d.given_by AS given_by,
concat(replaceOne(toString(d.given_at), ' ', 'T'), 'Z') AS given_at
"""
_TEXTS: Final = ("candidates", "facts")
_AT: Final = "fromUnixTimestamp64Milli({{{name}:Int64}}, 'UTC')"


def decisions(query: DecisionsQuery) -> Statement | None:
    """In the order of the table, which is read no further than a page. None: no request can have this id.

    Raises BadCursor.
    """
    where, parameters = _where(query, "routed_at")
    if query.request_id is not None:
        try:
            parameters["id"] = str(UUID(query.request_id))
        except ValueError:
            return None
        where += " AND d.request_id = {id:UUID}"
    if query.cursor is not None:
        where += (
            " AND d.tenant >= {after_tenant:String}"
            f" AND (d.tenant > {{after_tenant:String}} OR d.routed_at >= {_AT.format(name='at')})"
            " AND (d.tenant, d.routed_at, d.request_id, d.epoch) >"
            f" ({{after_tenant:String}}, {_AT.format(name='at')}, {{after:UUID}}, {{epoch:UInt32}})"
        )
        parameters |= _decision_position(query.cursor)
    return Statement(
        f"SELECT {DECISION} FROM decisions AS d FINAL WHERE {where}"
        f" ORDER BY d.tenant, d.routed_at, d.request_id, d.epoch LIMIT {_most(query) + 1}",
        parameters,
    )


def verdicts(query: VerdictsQuery) -> Statement:
    """Oldest first. Raises BadCursor."""
    where, parameters = _where(query, "given_at")
    if query.task is not None:
        where += " AND d.task = {task:String}"
        parameters["task"] = query.task
    if query.cursor is not None:
        where += f" AND (d.given_at, d.verdict_id) > ({_AT.format(name='at')}, {{after:String}})"
        at_ms, after = position(query.cursor)
        parameters |= {"at": at_ms, "after": after}
    return Statement(
        f"SELECT {VERDICT} FROM verdicts AS d FINAL WHERE {where}"
        f" ORDER BY d.given_at, d.verdict_id LIMIT {PAGE + 1}",
        parameters,
    )


def decisions_page(query: DecisionsQuery, rows: Sequence[Record]) -> LedgerPage:
    """Rows with their candidates and facts as JSON, as many as fit."""
    fit = fitting(rows[: _most(query)])
    shown = [row | {name: json.loads(str(row[name])) for name in _TEXTS} for row in fit]
    cursor = None
    if len(fit) < len(rows):
        last = fit[-1]
        cursor = f"{last['routed_at']} {last['request_id']} {last['epoch']} {last['tenant']}"
    return LedgerPage(rows=shown, cursor=cursor, error=None)


def verdicts_page(rows: Sequence[Record]) -> LedgerPage:
    """Rows that fit one message."""
    fit = fitting(rows)
    cursor = f"{fit[-1]['given_at']} {fit[-1]['verdict_id']}" if len(fit) < len(rows) else None
    return LedgerPage(rows=list(fit), cursor=cursor, error=None)


def _most(query: DecisionsQuery) -> int:
    return PAGE if query.most is None else max(1, min(query.most, PAGE))


def _where(query: DecisionsQuery | VerdictsQuery, at: str) -> tuple[str, Parameters]:
    conditions, parameters = ["1"], Parameters()
    for name, value in (("tenant", query.tenant), ("route", query.route)):
        if value is not None:
            conditions.append(f"d.{name} = {{{name}:String}}")
            parameters[name] = value
    for name, sign, ms in (("since", ">=", query.since_ms), ("until", "<", query.until_ms)):
        if ms is not None:
            conditions.append(f"d.{at} {sign} {_AT.format(name=name)}")
            parameters[name] = ms
    return " AND ".join(conditions), parameters


def _decision_position(cursor: str) -> Parameters:
    """Of the last decision on the page before. Raises BadCursor."""
    at_ms, rest = position(cursor)
    try:
        id, epoch, tenant = rest.split(" ", 2)
        number = int(epoch)
        if not 0 <= number < 1 << 32:
            raise ValueError(epoch)
        return {"at": at_ms, "after": str(UUID(id)), "epoch": number, "after_tenant": tenant}
    except ValueError as error:
        raise BadCursor("the cursor is not one that an earlier page gave") from error
