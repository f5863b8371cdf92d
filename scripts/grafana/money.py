"""The dashboards of money: what was spent, by whom, on what, and against which budgets."""

from __future__ import annotations

from typing import Final

from scripts.grafana import sql
from scripts.grafana.panels import USD, Board, chart, stat, table

_SPEND: Final = f"{sql.SPEND} AS spend_usd"
_UNIT_COSTS: Final = (
    f"{_SPEND}, sum(c.requests) AS requests, sum(c.attempts) AS attempts,"
    f" {sql.TOKENS} AS tokens,"
    f" {sql.ratio(sql.SPEND, 'sum(c.requests)')} AS per_request_usd,"
    f" {sql.ratio(f'{sql.SPEND} * 1000', sql.TOKENS)} AS per_1k_tokens_usd"
)
_WASTE: Final = (
    "sum(c.failed_usd) AS failed_usd, sum(c.retried_usd) AS retried_usd,"
    " sum(c.unknown_cost_attempts) AS unknown_attempts"
)
_SAVED: Final = "sum(c.cache_saved_usd) AS cache_saved_usd, sum(c.routing_saved_usd) AS routing_saved_usd"
_UNKNOWN: Final = (
    "Attempts whose cost nobody knows, and of which the sums say nothing: models without a price, attempts"
    " whose worker died, and those that run."
)


def _forecast() -> str:
    start, end = f"toUnixTimestamp({sql.MONTH_START})", f"toUnixTimestamp({sql.MONTH_END})"
    elapsed = f"greatest(toUnixTimestamp($__toTime) - {start}, 1)"
    return sql.total(
        f"{sql.SPEND} * ({end} - {start}) / {elapsed} AS forecast_usd", sql.costs(sql.MONTH_START)
    )


def _movers(name: str) -> str:
    now, before = "c.bucket >= $__fromTime", "c.bucket < $__fromTime"
    spend, spend_before = sql.known("cost_usd", now), sql.known("cost_usd", before)
    key = sql.alias(name)
    return (
        f"SELECT {sql.named(name)}, {spend} AS spend_usd, {spend_before} AS before_usd,"
        f" spend_usd - before_usd AS change_usd\nFROM {sql.costs(sql.BEFORE_START)}\n"
        f"GROUP BY {key} ORDER BY abs(change_usd) DESC NULLS LAST, {key} LIMIT 15"
    )


def _untagged_share() -> str:
    untagged = "sumIf(c.cost_usd, isNull(c.team) OR isNull(c.feature))"
    return f"{sql.ratio(untagged, 'sum(c.cost_usd)')} AS untagged_share"


OVERVIEW: Final = Board(
    "keyrail-overview",
    "Keyrail: spend",
    "What was spent, what is coming, and how sure that is. Days and months are those of UTC.",
    (
        stat("Spend in this range", sql.total(_SPEND)),
        stat(
            "Spend today",
            sql.total(f"{sql.SPEND} AS today_usd", sql.costs(sql.DAY_START)),
            about="The day in which the range ends.",
        ),
        stat(
            "Spend this month",
            sql.total(f"{sql.SPEND} AS month_usd", sql.costs(sql.MONTH_START)),
            about="The month in which the range ends, up to there.",
        ),
        stat(
            "Forecast for the month",
            _forecast(),
            about="If the rest of the month costs what its past did, second for second.",
        ),
        stat("Cost of a request", sql.total(f"{sql.ratio(sql.SPEND, 'sum(c.requests)')} AS per_request_usd")),
        stat(
            "Cost of 1,000 tokens",
            sql.total(f"{sql.ratio(f'{sql.SPEND} * 1000', sql.TOKENS)} AS per_1k_tokens_usd"),
        ),
        stat("Requests", sql.total("sum(c.requests) AS requests"), "short"),
        stat(
            "Attempts of unknown cost",
            sql.total("sum(c.unknown_cost_attempts) AS unknown_attempts"),
            "short",
            _UNKNOWN,
        ),
        stat(
            "Estimated share",
            sql.total(f"{sql.ratio('sum(c.estimated_usd)', 'sum(c.cost_usd)')} AS estimated_share"),
            "percentunit",
            "Share of the spend that rests on token counts worked out here, as the provider sent none.",
        ),
        stat(
            "Untagged share",
            sql.total(_untagged_share()),
            "percentunit",
            "Share of the spend that has no team or no feature.",
        ),
        stat(
            "Failed and retried",
            sql.total("sum(c.failed_usd) AS failed_usd, sum(c.retried_usd) AS retried_usd"),
            about="Cost of attempts that did not end well, and of attempts that were not a request's first. "
            "An attempt may be both.",
        ),
        stat("Saved by caches and routes", sql.total(_SAVED)),
        chart("Spend by provider", sql.dearest("provider", _SPEND), stacked=True),
        chart("Spend by team", sql.dearest("team", _SPEND), stacked=True),
        table("What changed most: teams", _movers("team"), USD, width=12),
        table("What changed most: models", _movers("model"), USD, width=12),
        chart("Cost of failed and retried attempts", sql.over_time(
            "sum(c.failed_usd) AS failed_usd, sum(c.retried_usd) AS retried_usd")),
        chart("Saved by caches and routes, over time", sql.over_time(_SAVED)),
    ),
)  # fmt: skip

