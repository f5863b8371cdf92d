"""Events to rows of the ledger. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal
from typing import cast

from msgspec import DecodeError, Raw
from msgspec.json import Encoder

from keyrail.contracts.events import RANK_SETTLED, RANK_STARTED
from keyrail_cost_accounting import wire

Value = str | int | bool | None
Row = tuple[Value, ...]

STARTED_COLUMNS = (
    "attempt_id", "request_id", "tenant", "key_id", "team", "feature", "route", "strategy", "revision",
    "epoch", "hop", "provider", "model", "provider_key_id", "worker", "stream", "started_at",
)  # fmt: skip
SETTLED_COLUMNS = (
    "rank", "status", "failure", "detail", "http_status", "finish", "upstream_id",
    "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens",
    "audio_input_tokens", "audio_output_tokens", "served_tier", "estimated", "usage_raw",
    "cost_usd", "price_source", "price_version",
    "first_byte_ms", "first_content_ms", "duration_ms", "settled_at",
)  # fmt: skip
RANK = len(STARTED_COLUMNS)
ATTEMPT_COLUMNS = STARTED_COLUMNS + SETTLED_COLUMNS
REQUEST_COLUMNS = (
    "request_id", "rank", "tenant", "key_id", "team", "feature", "model", "dialect", "stream", "status",
    "http_status", "failure", "detail", "dispatches", "ingress", "received_at", "first_byte_ms",
    "duration_ms",
)  # fmt: skip

MOST = Decimal(10) ** 6
"""Decimal(18, 12) has six digits before the point."""
SMALLEST = Decimal(1).scaleb(-12)

_UNSETTLED: Row = (RANK_STARTED, "running", *(None,) * 13, False, *(None,) * 8)
_ENCODER = Encoder()


@dataclass(frozen=True, slots=True)
class Rejected:
    """An event, or a whole message, that is none; `reason` is a sentence without contents."""

    reason: str
    data: bytes


@dataclass(slots=True)
class Rows:
    """What a message, or several, said."""

    attempts: list[Row] = field(default_factory=list[Row])
    requests: list[Row] = field(default_factory=list[Row])
    rejected: list[Rejected] = field(default_factory=list[Rejected])
    newest_ms: int = 0

    def read(self, data: bytes) -> None:
        """Add the events of one message, a JSON array. What is no event goes to `rejected`."""
        try:
            events = wire.EVENTS.decode(data)
        except (DecodeError, RecursionError):
            self._read_each(data)
            return
        for event in events:
            if reason := self._add(event):
                self.rejected.append(Rejected(reason, _ENCODER.encode(event)))

    def _read_each(self, data: bytes) -> None:
        try:
            elements = wire.ELEMENTS.decode(data)
        except (DecodeError, RecursionError) as error:
            self.rejected.append(Rejected(_sentence(error), data))
            return
        for element in elements:
            raw = bytes(element)
            try:
                reason = self._add(wire.EVENT.decode(raw))
            except (DecodeError, RecursionError) as error:
                reason = _sentence(error)
            if reason:
                self.rejected.append(Rejected(reason, raw))

    def _add(self, event: wire.Event) -> str | None:
        """Add one event, or say why it has no row."""
        if isinstance(event, wire.RequestFinished):
            self.requests.append(request_row(event))
            self.newest_ms = max(self.newest_ms, event.received_ms + event.duration_ms)
        elif isinstance(event, wire.AttemptStarted):
            self.attempts.append(started_row(event))
            self.newest_ms = max(self.newest_ms, event.started_ms)
        else:
            if not _fits(event.price.cost_usd):
                return "the cost is not an amount below a million dollars"
            try:
                self.attempts.append(settled_row(event))
            except UnicodeDecodeError:  # undecoded JSON is not looked at before
                return "the raw usage is not UTF-8"
            self.newest_ms = max(self.newest_ms, event.settled_ms)
        return None


def started_row(event: wire.AttemptStarted) -> Row:
    """The row of an attempt that runs."""
    return _start(event) + _UNSETTLED


def settled_row(event: wire.AttemptSettled) -> Row:
    """The whole row of an attempt, whether or not its start was ever seen."""
    usage, price = event.usage, event.price
    return (
        *_start(event.started),
        RANK_SETTLED,
        event.status,
        event.failure,
        event.detail,
        event.http_status,
        event.finish,
        event.upstream_id,
        usage.input_tokens,
        usage.output_tokens,
        usage.cache_read_tokens,
        usage.cache_write_tokens,
        usage.reasoning_tokens,
        usage.audio_input_tokens,
        usage.audio_output_tokens,
        usage.served_tier,
        usage.estimated,
        _raw(usage.raw),
        _money(price.cost_usd),
        price.source,
        price.version,
        event.first_byte_ms,
        event.first_content_ms,
        event.duration_ms,
        _time(event.settled_ms),
    )


def request_row(event: wire.RequestFinished) -> Row:
    """The row of a request."""
    return (
        str(event.request_id),
        RANK_SETTLED,
        event.tenant,
        event.key_id,
        event.team,
        event.feature,
        event.model,
        event.dialect,
        event.stream,
        event.status,
        event.http_status,
        event.failure,
        event.detail,
        event.dispatches,
        event.ingress,
        _time(event.received_ms),
        event.first_byte_ms,
        event.duration_ms,
    )


def merged(attempts: list[Row]) -> list[Row]:
    """One row for each attempt, the highest rank: what the ledger would merge need not be inserted."""
    best: dict[Value, Row] = {}
    for row in attempts:
        known = best.get(row[0])
        if known is None or cast("int", row[RANK]) >= cast("int", known[RANK]):
            best[row[0]] = row
    return list(best.values())


def encode(rows: list[Row]) -> bytes:
    """Rows in ClickHouse's JSONCompactEachRow."""
    return _ENCODER.encode_lines(rows)


def _start(event: wire.AttemptStarted) -> Row:
    return (
        str(event.attempt_id),
        str(event.request_id),
        event.tenant,
        event.key_id,
        event.team,
        event.feature,
        event.route,
        event.strategy,
        event.revision,
        event.epoch,
        event.hop,
        event.provider,
        event.model,
        event.provider_key_id,
        event.worker,
        event.stream,
        _time(event.started_ms),
    )


def _time(millis: int) -> str:
    """Seconds since the epoch with three places, as DateTime64(3) reads them."""
    return f"{millis // 1000}.{millis % 1000:03d}"


def _money(amount: Decimal | None) -> str | None:
    if amount is None:
        return None
    rounded = amount if _places(amount) <= 12 else amount.quantize(SMALLEST, rounding=ROUND_HALF_EVEN)
    return format(rounded, "f")


def _places(amount: Decimal) -> int:
    exponent = amount.as_tuple().exponent
    return -exponent if isinstance(exponent, int) else 0


def _fits(amount: Decimal | None) -> bool:
    return amount is None or (amount.is_finite() and abs(amount) < MOST - SMALLEST)


def _raw(raw: Raw) -> str | None:
    text = bytes(raw).decode()
    return None if text == "null" else text


def _sentence(error: Exception) -> str:
    return str(error) if isinstance(error, DecodeError) else "the JSON is nested too deeply"
