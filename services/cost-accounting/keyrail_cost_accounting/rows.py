"""Events to rows of the ledger. Pure."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from uuid import UUID

from msgspec import DecodeError, Raw
from msgspec.json import Encoder
from msgspec.structs import astuple

from keyrail.contracts.events import RANK_SETTLED, RANK_STARTED
from keyrail_cost_accounting import wire

Value = str | int | float | bool | bytes | Decimal | tuple[str, ...] | None
Row = tuple[Value, ...]

# all columns of the tables, in their order
ATTEMPT_COLUMNS = (
    "attempt_id", "request_id", "rank", "status", "tenant", "key_id", "team", "feature", "route", "strategy",
    "revision", "epoch", "hop", "provider", "model", "provider_key_id", "worker", "stream", "started_at",
    "received_at", "router", "held_usd", "number", "reference", "role",
    "failure", "detail", "http_status", "finish", "upstream_id",
    "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "cache_write_1h_tokens",
    "reasoning_tokens", "audio_input_tokens", "audio_output_tokens", "searches", "served_tier", "region",
    "estimated", "usage_raw",
    "cost_usd", "price_source", "price_version", "uncached_usd", "reference_usd", "basis",
    "first_byte_ms", "first_content_ms", "duration_ms", "settled_at", "standing",
)  # fmt: skip
REQUEST_COLUMNS = (
    "request_id", "rank", "tenant", "key_id", "team", "feature", "model", "dialect", "stream", "status",
    "http_status", "failure", "detail", "dispatches", "ingress", "received_at", "first_byte_ms",
    "duration_ms",
)  # fmt: skip
ALERT_COLUMNS = ("alert_id", "rank", "kind", "tenant", "subject", "detail", "raised_by", "raised_at")
DECISION_COLUMNS = (
    "request_id", "epoch", "tenant", "key_id", "team", "feature", "route", "strategy", "revision", "task",
    "targets", "candidates", "code", "reason", "propensity", "draw", "worth", "failure", "facts", "router",
    "routed_at",
)  # fmt: skip
VERDICT_COLUMNS = (
    "verdict_id", "rank", "request_id", "tenant", "route", "task", "target", "score", "weight", "source",
    "given_by", "given_at",
)  # fmt: skip

MOST = Decimal(10) ** 6
"""Decimal(18, 12) has six digits before the point."""
SMALLEST = Decimal(1).scaleb(-12)

_UNSETTLED: Row = (*(None,) * 16, False, *(None,) * 12)
_ENCODER = Encoder()
_CANDIDATES, _FACTS = map(DECISION_COLUMNS.index, ("candidates", "facts"))


@dataclass(frozen=True, slots=True)
class Rejected:
    """An event, or a whole message, that is none; `reason` is a sentence without contents.

    `size`: of what it was, where `data` is not to be kept.
    """

    reason: str
    data: bytes
    size: int | None = None


@dataclass(slots=True)
class Rows:
    """What a message, or several, said."""

    requests: list[Row] = field(default_factory=list[Row])
    alerts: list[Row] = field(default_factory=list[Row])
    decisions: list[Row] = field(default_factory=list[Row])
    verdicts: list[Row] = field(default_factory=list[Row])
    rejected: list[Rejected] = field(default_factory=list[Rejected])
    newest_ms: int = 0
    _settled: dict[int, Row] = field(default_factory=dict[int, Row])
    _started: dict[int, wire.AttemptStarted] = field(default_factory=dict[int, wire.AttemptStarted])

    @property
    def attempts(self) -> list[Row]:
        """One row for each attempt, of the highest rank: what the ledger would merge need not be inserted."""
        settled = self._settled
        running = (started_row(event) for key, event in self._started.items() if key not in settled)
        return [*settled.values(), *running]

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
        try:
            at = self._added(event)
        except UnicodeDecodeError:  # undecoded JSON is not looked at before
            return "JSON in it is not UTF-8"
        except OverflowError as error:
            return str(error)
        except DecodeError as error:
            return f"in its own JSON: {error}"
        self.newest_ms = max(self.newest_ms, at)
        return None

    def _added(self, event: wire.Event) -> int:
        """Its time. Raises as the rows do."""
        match event:
            case wire.AttemptStarted():
                _money(event.held_usd)
                self._started[event.attempt_id.int] = event
                return event.started_ms
            case wire.AttemptSettled():
                self._settled[event.started.attempt_id.int] = settled_row(event)
                return event.settled_ms
            case wire.RequestFinished():
                self.requests.append(request_row(event))
                return event.received_ms + event.duration_ms
            case wire.AlertRaised():
                self.alerts.append(alert_row(event))
                return event.raised_ms
            case wire.RequestRouted():
                self.decisions.append(decision_row(event))
                return event.routed_ms
            case wire.VerdictGiven():
                self.verdicts.append(verdict_row(event))
                return event.given_ms


def events_of(data: bytes, rows: Container[Row]) -> list[tuple[Row, bytes]]:
    """Those of a message's events whose row is one of these: the row, and the event as it was sent."""
    try:
        elements = wire.ELEMENTS.decode(data)
    except (DecodeError, RecursionError):
        return []
    each = ((_row_of(bytes(element)), bytes(element)) for element in elements)
    return [(row, event) for row, event in each if row is not None and row in rows]