TEAMS: Final = Board(
    "keyrail-teams",
    "Keyrail: teams and features",
    "Who spends it on what, what a unit of it costs, and what of it was wasted or saved.",
    (
        chart("Spend by team", sql.dearest("team", _SPEND), stacked=True),
        chart("Spend by feature", sql.dearest("feature", _SPEND), stacked=True),
        table(
            "Teams and features",
            sql.ranking(("team", "feature"), f"{_UNIT_COSTS}, {_WASTE}, {_SAVED}", 200),
            about="Waste is attributed where it arose: failed and retried attempts. What caches saved is less"
            " what writing them cost, so it can be negative.",
        ),
        chart(
            "Cost of a request, by feature",
            sql.dearest("feature", f"{sql.ratio(sql.SPEND, 'sum(c.requests)')} AS per_request_usd"),
        ),
        chart("Requests by team", sql.dearest("team", "sum(c.requests) AS requests"), "short", stacked=True),
        chart("Untagged share of the spend", sql.over_time(_untagged_share()), "percentunit"),
        chart("Spend by virtual key", sql.dearest("key_id", _SPEND), stacked=True),
        table("What changed most: features", _movers("feature"), USD, width=12),
        table("Dearest virtual keys", sql.ranking(("key_id",), _UNIT_COSTS, 20), width=12),
    ),
)

MODELS: Final = Board(
    "keyrail-models",
    "Keyrail: models and providers",
    "Which models the money went to, at what price, and what the provider's own counts say.",
    (
        chart("Spend by provider", sql.dearest("provider", _SPEND), stacked=True),
        chart("Spend by model", sql.dearest("model", _SPEND), stacked=True),
        table(
            "Models",
            sql.ranking(
                ("provider", "model"),
                f"{_UNIT_COSTS}, sum(c.cache_saved_usd) AS cache_saved_usd,"
                f" sum(c.estimated_usd) AS estimated_usd, {_WASTE}",
                200,
            ),
        ),
        chart(
            "Tokens by kind",
            sql.over_time(
                "sum(c.input_tokens) - ifNull(sum(c.cache_read_tokens), 0)"
                " - ifNull(sum(c.cache_write_tokens), 0) AS input_uncached,"
                " sum(c.cache_read_tokens) AS cache_read, sum(c.cache_write_tokens) AS cache_write,"
                " sum(c.output_tokens) - ifNull(sum(c.reasoning_tokens), 0) AS output_visible,"
                " sum(c.reasoning_tokens) AS reasoning"
            ),
            "short",
            stacked=True,
        ),
        chart("Saved by prompt caches, by model",
              sql.dearest("model", "sum(c.cache_saved_usd) AS cache_saved_usd")),
        chart(
            "Cost of 1,000 tokens, by model",
            sql.dearest("model", f"{sql.ratio(f'{sql.SPEND} * 1000', sql.TOKENS)} AS per_1k_tokens_usd"),
        ),
        chart(
            "Attempts of unknown cost, by model",
            sql.dearest(
                "model", "sum(c.unknown_cost_attempts) AS unknown_attempts", "sum(c.unknown_cost_attempts)"
            ),
            "short",
            stacked=True,
            about=_UNKNOWN,
        ),
        table("Provider keys", sql.ranking(("provider", "provider_key_id"), _UNIT_COSTS, 100)),
    ),
)  # fmt: skip

BUDGETS: Final = Board(
    "keyrail-budgets",
    "Keyrail: budgets",
    "Spend by the day and by the month, as budgets count it, and the alerts that were raised. What is left of"
    " each budget is on no table: `keyrail budgets` asks those who hold it.",
    (
        stat(
            "Alerts on budgets",
            sql.total("countIf(startsWith(c.kind, 'budget-')) AS budget_alerts", sql.alerts()),
            "short",
        ),
        stat(
            "Alerts on provider keys",
            sql.total("countIf(startsWith(c.kind, 'key-')) AS key_alerts", sql.alerts()),
            "short",
        ),
        stat("Spend today", sql.total(f"{sql.SPEND} AS today_usd", sql.costs(sql.DAY_START))),
        stat("Spend this month", sql.total(f"{sql.SPEND} AS month_usd", sql.costs(sql.MONTH_START))),
        stat("Forecast for the month", _forecast()),
        stat(
            "Attempts of unknown cost",
            sql.total("sum(c.unknown_cost_attempts) AS unknown_attempts"),
            "short",
            "Budgets count what was held for these.",
        ),
        table(
            "Alerts",
            "SELECT c.raised_at AS time, c.kind AS kind, c.tenant AS tenant, c.subject AS subject,"
            f" c.detail AS detail\nFROM {sql.alerts()}\nORDER BY time DESC, subject LIMIT 200",
        ),
        table(
            "Spend by day and team",
            f"SELECT toStartOfDay(c.bucket, 'UTC') AS time, c.tenant AS tenant, {sql.named('team')},"
            f" {_SPEND}\nFROM {sql.costs()}\nGROUP BY time, tenant, team"
            " ORDER BY time DESC, 4 DESC NULLS LAST, tenant, team LIMIT 500",
            width=12,
        ),
        table(
            "Spend this month, by team",
            sql.ranking(("tenant", "team"), f"{sql.SPEND} AS month_usd", 100, sql.costs(sql.MONTH_START)),
            width=12,
        ),
        table(
            "Spend this month, by virtual key",
            sql.ranking(("tenant", "key_id"), f"{sql.SPEND} AS month_usd", 100, sql.costs(sql.MONTH_START)),
            width=12,
        ),
        table(
            "Spend today, by virtual key",
            sql.ranking(("tenant", "key_id"), f"{sql.SPEND} AS today_usd", 100, sql.costs(sql.DAY_START)),
            width=12,
        ),
    ),
    range="now-30d",
    variables=sql.DIMENSIONS,
)
