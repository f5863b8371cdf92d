"""Panels of what routing decided, of races, and of the cache of answers."""

from __future__ import annotations

from typing import Final

from scripts.grafana import sql
from scripts.grafana.panels import Panel, chart, stat, table

_ROUTED: Final = sql.some_attempts("number = 1 AND isNotNull(route) AND isNotNull(reference)")
_SAME: Final = "toFloat64(countIf(concat(c.provider, '/', c.model) = c.reference))"
_AT_REFERENCE: Final = f"{sql.ratio(_SAME, 'count()')} AS reference_share"
_RACED: Final = sql.some_attempts("isNotNull(standing)")
_LOST: Final = sql.some_attempts("standing = 'lost'")
_CACHED: Final = sql.some_attempts("ifNull(price_source, '') = 'cache'")
_SAVED: Final = "sum(c.uncached_usd) AS answers_saved_usd"


def _decisions(name: str) -> sql.Split:
    return sql.by_name(name, "count() AS decisions", sql.decisions(), "routed_at")


PANELS: Final[tuple[Panel, ...]] = (
    stat("Answered out of the cache", sql.total("count() AS cache_hits", _CACHED), "short",
         "Answers of this gateway's own cache: they cost nothing."),
    stat("Saved by the cache of answers", sql.total(_SAVED, _CACHED),
         about="What these answers did cost when they were made."),
    stat("First at the reference", sql.total(_AT_REFERENCE, _ROUTED), "percentunit",
         "Share of routed requests whose first attempt went to the reference of its route."),
    stat("Cost of lost races", sql.total("sum(c.cost_usd) AS lost_race_usd", _LOST),
         about="What attempts did cost whose answer nobody got, because another one was there first."),
    chart("Decisions by strategy",
          _decisions("strategy"), "short", stacked=True),
    chart("Decisions by the target that was chosen",
          _decisions("chosen"), "short", stacked=True),
    chart("Gates that were closed",
          sql.by_name("gate", "count() AS closed", sql.gates(), "routed_at"), "short", stacked=True),
    chart("First at the reference, by route",
          sql.by_name("route", _AT_REFERENCE, _ROUTED, "started_at"), "percentunit"),
    chart("Cost of races, won and lost",
          sql.by_name("standing", "sum(c.cost_usd) AS spend_usd", _RACED, "started_at"), stacked=True),
    chart("Saved by the cache of answers, by route",
          sql.by_name("route", _SAVED, _CACHED, "started_at"), stacked=True),
    table(
        "Races, and what their costs rest on",
        "SELECT c.standing AS standing, c.role AS role, ifNull(c.basis, '(unknown)') AS basis,"
        " count() AS attempts, sum(c.cost_usd) AS spend_usd,"
        f" countIf(isNull(c.cost_usd)) AS unknown_attempts\nFROM {_RACED}\n"
        "GROUP BY standing, role, basis ORDER BY attempts DESC, standing, role, basis LIMIT 50",
        width=12,
    ),
    table("Answers out of the cache, by target",
          sql.ranking(("route", "provider", "model"), f"count() AS cache_hits, {_SAVED}", 50, _CACHED),
          width=12),
)  # fmt: skip
