"""Anthropic's reports.

- Pages of `GET /v1/organizations/usage_report/messages` and `GET /v1/organizations/cost_report`, as the API's
  reference says (platform.claude.com, Admin API). Amounts are decimal strings in cents. The cost report knows
  no keys; its `model` is there when it was grouped by `description`.
- The console's CSVs, whose columns are known from exports that people have published: usage
  (`usage_date_utc`, `model_version`, `api_key`, `usage_input_tokens_no_cache`, ...) and cost
  (`usage_date_utc`, `model` by its display name, `api_key`, `token_type`, `cost_usd` in whole cents). Their
  `api_key` is the key's name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from keyrail.reconciliation import buckets, fields
from keyrail.reconciliation.parsed import Amounts, Identity, Misread

USAGE: Final = "anthropic-usage"
COSTS: Final = "anthropic-costs"
CONSOLE_COSTS: Final = "anthropic-console-costs"
_TIMES: Final = ("starting_at", "ending_at")
_IN_CSV: Final = {
    "uncached_input_tokens": "usage_input_tokens_no_cache",
    "cache_read_input_tokens": "usage_input_tokens_cache_read",
    "output_tokens": "usage_output_tokens",
    "ephemeral_5m_input_tokens": "usage_input_tokens_cache_write_5m",
    "ephemeral_1h_input_tokens": "usage_input_tokens_cache_write_1h",
}
Entry = tuple[Identity, Amounts]


def is_page(page: Mapping[str, Any]) -> bool:
    """Whether JSON is a page of one of these."""
    first: Any = next(iter(page.get("data") or ()), None)
    return isinstance(first, dict) and "starting_at" in first


def csv_source(columns: set[str]) -> str | None:
    """Which export has these columns."""
    if {"usage_date_utc", "cost_usd"} <= columns:
        return CONSOLE_COSTS
    return USAGE if {"usage_date_utc", "usage_output_tokens"} <= columns else None


def page_source(page: Mapping[str, Any]) -> str:
    """Usage or costs, by the first result."""
    return COSTS if buckets.of_money(page) else USAGE


def bucket(found: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The results of a bucket with its times."""
    for result in buckets.results(found):
        written = result.get("cache_creation")
        yield {
            **result,
            **(written if isinstance(written, dict) else {}),
            "day": found.get("starting_at"),
        }


def result(values: Mapping[str, Any]) -> Entry:
    """A result of a page."""
    day = fields.day(values, "day")
    if "amount" in values:
        fields.dollars(values, "currency")
        cents = fields.money(values, "amount")
        line = fields.text(values, "description") or fields.text(values, "cost_type")
        return (
            Identity(day, "cost", "", fields.text(values, "model"), line),
            Amounts(cost_usd=None if cents is None else cents.scaleb(-2)),
        )
    return _usage(day, fields.text(values, "api_key_id"), fields.text(values, "model"), values)


def row(values: Mapping[str, Any]) -> Entry:
    """A row of one of the console's CSVs."""
    day = fields.day(values, "usage_date_utc")
    key = fields.text(values, "api_key")
    if "cost_usd" in values:
        kinds = (
            "workspace",
            "usage_type",
            "context_window",
            "token_type",
            "cost_type",
            "inference_geo",
            "speed",
        )
        line = "|".join(fields.text(values, name) for name in kinds)
        return (
            Identity(day, "cost", key, fields.text(values, "model"), line),
            Amounts(cost_usd=fields.money(values, "cost_usd")),
        )
    renamed = {ours: values.get(theirs) for ours, theirs in _IN_CSV.items()}
    if "usage_input_tokens_cache_write" in values:  # before there were two durations
        renamed["ephemeral_5m_input_tokens"] = values["usage_input_tokens_cache_write"]
    return _usage(day, key, fields.text(values, "model_version"), renamed)


def _usage(day: str, key: str, model: str, values: Mapping[str, Any]) -> Entry:
    uncached = fields.count(values, "uncached_input_tokens")
    read = fields.count(values, "cache_read_input_tokens")
    written = fields.total(
        fields.count(values, "ephemeral_5m_input_tokens"), fields.count(values, "ephemeral_1h_input_tokens")
    )
    output = fields.count(values, "output_tokens")
    if uncached is None and output is None:
        raise Misread("neither tokens nor money")
    return (
        Identity(day, "usage", key, model),
        Amounts(None, fields.total(uncached, read, written), output, read, written),
    )
