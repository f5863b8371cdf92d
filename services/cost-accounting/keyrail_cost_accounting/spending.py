"""What counts towards budgets, as SQL. Pure.

An attempt counts in the period in which its request came in, with what it did cost, or with the most that it
can cost where that is not known.
"""

from __future__ import annotations

from uuid import UUID

from keyrail.contracts.budgets import Account
from keyrail.contracts.ledger import HoldQuery, SpendQuery
from keyrail_cost_accounting.statement import Parameters, Statement

DAY_MS = 86_400_000
LONGEST_MS = 2 * DAY_MS
"""An attempt starts at most so long after its request came in: a request lasts a day at most."""
SPENT = "ifNull(toString(sum(ifNull(a.cost_usd, a.held_usd))), '0')"


def spend(query: SpendQuery) -> Statement:
    """One row with `cost_usd`."""
    where, parameters = _period(query.since_ms, query.until_ms)
    where += " AND a.tenant = {tenant:String}"
    parameters["tenant"] = query.tenant
    for column, value in (("team", query.team), ("key_id", query.key_id)):
        if value is not None:
            where += f" AND a.{column} = {{{column}:String}}"
            parameters[column] = value
    return Statement(f"SELECT {SPENT} AS cost_usd FROM attempts AS a FINAL WHERE {where}", parameters)


def by_router(account: Account, routers: list[str]) -> Statement:
    """A row for each of these routers that the ledger knows in this account: `router` and `spent_usd`."""
    where, parameters = _period(account.since_ms, account.until_ms)
    for column in ("key_id", "tenant", "team"):
        if (value := getattr(account, column)) is not None:
            where += f" AND a.{column} = {{{column}:String}}"
            parameters[column] = value
    return Statement(
        f"SELECT a.router AS router, {SPENT} AS spent_usd FROM attempts AS a FINAL"
        f" WHERE {where} AND a.router IN {{routers:Array(String)}} GROUP BY a.router",
        parameters | {"routers": routers},
    )


def unrest(routers: list[str], since_ms: int) -> Statement:
    """Those of these routers of whose attempts one runs, or ended at `since_ms` or later: another one of the
    same request may follow it."""
    return Statement(
        "SELECT DISTINCT a.router AS router FROM attempts AS a FINAL"
        " WHERE a.router IN {routers:Array(String)}"
        " AND (a.status = 'running' OR a.settled_at >= fromUnixTimestamp64Milli({since:Int64}, 'UTC'))",
        {"routers": routers, "since": since_ms},
    )


def hold(query: HoldQuery) -> Statement:
    """One row as HoldQuery says. Raises ValueError when no request can have this id."""
    request_id = str(UUID(query.request_id))
    return Statement(
        "SELECT count() AS attempts, countIf(a.status = 'running') AS running,"
        " ifNull(toString(sum(a.cost_usd)), '0') AS cost_usd,"
        " arrayMap(x -> x.1, groupArrayIf(tuple(toString(a.held_usd)), isNull(a.cost_usd)"
        " AND a.status != 'running')) AS unknown"
        " FROM attempts AS a FINAL WHERE a.request_id = {id:UUID} AND a.router = {router:String}",
        {"id": request_id, "router": query.router},
    )


def _period(since_ms: int, until_ms: int | None) -> tuple[str, Parameters]:
    """By the time at which requests came in. The bounds of the start are for the table's order alone."""
    at, since = "ifNull(a.received_at, a.started_at)", "fromUnixTimestamp64Milli({since:Int64}, 'UTC')"
    where = f"{at} >= {since} AND a.started_at >= fromUnixTimestamp64Milli({{from:Int64}}, 'UTC')"
    parameters: Parameters = {"since": since_ms, "from": since_ms - DAY_MS}
    if until_ms is not None:
        where += (
            f" AND {at} < fromUnixTimestamp64Milli({{until:Int64}}, 'UTC')"
            " AND a.started_at < fromUnixTimestamp64Milli({to:Int64}, 'UTC')"
        )
        parameters |= {"until": until_ms, "to": until_ms + LONGEST_MS}
    return where, parameters
