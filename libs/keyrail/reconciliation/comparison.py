"""A report beside the ledger: by day, key and model, as finely as the report's money goes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from statistics import median
from typing import Final, NamedTuple

from keyrail.contracts.reports import KeySum, ReportLine
from keyrail.reconciliation import anthropic, late, names, plain
from keyrail.reconciliation.split import ZERO, Evidence, Parts, Reported, split

ALL: Final = "*"
_EXACT: Final = Decimal("0.000001")
_ROUNDED: Final = frozenset({anthropic.CONSOLE_COSTS, plain.PLAIN})
_SAME: Final = Decimal("0.001")
"""Invoice and ledger that differ by less are at the same price."""


class Place(NamedTuple):
    """A bucket. `key` is an id of ours, an account key that is none (then not `ours`), or ALL."""

    day: str
    key: str
    model: str
    ours: bool = True


@dataclass(frozen=True, slots=True)
class Bucket:
    """Both sums, their difference and its parts. `ratio`: invoice to ledger at the same tokens, where it is
    not 1."""

    place: Place
    reported: Reported
    ledger: KeySum
    parts: Parts
    tokens: str | None  # agree, more (in the report), fewer, differ; None: the report has none
    ratio: Decimal | None = None

    @property
    def difference(self) -> Decimal:
        """Invoice less ledger."""
        return (self.reported.cost_usd or ZERO) - self.ledger.cost_usd


@dataclass(frozen=True, slots=True)
class Comparison:
    """All buckets in order. `has_money`: False for a report of tokens alone, which no invoice can tie out
    to."""

    buckets: list[Bucket]
    has_money: bool
    by_key: bool
    by_model: bool
    outside_keys: list[str] = field(default_factory=list[str])


@dataclass(frozen=True, slots=True)
class _Grain:
    """What buckets are told apart by. Money that is not by key, or by model, makes all of them coarser."""

    provider: str
    by_key: bool
    by_model: bool
    matched: Mapping[str, str]

    def of_line(self, line: ReportLine) -> Place:
        model = names.model(self.provider, line.model) if self.by_model else ALL
        if not self.by_key:
            return Place(line.day, ALL, model)
        id = self.matched.get(line.account_key)
        return Place(line.day, id if id is not None else line.account_key, model, id is not None)

    def of_sum(self, row: KeySum) -> Place:
        model = names.model(self.provider, row.model) if self.by_model else ALL
        return Place(row.day, row.key_id if self.by_key else ALL, model)


def compare(
    provider: str,
    lines: Sequence[ReportLine],
    sums: Sequence[KeySum],
    told: Mapping[str, str],
    since_day: str,
) -> Comparison:
    """Compare. `told` maps account keys to ids of ours. `sums` may have the day before `since_day`: what
    began on it can be on the first day's bill."""
    priced = [line for line in lines if line.kind != "usage"]
    deciding = priced or lines
    told = {line.account_key: line.key_id for line in lines if line.key_id is not None} | dict(told)
    matched = names.keys((line.account_key for line in lines), (row.key_id for row in sums), told)
    grain = _Grain(
        provider,
        by_key=all(line.account_key for line in priced) and any(line.account_key for line in deciding),
        by_model=any(line.model for line in deciding),
        matched=matched,
    )
    reported = _reported(lines, grain)
    ledger = _ledger(sums, grain)
    before = {place: row for place, row in ledger.items() if place.day < since_day}
    places = sorted((reported.keys() | ledger.keys()) - before.keys())
    evidence = {
        place: Evidence(
            reported=reported.get(place, _silent(priced)),
            ledger=ledger.get(place, KeySum(day=place.day, key_id=place.key, model=place.model)),
            ours=place.ours,
            named=bool(place.model),
        )
        for place in places
    }
    if priced:
        evidence = late.moved(evidence, before)
        evidence = _with_ratios(evidence)
    return Comparison(
        buckets=[_bucket(place, found, has_money=bool(priced)) for place, found in evidence.items()],
        has_money=bool(priced),
        by_key=grain.by_key,
        by_model=grain.by_model,
        outside_keys=sorted({line.account_key for line in lines if line.account_key} - matched.keys()),
    )


