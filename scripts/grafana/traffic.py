"""The dashboards of traffic: how well it went, and which way it took."""

from __future__ import annotations

from typing import Final

from scripts.grafana import decisions, sql
from scripts.grafana.panels import Board, chart, stat, table

_ANSWERED: Final = sql.ratio("countIf(c.status = 'ok')", "count()")
_BAD: Final = "c.failed + c.lost"
_FAILED_SHARE: Final = f"{sql.ratio(f'sum({_BAD})', 'sum(c.attempts)')} AS failed_share"


def _quantiles(column: str, name: str) -> str:
    levels = {"p50": "0.5", "p95": "0.95", "p99": "0.99"}
    return ", ".join(f"quantile({level})(c.{column}) AS {name}_{short}_ms" for short, level in levels.items())


def _latency(name: str, column: str) -> sql.Split:
    return sql.by_name(name, _quantiles(column, column.removesuffix("_ms")), sql.attempts(), "started_at")


RELIABILITY: Final = Board(
    "keyrail-reliability",
    "Keyrail: reliability and latency",
    "How requests and upstream calls ended, how long they took, and what failures cost.",
    (
        stat(
            "Requests answered",
            sql.total(f"{_ANSWERED} AS answered_share", sql.requests()),
            "percentunit",
            "Share of the requests that ended well, whatever it took.",
        ),
        stat(
            "Failed attempts",
            sql.total(_FAILED_SHARE),
            "percentunit",
            "Share of the upstream calls that failed or were lost.",
        ),
        stat("Cost of failed attempts", sql.total("sum(c.failed_usd) AS failed_usd")),
        stat("Cost of retries", sql.total("sum(c.retried_usd) AS retried_usd")),
        stat(
            "First content, 95 of 100",
            sql.total("quantile(0.95)(c.first_content_ms) AS first_content_p95_ms", sql.attempts()),
            "ms",
            "From the call of the provider to the first content, of 95 of 100 attempts.",
        ),
        stat("Attempts under way", sql.total("sum(c.running) AS running"), "short"),
        chart(
            "Attempts by outcome",
            sql.over_time(
                "sum(c.ok) AS ok, sum(c.failed) AS failed, sum(c.cancelled) AS cancelled,"
                " sum(c.lost) AS lost, sum(c.running) AS running"
            ),
            "short",
            stacked=True,
        ),
        chart(
            "Requests by outcome",
            sql.by_name("status", "count() AS requests", sql.requests(), "received_at"),
            "short",
            stacked=True,
        ),
        chart("Failed share, by provider",
              sql.dearest("provider", _FAILED_SHARE, "sum(c.attempts)"), "percentunit"),
        chart(
            "Cost of failed and retried attempts",
            sql.over_time("sum(c.failed_usd) AS failed_usd, sum(c.retried_usd) AS retried_usd"),
        ),
        chart("Duration of an attempt, by provider", _latency("provider", "duration_ms"), "ms"),
        chart("Time to the first content, by provider", _latency("provider", "first_content_ms"), "ms"),
        chart(
            "Duration of a request",
            sql.over_time(_quantiles("duration_ms", "duration"), sql.requests(), "received_at"),
            "ms",
        ),
        chart("Time to the first byte, by provider", _latency("provider", "first_byte_ms"), "ms"),
        table(
            "Why attempts failed",
            "SELECT c.provider AS provider, c.model AS model, ifNull(c.failure, '(none)') AS failure,"
            " count() AS attempts, sum(c.cost_usd) AS spend_usd,"
            f" countIf(isNull(c.cost_usd)) AS unknown_attempts\nFROM {sql.attempts()}\n"
            "WHERE c.status IN ('failed', 'lost', 'cancelled')\n"
            "GROUP BY provider, model, failure ORDER BY attempts DESC, provider, model, failure LIMIT 100",
        ),
        table(
            "Models by latency",
            sql.ranking(
                ("provider", "model"),
                f"count() AS attempts, {_quantiles('duration_ms', 'duration')},"
                f" {_quantiles('first_content_ms', 'first_content')}",
                100,
                sql.attempts(),
            ),
        ),
    ),
    range="now-24h",
)  # fmt: skip

_FALLBACK_SHARE: Final = f"{sql.ratio('sum(c.attempts) - sum(c.requests)', 'sum(c.attempts)')} AS again_share"

ROUTING: Final = Board(
    "keyrail-routing",
    "Keyrail: routing",
    "Which way requests took, how often the first target was not the one that answered, and what routes saved"
    " against their reference.",
    (
        stat(
            "Attempts that were not the first",
            sql.total(_FALLBACK_SHARE),
            "percentunit",
            "Share of the upstream calls that were made because an earlier one of the same request failed.",
        ),
        stat(
            "Attempts for a request",
            sql.total(
                f"{sql.ratio('toFloat64(sum(c.attempts))', 'sum(c.requests)')} AS attempts_per_request"
            ),
            "short",
        ),
        stat("Saved by routes", sql.total("sum(c.routing_saved_usd) AS routing_saved_usd")),
        stat("Cost of retries", sql.total("sum(c.retried_usd) AS retried_usd")),
        stat(
            "Dispatched again",
            sql.total("countIf(c.dispatches > 1) AS dispatched_again", sql.requests()),
            "short",
            "Requests whose worker was lost before it had answered.",
        ),
        stat("Routes in use", sql.total("uniqExact(c.route) AS routes"), "short"),
        chart(
            "Attempts by strategy",
            sql.by_name("strategy", "count() AS attempts", sql.attempts(), "started_at"),
            "short",
            stacked=True,
        ),
        chart("Attempts that were not the first, by route",
              sql.dearest("route", _FALLBACK_SHARE, "sum(c.attempts)"), "percentunit"),
        chart(
            "Saved by routes, over time",
            sql.dearest(
                "route", "sum(c.routing_saved_usd) AS routing_saved_usd", "abs(sum(c.routing_saved_usd))"
            ),
        ),
        chart("Spend by route", sql.dearest("route", f"{sql.SPEND} AS spend_usd"), stacked=True),
        table(
            "Routes and their targets",
            sql.ranking(
                ("route", "provider", "model"),
                f"{sql.SPEND} AS spend_usd, sum(c.requests) AS requests, sum(c.attempts) AS attempts,"
                f" {_FALLBACK_SHARE}, {_FAILED_SHARE}, sum(c.retried_usd) AS retried_usd,"
                " sum(c.routing_saved_usd) AS routing_saved_usd",
                200,
            ),
        ),
        table(
            "Strategies",
            sql.ranking(
                ("strategy",),
                "count() AS attempts, countIf(c.number = 1) AS requests, sum(c.cost_usd) AS spend_usd,"
                " countIf(isNull(c.cost_usd)) AS unknown_attempts,"
                " quantile(0.95)(c.duration_ms) AS duration_p95_ms",
                50,
                sql.attempts(),
            ),
            width=12,
        ),
        table(
            "Features that routes save most for",
            sql.ranking(
                ("team", "feature"),
                f"sum(c.routing_saved_usd) AS routing_saved_usd, {sql.SPEND} AS spend_usd",
                50,
            ),
            width=12,
        ),
        *decisions.PANELS,
    ),
)  # fmt: skip
