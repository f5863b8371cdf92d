"""What a panel has to show, worked out from the facts in Python, by the names of the query's columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_DOWN, Decimal, localcontext
from typing import Any

from keyrail.contracts.events import AttemptSettled, AttemptStarted, RequestFinished
from keyrail.contracts.usage import Price, Usage
from support.grafana import ALL, View
from support.ledger_facts import Facts

UNTAGGED, OTHERS, REFUSED, SERIES = "(untagged)", "(others)", "(refused)", 10
SECOND, DAY = 1_000, 86_400_000
Number = Decimal | float | int | None
Key = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """An attempt, settled or not, with what is shown of it."""

    started: AttemptStarted
    settled: AttemptSettled | None

    @property
    def status(self) -> str:
        return self.settled.status if self.settled else "running"

    @property
    def usage(self) -> Usage:
        return self.settled.usage if self.settled else Usage()

    @property
    def price(self) -> Price:
        return self.settled.price if self.settled else Price()

    @property
    def cost(self) -> Decimal | None:
        return self.price.cost_usd


def calls(facts: Facts) -> list[Call]:
    """All attempts, each once."""
    return [
        *(Call(each.started, each) for each in facts.settled),
        *(Call(each, None) for each in facts.running),
    ]


def tagged(value: str | None) -> str:
    return UNTAGGED if value is None else value


DIMENSIONS: Mapping[str, Callable[[Call], str]] = {
    "tenant": lambda c: c.started.tenant,
    "team": lambda c: tagged(c.started.team),
    "feature": lambda c: tagged(c.started.feature),
    "route": lambda c: tagged(c.started.route),
    "provider": lambda c: c.started.provider,
    "model": lambda c: c.started.model,
    "key": lambda c: c.started.key_id,
    "provider_key": lambda c: tagged(c.started.provider_key_id),
    "strategy": lambda c: c.started.strategy,
    "standing": lambda c: str(c.settled and c.settled.standing),
    "role": lambda c: c.started.role,
    "basis": lambda c: c.price.basis or "(unknown)",
    "failure": lambda c: (c.settled.failure if c.settled else None) or "(none)",
}


def divided(part: Number, whole: Number) -> Number:
    """As the ledger divides: decimals are cut after twelve places, counts are floats."""
    if part is None or not whole:
        return None
    if isinstance(part, Decimal):
        with localcontext() as context:
            context.prec, context.rounding = 60, ROUND_DOWN
            return (part / Decimal(whole)).quantize(Decimal(1).scaleb(-12))
    assert not isinstance(whole, Decimal)
    return part / whole


def total(found: Iterable[Call], amount: Callable[[Call], Decimal | None] = lambda c: c.cost) -> Decimal:
    return sum((amount(each) or Decimal(0) for each in found), Decimal(0))


def spend(found: Sequence[Call]) -> Decimal | None:
    """None where no cost of some is known; nothing costs nothing."""
    if found and all(each.cost is None for each in found):
        return None
    return total(found)


def requests(found: Sequence[Call]) -> int:
    return sum(each.started.number == 1 for each in found)


def tokens(found: Sequence[Call], name: str) -> int | None:
    """None where no attempt has a count."""
    known = [count for each in found if (count := getattr(each.usage, name)) is not None]
    return sum(known) if known else None


def both(found: Sequence[Call]) -> int | None:
    put, got = tokens(found, "input_tokens"), tokens(found, "output_tokens")
    return None if put is None or got is None else put + got


def without(found: Sequence[Call], name: str, *parts: str) -> int | None:
    """A count less its parts, as far as these are known."""
    whole = tokens(found, name)
    return None if whole is None else whole - sum(tokens(found, part) or 0 for part in parts)


def ended(found: Sequence[Call], *statuses: str) -> int:
    return sum(each.status in statuses for each in found)


def saved(instead: str) -> Callable[[Sequence[Call]], Decimal]:
    def difference(each: Call) -> Decimal | None:
        other = getattr(each.price, instead)
        return None if other is None or each.cost is None else other - each.cost

    return lambda found: total(found, difference)


def quantile(values: Iterable[int | None], level: float) -> float | None:
    """Between the two values that are next to it, in proportion."""
    known = sorted(value for value in values if value is not None)
    if not known:
        return None
    at = level * (len(known) - 1)
    low = int(at)
    high = min(low + 1, len(known) - 1)
    return known[low] + (known[high] - known[low]) * (at - low)


def _times(name: str) -> Callable[[Sequence[Call]], float | None]:
    column, short, _ = name.rsplit("_", 2)
    level = {"p50": 0.5, "p95": 0.95, "p99": 0.99}[short]
    return lambda found: quantile(
        (getattr(each.settled, f"{column}_ms") for each in found if each.settled), level
    )


def _spent(part: Callable[[Call], bool]) -> Callable[[Sequence[Call]], Decimal]:
    return lambda found: total(each for each in found if part(each))


def _lost(call: Call) -> bool:
    return call.settled is not None and call.settled.standing == "lost"


def _unknown(found: Sequence[Call]) -> int:
    return sum(each.cost is None for each in found)


def _per_1k(found: Sequence[Call]) -> Number:
    cost = spend(found)
    return divided(None if cost is None else cost * 1000, both(found))


_UNTAGGED = _spent(lambda c: c.started.team is None or c.started.feature is None)
_ESTIMATED = _spent(lambda c: c.usage.estimated)
_AT_ALL = Callable[[Sequence[Call]], Number]
MEASURES: Mapping[str, _AT_ALL] = {
    "spend_usd": spend,
    "today_usd": spend,
    "month_usd": spend,
    "requests": requests,
    "attempts": len,
    "tokens": both,
    "per_request_usd": lambda f: divided(spend(f), requests(f)),
    "per_1k_tokens_usd": _per_1k,
    "failed_usd": _spent(lambda c: c.status != "ok" or _lost(c)),
    "retried_usd": _spent(lambda c: c.started.number > 1 and c.started.role == "serve"),
    "estimated_usd": _ESTIMATED,
    "estimated_share": lambda f: divided(_ESTIMATED(f), total(f)),
    "untagged_share": lambda f: divided(_UNTAGGED(f), total(f)),
    "unknown_attempts": _unknown,
    "cache_saved_usd": saved("uncached_usd"),
    "routing_saved_usd": saved("reference_usd"),
    "input_uncached": lambda f: without(f, "input_tokens", "cache_read_tokens", "cache_write_tokens"),
    "cache_read": lambda f: tokens(f, "cache_read_tokens"),
    "cache_write": lambda f: tokens(f, "cache_write_tokens"),
    "output_visible": lambda f: without(f, "output_tokens", "reasoning_tokens"),
    "reasoning": lambda f: tokens(f, "reasoning_tokens"),
    "failed_share": lambda f: divided(ended(f, "failed", "lost"), len(f)),
    "again_share": lambda f: divided(len(f) - requests(f), len(f)),
    "attempts_per_request": lambda f: divided(len(f), requests(f)),
    "reference_share": lambda f: divided(
        sum(f"{c.started.provider}/{c.started.model}" == c.started.reference for c in f), len(f)
    ),
    "cache_hits": len,
    "answers_saved_usd": lambda f: _known(each.price.uncached_usd for each in f),
    "lost_race_usd": lambda f: _known(each.cost for each in f),
    "routes": lambda f: len({each.started.route for each in f} - {None}),
    **{
        name: (lambda f, name=name: ended(f, name))
        for name in ("ok", "failed", "cancelled", "lost", "running")
    },
    **{
        f"{column}_{short}_ms": _times(f"{column}_{short}_ms")
        for column in ("duration", "first_content", "first_byte")
        for short in ("p50", "p95", "p99")
    },
}
"""By column: its value for a group of attempts."""

_ORDERS: Mapping[str, _AT_ALL] = {
    "failed_share": len,
    "again_share": len,
    "unknown_attempts": _unknown,
    "routing_saved_usd": lambda f: abs(saved("reference_usd")(f)),
}
"""What makes a series one of the largest, where it is not its known cost."""


def _raced(call: Call) -> bool:
    return call.settled is not None and call.settled.standing is not None


def _cached(call: Call) -> bool:
    return call.price.source == "cache"


_KINDS: Mapping[str, Callable[[Call], bool]] = {
    "standing": _raced,
    "lost_race_usd": _lost,
    "cache_hits": _cached,
    "answers_saved_usd": _cached,
    "reference_share": lambda c: (
        c.started.number == 1 and c.started.route is not None and c.started.reference is not None
    ),
}
"""Which attempts a query with this column is about."""


class Truth:
    """The facts as somebody sees them at `now_ms`."""

    def __init__(self, facts: Facts, now_ms: int) -> None:
        self._calls = calls(facts)
        self._facts = facts
        self._now_ms = now_ms

    def of_costs(
        self, view: View, columns: Mapping[str, str], *, series: bool
    ) -> dict[Key, dict[str, Number]]:
        """What a query of the rollups answers. `columns`: the kind of each (time, name, number)."""
        numbers = [name for name, kind in columns.items() if kind == "number"]
        names = [name for name, kind in columns.items() if kind == "name"]
        start = self._start(view, numbers)
        grain = self._grain(view, start)
        found = [
            (at, each)
            for each in self._calls
            if self._chosen(each, view)
            and start <= (at := _floor(each.started.started_ms, grain)) <= view.end_ms
        ]
        if "before_usd" in numbers:
            return self._moved(found, names[0], view.start_ms)
        largest: set[str] | None = None
        if series and names:
            largest = _largest([each for _, each in found], names[0], _ORDERS.get(numbers[0], total))
        groups: dict[Key, list[Call]] = {} if names or "time" in columns else {(): []}
        step = (view.interval_ms if series else DAY) if "time" in columns else None
        for at, each in found:
            key = tuple(DIMENSIONS[name](each) for name in names)
            if largest is not None and key[0] not in largest:
                key = (OTHERS,)
            groups.setdefault((*(() if step is None else (_floor(at, step),)), *key), []).append(each)
        return {key: self._measured(group, numbers, view) for key, group in groups.items()}

    def of_attempts(self, view: View, columns: Mapping[str, str]) -> dict[Key, dict[str, Number]]:
        """What a query of `attempts` answers."""
        names = [name for name, kind in columns.items() if kind == "name"]
        groups: dict[Key, list[Call]] = {} if names else {(): []}
        for each in self._calls:
            at = each.started.started_ms
            if not (view.start_ms <= at <= view.end_ms and self._chosen(each, view)):
                continue
            if "failure" in names and each.status not in ("failed", "lost", "cancelled"):
                continue
            if not all(_KINDS[name](each) for name in columns if name in _KINDS):
                continue
            key = tuple(DIMENSIONS[name](each) for name in names)
            groups.setdefault(
                (*((_floor(at, view.interval_ms),) if "time" in columns else ()), *key), []
            ).append(each)
        numbers = [name for name, kind in columns.items() if kind == "number"]
        measures = {**MEASURES, "spend_usd": _summed}
        return {
            key: {name: measures[name](group) for name in numbers} for key, group in groups.items()
        }  # fmt: skip

    def of_requests(self, view: View, columns: Mapping[str, str]) -> dict[Key, dict[str, Number]]:
        """What a query of `requests` answers."""
        groups: dict[Key, list[RequestFinished]] = {} if "time" in columns else {(): []}
        for each in self._facts.requests:
            chosen = all(
                _lets(view, name, tagged(value))
                for name, value in (("tenant", each.tenant), ("team", each.team), ("feature", each.feature))
            )
            if chosen and view.start_ms <= each.received_ms <= view.end_ms:
                key: Key = (_floor(each.received_ms, view.interval_ms),) if "time" in columns else ()
                groups.setdefault((*key, each.status) if "status" in columns else key, []).append(each)
        measures: Mapping[str, Callable[[list[RequestFinished]], Number]] = {
            "requests": len,
            "answered_share": lambda f: divided(sum(each.status == "ok" for each in f), len(f)),
            "dispatched_again": lambda f: sum(each.dispatches > 1 for each in f),
            **{
                f"duration_{short}_ms": (lambda f, level=level: quantile((e.duration_ms for e in f), level))
                for short, level in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
            },
        }
        return {
            key: {name: measures[name](group) for name, kind in columns.items() if kind == "number"}
            for key, group in groups.items()
        }

    def of_decisions(self, view: View, columns: Mapping[str, str]) -> dict[Key, dict[str, Number]]:
        """What a query of `decisions` answers: how many there were, or gates of their candidates."""
        counts: dict[Key, int] = {}
        for each in self._facts.decisions:
            tags = (("tenant", each.tenant), ("team", tagged(each.team)), ("feature", tagged(each.feature)))
            if not (
                view.start_ms <= each.routed_ms <= view.end_ms
                and all(_lets(view, name, value) for name, value in tags)
            ):
                continue
            chosen = each.targets[0] if each.targets else REFUSED
            names = [each.strategy if "strategy" in columns else chosen]
            if "gate" in columns:
                names = [one.gate for one in each.candidates if one.gate is not None]
            for name in names:
                key = (_floor(each.routed_ms, view.interval_ms), name)
                counts[key] = counts.get(key, 0) + 1
        (number,) = (name for name, kind in columns.items() if kind == "number")
        return {key: {number: count} for key, count in counts.items()}

    def of_alerts(self, view: View, columns: Mapping[str, str]) -> dict[Key, dict[str, Number]]:
        """What a query of `alerts` answers."""
        found = [
            each
            for each in self._facts.alerts
            if view.start_ms <= each.raised_ms <= view.end_ms and _lets(view, "tenant", each.tenant)
        ]
        if "time" in columns:
            return {(e.raised_ms, e.kind, e.tenant, e.subject, e.detail): {} for e in found}
        prefix = {"budget_alerts": "budget-", "key_alerts": "key-"}
        return {(): {name: sum(e.kind.startswith(prefix[name]) for e in found) for name in columns}}

    def _measured(self, group: Sequence[Call], numbers: Iterable[str], view: View) -> dict[str, Number]:
        return {
            name: self._forecast(group, view) if name == "forecast_usd" else MEASURES[name](group)
            for name in numbers
        }

    def _forecast(self, group: Sequence[Call], view: View) -> Number:
        cost, start = spend(group), _month(view.end_ms)
        seconds = (_month(start + 32 * DAY) - start) // SECOND
        elapsed = max(view.end_ms // SECOND - start // SECOND, 1)
        return divided(None if cost is None else cost * seconds, elapsed)

    def _moved(
        self, found: Iterable[tuple[int, Call]], name: str, split_ms: int
    ) -> dict[Key, dict[str, Number]]:
        groups: dict[Key, tuple[list[Call], list[Call]]] = {}
        for at, each in found:
            groups.setdefault((DIMENSIONS[name](each),), ([], []))[at >= split_ms].append(each)
        moved: dict[Key, dict[str, Number]] = {}
        for key, (before, now) in groups.items():
            old, new = spend(before), spend(now)
            change = None if old is None or new is None else new - old
            moved[key] = {"spend_usd": new, "before_usd": old, "change_usd": change}
        return moved

    def _start(self, view: View, numbers: Sequence[str]) -> int:
        if "today_usd" in numbers:
            return _floor(view.end_ms, DAY)
        if {"month_usd", "forecast_usd"} & set(numbers):
            return _month(view.end_ms)
        if "before_usd" in numbers:
            return view.start_ms - (view.end_ms - view.start_ms)
        return view.start_ms

    def _grain(self, view: View, start: int) -> int:
        length = view.end_ms - view.start_ms
        if length > 92 * DAY:
            return DAY
        return 60 * SECOND if length <= 2 * DAY and start >= self._now_ms - 6 * DAY else 3600 * SECOND

    def _chosen(self, each: Call, view: View) -> bool:
        return all(
            _lets(view, name, DIMENSIONS[name](each))
            for name in ("tenant", "team", "feature", "provider", "model")
        )


def _known(amounts: Iterable[Decimal | None]) -> Decimal | None:
    """The sum of those that are known, None where none is."""
    found = [each for each in amounts if each is not None]
    return sum(found, Decimal(0)) if found else None


def _summed(group: Sequence[Call]) -> Number:
    return None if all(each.cost is None for each in group) else total(group)


def _lets(view: View, name: str, value: str) -> bool:
    chosen = view.variables.get(name, ALL)
    return chosen in ("", ALL, [], [ALL]) or value in chosen


def _largest(found: Sequence[Call], name: str, order: _AT_ALL) -> set[str]:
    groups: dict[str, list[Call]] = {}
    for each in found:
        groups.setdefault(DIMENSIONS[name](each), []).append(each)

    def rank(key: str) -> tuple[Any, str]:
        return -(order(groups[key]) or 0), key

    return set(sorted(groups, key=rank)[:SERIES])


def _floor(at_ms: int, step_ms: int) -> int:
    return at_ms - at_ms % step_ms


def _month(at_ms: int) -> int:
    at = datetime.fromtimestamp(at_ms / 1000, UTC)
    return int(datetime(at.year, at.month, 1, tzinfo=UTC).timestamp()) * SECOND
