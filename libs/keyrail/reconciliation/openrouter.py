"""OpenRouter's reports.

- `GET /api/v1/activity`, as its reference says (openrouter.ai/docs, ActivityItem): money by day, model and
  provider behind it, over all keys. `usage` is what OpenRouter took, `byok_usage_inference` what the provider
  behind it took from a key of one's own; the ledger has both together.
- The CSV of the activity page: a row for each generation with `generation_id`, `created_at`, `cost_total`,
  `model_permaslug`, `api_key_name`, ..., as exports that people have published show.

Tokens can be counted by another tokenizer than the model's there. Money is what ties out.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from keyrail.reconciliation import fields
from keyrail.reconciliation.parsed import Amounts, Identity, Misread

ACTIVITY: Final = "openrouter-activity"
GENERATIONS: Final = "openrouter-generations"
Entry = tuple[Identity, Amounts]


def is_page(page: Mapping[str, Any]) -> bool:
    """Whether JSON is this."""
    first: Any = next(iter(page.get("data") or ()), None)
    return isinstance(first, dict) and {"date", "usage", "model"} <= first.keys()


def csv_source(columns: set[str]) -> str | None:
    """Whether an export has these columns."""
    return GENERATIONS if {"generation_id", "created_at", "cost_total"} <= columns else None


def item(values: Mapping[str, Any]) -> Entry:
    """An item of the activity."""
    line = f"{fields.text(values, 'provider_name')}|{fields.text(values, 'endpoint_id')}"
    return (
        Identity(fields.day(values, "date"), "both", "", fields.text(values, "model"), line),
        Amounts(
            fields.count(values, "requests"),
            fields.count(values, "prompt_tokens"),
            fields.count(values, "completion_tokens"),
            cost_usd=_cost(values, "usage"),
        ),
    )


def row(values: Mapping[str, Any]) -> Entry:
    """A generation of the CSV."""
    return (
        Identity(
            fields.day(values, "created_at"),
            "both",
            fields.text(values, "api_key_name"),
            fields.text(values, "model_permaslug"),
        ),
        Amounts(
            1,
            fields.count(values, "tokens_prompt"),
            fields.count(values, "tokens_completion"),
            fields.count(values, "tokens_cached"),
            cost_usd=_cost(values, "cost_total"),
        ),
    )


def _cost(values: Mapping[str, Any], name: str) -> Decimal:
    cost = fields.money(values, name)
    if cost is None:
        raise Misread(f"{name} is missing")
    return cost + (fields.money(values, "byok_usage_inference") or 0)