def _silent(priced: Sequence[ReportLine]) -> Reported:
    """A report of money that has no line billed nothing."""
    return Reported(cost_usd=ZERO if priced else None)


def _reported(lines: Iterable[ReportLine], grain: _Grain) -> dict[Place, Reported]:
    lines = list(lines)
    steps = _steps(lines)
    gathered: defaultdict[Place, list[ReportLine]] = defaultdict(list)
    for line in lines:
        gathered[grain.of_line(line)].append(line)
    return {
        place: Reported(
            requests=_known(line.requests for line in found),
            input_tokens=_known(line.input_tokens for line in found),
            output_tokens=_known(line.output_tokens for line in found),
            cost_usd=sum((line.cost_usd for line in found if line.cost_usd is not None), ZERO)
            if any(line.kind != "usage" for line in found)
            else (ZERO if steps else None),
            lines=len(found),
            rounding_usd=_EXACT
            + sum((steps.get(line.source, ZERO) for line in found if line.cost_usd is not None), ZERO),
        )
        for place, found in gathered.items()
    }


def _steps(lines: Iterable[ReportLine]) -> dict[str, Decimal]:
    """Half of the last digit of each source of money that rounds: cents, or what its finest amount shows."""
    digits: defaultdict[str, int] = defaultdict(int)
    for line in lines:
        if line.cost_usd is not None:
            exponent = line.cost_usd.normalize().as_tuple().exponent
            digits[line.source] = max(digits[line.source], 2, -exponent if isinstance(exponent, int) else 0)
    return {
        source: Decimal(5).scaleb(-places - 1) if source in _ROUNDED else ZERO
        for source, places in digits.items()
    }


def _known(counts: Iterable[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


_SUMMED: Final = tuple(name for name in KeySum.__struct_fields__ if name not in ("day", "key_id", "model"))


def _ledger(sums: Iterable[KeySum], grain: _Grain) -> dict[Place, KeySum]:
    found: dict[Place, KeySum] = {}
    for row in sums:
        place = grain.of_sum(row)
        before = found.get(place, KeySum(day=place.day, key_id=place.key, model=place.model))
        found[place] = before.replace(
            **{name: getattr(before, name) + getattr(row, name) for name in _SUMMED}
        )
    return found


def _with_ratios(evidence: Mapping[Place, Evidence]) -> dict[Place, Evidence]:
    """The price of a model, invoice to ledger, as buckets show it whose tokens agree and in which nothing
    else can be the reason."""
    seen: defaultdict[str, list[Decimal]] = defaultdict(list)
    for place, found in evidence.items():
        row = found.ledger
        clean = not (row.estimated_attempts or row.unknown_cost_attempts or found.late_usd)
        agree = found.has_tokens and found.shares and not any(found.shares)
        if clean and agree and row.cost_usd > 0 and found.reported.cost_usd:
            seen[place.model].append(found.reported.cost_usd / row.cost_usd)
    ratios = {model: median(each) for model, each in seen.items()}
    return {
        place: replace(found, ratio=ratio)
        if (ratio := ratios.get(place.model)) is not None and abs(ratio - 1) > _SAME
        else found
        for place, found in evidence.items()
    }


def _bucket(place: Place, found: Evidence, *, has_money: bool) -> Bucket:
    parts = split(found) if has_money else {}
    price, ledger = parts.get("price"), found.ledger.cost_usd
    return Bucket(
        place,
        found.reported,
        found.ledger,
        parts,
        _tokens(found),
        ((ledger + price) / ledger).quantize(Decimal("0.0001")) if price is not None else None,
    )


def _tokens(found: Evidence) -> str | None:
    if not found.has_tokens:
        return None
    more, fewer = any(each > 0 for each in found.shares), any(each < 0 for each in found.shares)
    return "differ" if more and fewer else "more" if more else "fewer" if fewer else "agree"
