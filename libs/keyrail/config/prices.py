"""What a provider of the `providers` section costs: prices, those to come, a discount, multipliers."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final, cast

from keyrail.config.reader import Entry, Reader
from keyrail.config.tree import Items, Scalar
from keyrail.contracts.config import ModelPrice

HIGHEST_PRICE: Final = 1_000_000
HIGHEST_MULTIPLIER: Final = 1_000
_MODEL = re.compile(r"[!-~]{1,200}")
_MULTIPLIER = re.compile(r"\*|(tier|region):[a-z0-9._-]{1,64}")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_TOKENS: Final = (
    "input",
    "output",
    "cache_read",
    "cache_write",
    "cache_write_1h",
    "audio_input",
    "audio_output",
)
_FIELDS: Final = (*_TOKENS, "searches", "from")
_OF_TOKENS: Final = "US dollars per million tokens"
_OF_SEARCHES: Final = "US dollars per thousand searches"


def read_prices(reader: Reader, entry: Entry) -> dict[str, Any] | None:
    """The field `prices`: by model, a price or a list of those that follow each other."""
    models = reader.fields(entry)
    if models is None:
        return None
    found: dict[str, ModelPrice] = {}
    for model, field in models.items():
        if not _MODEL.fullmatch(model):
            reader.bad(field, "a model's name is 1 to 200 characters without blanks; * is for all others")
            return None
        price = _dated(reader, field)
        if price is None:
            return None
        found[model] = price
    return {"prices": found}


def _dated(reader: Reader, entry: Entry) -> ModelPrice | None:
    if not isinstance(entry.node, Items):
        return _price(reader, entry)
    items = reader.items(entry) or []
    if not items:
        reader.bad(entry, "is empty: it needs a price")
        return None
    prices = [_price(reader, item) for item in items]
    if None in prices:
        return None
    known = cast("list[ModelPrice]", prices)
    for item, price, before in zip(items[1:], known[1:], known, strict=False):
        if price.since_ms <= before.since_ms:
            reader.bad(item, "must have a from: after that of the price before it")
            return None
    return known[0].replace(later=tuple(known[1:]))


def _price(reader: Reader, entry: Entry) -> ModelPrice | None:
    fields = reader.fields(entry, _FIELDS)
    if fields is None:
        return None
    for name in ("input", "output"):
        if name not in fields:
            reader.bad(entry, f"{name} is missing: {_OF_TOKENS}")
            return None
    values: dict[str, Any] = {}
    for name, field in fields.items():
        if name == "from":
            values["since_ms"] = _since_ms(reader, field)
        else:
            values[name] = _number(
                reader, field, HIGHEST_PRICE, _OF_SEARCHES if name == "searches" else _OF_TOKENS
            )
    return None if None in values.values() else ModelPrice(**values)


def _since_ms(reader: Reader, entry: Entry) -> int | None:
    """The beginning of that day, UTC."""
    text = entry.node.text if isinstance(entry.node, Scalar) else ""
    if _DATE.fullmatch(text):
        try:
            day = date.fromisoformat(text)
        except ValueError:
            pass
        else:
            at = datetime(day.year, day.month, day.day, tzinfo=UTC)
            if day.year >= 1970:
                return int(at.timestamp()) * 1_000
    reader.bad(entry, "must be a day (UTC), as 2026-12-01")
    return None


def read_discount(reader: Reader, entry: Entry) -> dict[str, Any] | None:
    """The field `discount`: a share of the catalogue's prices."""
    share = _number(reader, entry, 1, "the share taken off list prices, 0.15 for 15%")
    return None if share is None else {"discount": share}


def read_multipliers(reader: Reader, entry: Entry) -> dict[str, Any] | None:
    """The field `multipliers`: of the catalogue's prices, by tier, by region, or for all."""
    fields = reader.fields(entry)
    if fields is None:
        return None
    found: dict[str, Decimal] = {}
    for name, field in fields.items():
        if not _MULTIPLIER.fullmatch(name):
            reader.bad(field, "is not tier:NAME, region:NAME or *, in small letters")
            return None
        factor = _number(reader, field, HIGHEST_MULTIPLIER, "what list prices are multiplied by")
        if factor is None:
            return None
        found[name] = factor
    return {"multipliers": found}


def _number(reader: Reader, entry: Entry, highest: int, what: str) -> Decimal | None:
    """From what was written, so that 0.1 is exactly that."""
    node = entry.node
    value = node.value if isinstance(node, Scalar) else None
    if isinstance(node, Scalar) and type(value) in (int, float):
        number = Decimal(node.text.replace("_", ""))
        if 0 <= number <= highest:
            return number
    reader.bad(entry, f"must be {what}: a number from 0 to {highest}")
    return None