def _row_of(data: bytes) -> Row | None:
    try:
        match event := wire.EVENT.decode(data):
            case wire.AttemptStarted():
                return started_row(event)
            case wire.AttemptSettled():
                return settled_row(event)
            case wire.RequestFinished():
                return request_row(event)
            case wire.AlertRaised():
                return alert_row(event)
            case wire.RequestRouted():
                return decision_row(event)
            case wire.VerdictGiven():
                return verdict_row(event)
    except (DecodeError, RecursionError, UnicodeDecodeError, OverflowError):
        return None


def started_row(event: wire.AttemptStarted) -> Row:
    """The row of an attempt that runs. Raises OverflowError for an amount that no column holds."""
    attempt_id, request_id, *middle, held, number, reference, role = astuple(event)
    return (
        _id(attempt_id),
        _id(request_id),
        RANK_STARTED,
        "running",
        *middle,
        _money(held),
        number,
        reference,
        role,
        *_UNSETTLED,
    )


def settled_row(event: wire.AttemptSettled) -> Row:
    """The whole row of an attempt, whether or not its start was ever seen.

    Raises UnicodeDecodeError for raw usage that is no text, OverflowError for an amount that no column holds.
    """
    attempt_id, request_id, *middle, held, number, reference, role = astuple(event.started)
    *counts, raw = astuple(event.usage)
    price = event.price
    return (
        _id(attempt_id),
        _id(request_id),
        RANK_SETTLED,
        event.status,
        *middle,
        _money(held),
        number,
        reference,
        role,
        event.failure,
        event.detail,
        event.http_status,
        event.finish,
        event.upstream_id,
        *counts,
        _raw(raw),
        _money(price.cost_usd),
        price.source,
        price.version,
        _money(price.uncached_usd),
        _money(price.reference_usd),
        price.basis,
        event.first_byte_ms,
        event.first_content_ms,
        event.duration_ms,
        event.settled_ms,
        event.standing,
    )


def request_row(event: wire.RequestFinished) -> Row:
    """The row of a request."""
    request_id, *middle, received_ms, first_byte_ms, duration_ms = astuple(event)
    return (_id(request_id), RANK_SETTLED, *middle, received_ms, first_byte_ms, duration_ms)


def alert_row(event: wire.AlertRaised) -> Row:
    """The row of an alert. Of several with one id the first that was raised has the highest rank."""
    alert_id, *middle, raised_ms = astuple(event)
    return (alert_id, -event.raised_ms, *middle, raised_ms)


def decision_row(event: wire.RequestRouted) -> Row:
    """The row of a decision.

    Raises DecodeError where its candidates or facts are not those of a request, UnicodeDecodeError where they
    are no text.
    """
    wire.CANDIDATES.decode(event.candidates)
    wire.FACTS.decode(event.facts)
    columns = list(astuple(event))
    columns[0] = _id(event.request_id)
    columns[_CANDIDATES] = bytes(event.candidates).decode()
    columns[_FACTS] = bytes(event.facts).decode()
    return tuple(columns)


def verdict_row(event: wire.VerdictGiven) -> Row:
    """The row of a verdict. Of several with one id the first that was given has the highest rank."""
    verdict_id, request_id, *middle, given_ms = astuple(event)
    about = None if request_id is None else _id(request_id)
    return (verdict_id, -event.given_ms, about, *middle, given_ms)


def _id(id: UUID) -> bytes:
    return id.int.to_bytes(16)  # half of what its `bytes` costs


def _money(amount: Decimal | None) -> Decimal | None:
    """The amount to twelve places. Raises OverflowError when no column holds it."""
    if amount is None:
        return None
    try:
        rounded = amount.quantize(SMALLEST)
        if -MOST < rounded < MOST:
            return rounded
    except InvalidOperation:
        pass
    raise OverflowError("the cost, or what was held for it, is not an amount below a million dollars")


def _raw(raw: Raw) -> str | None:
    text = bytes(raw).decode()
    return None if text == "null" else text


def _sentence(error: Exception) -> str:
    return str(error) if isinstance(error, DecodeError) else "the JSON is nested too deeply"
