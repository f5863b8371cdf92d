"""OpenAI's reports.

- Pages of `GET /v1/organization/usage/completions` (and `embeddings`, `moderations`) and of
  `GET /v1/organization/costs`: as the types `UsageCompletionsResponse` and `UsageCostsResponse` of the
  official `openai` package (3.54) say. A line item of the costs is a model, a comma and the kind of token.
- The CSVs of the same two that the platform's usage page exports: their columns are the fields above
  (`start_time`, `num_model_requests`, ... and `amount_value`, `amount_currency`, `line_item`), as exports
  that people have published show; counts are written with a fraction there (`10.0`). Days without any use
  are rows without values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from keyrail.reconciliation import buckets, fields
from keyrail.reconciliation.parsed import Amounts, Identity, Misread

USAGE: Final = "openai-usage"
COSTS: Final = "openai-costs"
_TIMES: Final = ("start_time", "end_time", "start_time_iso", "end_time_iso")
_COUNTED: Final = ("input_tokens", "output_tokens", "num_model_requests")
Entry = tuple[Identity, Amounts]


def is_page(page: Mapping[str, Any]) -> bool:
    """Whether JSON is a page of one of these."""
    first: Any = next(iter(page.get("data") or ()), None)
    return page.get("object") == "page" or (isinstance(first, dict) and "start_time" in first)


def csv_source(columns: set[str]) -> str | None:
    """Which export has these columns."""
    if {"start_time", "amount_value"} <= columns:
        return COSTS
    if "start_time" in columns and columns & {"input_tokens", "num_model_requests"}:
        return USAGE
    return None


def page_source(page: Mapping[str, Any]) -> str:
    """Usage or costs, by the first result; a page without any is of usage."""
    return COSTS if buckets.of_money(page) else USAGE


def bucket(found: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The results of a bucket as rows of the CSV."""
    for result in buckets.results(found):
        amount = result.get("amount")
        money = amount if isinstance(amount, dict) else {}
        yield {
            **result,
            "start_time": found.get("start_time"),
            "end_time": found.get("end_time"),
            "amount_value": money.get("value"),
            "amount_currency": money.get("currency"),
        }


def row(values: Mapping[str, Any]) -> Entry | None:
    """A row of one of the CSVs, or a result in its shape; None for one of a day without use."""
    if all(values.get(name) in (None, "") for name in values if name not in _TIMES):
        return None
    day = fields.bucket_day(fields.count(values, "start_time"), fields.count(values, "end_time"))
    if values.get("amount_value") not in (None, ""):
        return _cost(values, day)
    if all(values.get(name) in (None, "") for name in _COUNTED[:2]):
        raise Misread("neither tokens nor money: what this counts is not on the ledger")
    # what it is split by beside key and model (tier, batch, user) is added up
    return (
        Identity(day, "usage", fields.text(values, "api_key_id"), fields.text(values, "model")),
        Amounts(
            fields.count(values, "num_model_requests"),
            fields.count(values, "input_tokens"),
            fields.count(values, "output_tokens"),
            fields.count(values, "input_cached_tokens"),
            fields.count(values, "input_cache_write_tokens"),
        ),
    )


def _cost(values: Mapping[str, Any], day: str) -> Entry:
    fields.dollars(values, "amount_currency")
    item = fields.text(values, "line_item")
    model, comma, _ = item.partition(", ")
    return (
        Identity(day, "cost", fields.text(values, "api_key_id"), model if comma else "", item),
        Amounts(cost_usd=fields.money(values, "amount_value")),
    )
