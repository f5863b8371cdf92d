"""The operator's prices as versions: what each revision of the configuration changed. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from keyrail.contracts.base import Contract, Json
from keyrail.contracts.config import ConfigView, ModelPrice, ProviderConfig

ANY_MODEL: Final = "*"
RATES: Final = (
    "input", "output", "cache_read", "cache_write", "cache_write_1h", "audio_input", "audio_output",
    "searches",
)  # fmt: skip
COLUMNS: Final = (
    "provider", "model", "since", "revision", "recorded_at", "removed", *RATES, "discount", "multipliers",
)  # fmt: skip

Key = tuple[str, str, int]
"""Provider, model, and since when (milliseconds) the price is in force."""
PriceRow = tuple[str | int | bool | Decimal | list[tuple[str, Decimal]] | None, ...]


class Source(Contract, frozen=True, kw_only=True):
    """What of a revision's source counts here: when it was applied, and the revision before it."""

    applied_ms: int
    previous: int | None = None


@dataclass(frozen=True, slots=True)
class Version:
    """A price, in the order of `RATES`, and what a provider's prices of the catalogue are changed by."""

    rates: tuple[Decimal | None, ...]
    discount: Decimal | None
    multipliers: tuple[tuple[str, Decimal], ...]


GONE: Final = Version((None,) * len(RATES), None, ())


def versions(view: ConfigView) -> dict[Key, Version]:
    """All prices of a revision. A provider's discount and multipliers without a price are those of `*`."""
    return {key: version for provider in view.providers.values() for key, version in _of(provider)}


def _of(provider: ProviderConfig) -> Iterator[tuple[Key, Version]]:
    multipliers = tuple(sorted(provider.multipliers.items()))
    if (multipliers or provider.discount is not None) and ANY_MODEL not in provider.prices:
        yield (provider.name, ANY_MODEL, 0), Version(GONE.rates, provider.discount, multipliers)
    for model, first in provider.prices.items():
        for each in (first, *first.later):
            yield (provider.name, model, each.since_ms), Version(_rates(each), provider.discount, multipliers)


def _rates(price: ModelPrice) -> tuple[Decimal | None, ...]:
    return tuple(getattr(price, name) for name in RATES)


def changes(
    before: Mapping[Key, Version], after: Mapping[Key, Version], revision: int, at_ms: int
) -> list[PriceRow]:
    """A row for each price that this revision, applied at `at_ms`, set, changed or removed."""
    return [
        _row(key, after.get(key, GONE), revision, at_ms, removed=key not in after)
        for key in dict.fromkeys((*after, *before))
        if before.get(key) != after.get(key)
    ]


def _row(key: Key, version: Version, revision: int, at_ms: int, *, removed: bool) -> PriceRow:
    provider, model, since_ms = key
    return (
        provider, model, since_ms, revision, at_ms, removed,
        *version.rates, version.discount, list(version.multipliers),
    )  # fmt: skip


def chain(
    sources: Mapping[int, Source],
    known: Mapping[int, Mapping[Key, Version]],
    current: int,
    after_ms: int,
) -> list[tuple[int, Mapping[Key, Version], int]]:
    """Revisions that were in force one after the other, up to `current`, applied after `after_ms`: number,
    prices and time.

    A number that was claimed in vain is in nobody's past, and so not among them.
    """
    found: list[tuple[int, Mapping[Key, Version], int]] = []
    number: int | None = current
    while (
        number is not None and (source := sources.get(number)) and (prices := known.get(number)) is not None
    ):
        if source.applied_ms <= after_ms:
            break
        found.append((number, prices, source.applied_ms))
        number = source.previous
    return found[::-1]


def recorded(rows: Iterable[Mapping[str, Json]]) -> tuple[dict[Key, Version], int]:
    """The prices that the ledger has as the last ones, from their rows, and when the last was recorded."""
    found: dict[Key, Version] = {}
    last = 0
    for row in rows:
        last = max(last, _whole(row["recorded_ms"]))
        if not row["removed"]:
            key = (str(row["provider"]), str(row["model"]), _whole(row["since_ms"]))
            multipliers = row["multipliers"]
            assert isinstance(multipliers, dict)
            found[key] = Version(
                tuple(_decimal(row[name]) for name in RATES),
                _decimal(row["discount"]),
                tuple(sorted((name, Decimal(str(value))) for name, value in multipliers.items())),
            )
    return found, last


def _whole(value: Json) -> int:
    assert isinstance(value, int)
    return value


def _decimal(value: Json) -> Decimal | None:
    return None if value is None else Decimal(str(value))
