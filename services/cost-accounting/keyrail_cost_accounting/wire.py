"""The events as the ledger reads them: `keyrail.contracts.events`, decoded by msgspec.

Ranges are those of the columns, so that a row that decodes can be inserted, and fields are in the order of
the columns, so that most of a row is one `astuple`. A test holds the fields equal to the contracts'. Closed
sets are plain strings here: a status or a failure kind that only a newer writer knows is stored, not refused.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated
from uuid import UUID

from msgspec import Meta, Raw, Struct
from msgspec.json import Decoder

UInt16 = Annotated[int, Meta(ge=0, lt=1 << 16)]
UInt32 = Annotated[int, Meta(ge=0, lt=1 << 32)]
# msgspec compares in 64 bits signed; no count comes near
UInt64 = Annotated[int, Meta(ge=0, lt=1 << 62)]
Millis = Annotated[int, Meta(ge=10**12, lt=10**13)]
"""Milliseconds since the epoch, between 2001 and 2286: what DateTime64 reads as ten digits of seconds."""
NO_OBJECT = Raw(b"null")
NO_LIST = Raw(b"[]")
Share = Annotated[float, Meta(ge=0, le=1)]


class Usage(Struct, frozen=True, gc=False):
    """Mirrors `contracts.usage.Usage`; `raw` stays undecoded JSON."""

    input_tokens: UInt64 | None = None
    output_tokens: UInt64 | None = None
    cache_read_tokens: UInt64 | None = None
    cache_write_tokens: UInt64 | None = None
    cache_write_1h_tokens: UInt64 | None = None
    reasoning_tokens: UInt64 | None = None
    audio_input_tokens: UInt64 | None = None
    audio_output_tokens: UInt64 | None = None
    searches: UInt64 | None = None
    served_tier: str | None = None
    region: str | None = None
    estimated: bool = False
    raw: Raw = NO_OBJECT


class Price(Struct, frozen=True, gc=False):
    """Mirrors `contracts.usage.Price`."""

    cost_usd: Decimal | None = None
    source: str | None = None
    version: str | None = None
    uncached_usd: Decimal | None = None
    reference_usd: Decimal | None = None
    basis: str | None = None


class AttemptStarted(Struct, frozen=True, gc=False, kw_only=True, tag_field="event", tag="attempt.started"):
    """Mirrors `contracts.events.AttemptStarted`."""

    attempt_id: UUID
    request_id: UUID
    tenant: str
    key_id: str
    team: str | None = None
    feature: str | None = None
    route: str | None = None
    strategy: str
    revision: UInt64
    epoch: UInt32
    hop: UInt32
    provider: str
    model: str
    provider_key_id: str | None = None
    worker: str
    stream: bool = False
    started_ms: Millis
    received_ms: Millis | None = None
    router: str | None = None
    held_usd: Decimal | None = None
    number: UInt16 = 1
    reference: str | None = None
    role: str = "serve"


class AttemptSettled(Struct, frozen=True, gc=False, kw_only=True, tag_field="event", tag="attempt.settled"):
    """Mirrors `contracts.events.AttemptSettled`."""

    started: AttemptStarted
    status: str
    failure: str | None = None
    detail: str | None = None
    http_status: UInt16 | None = None
    finish: str | None = None
    upstream_id: str | None = None
    usage: Usage = Usage()
    price: Price = Price()
    first_byte_ms: UInt64 | None = None
    first_content_ms: UInt64 | None = None
    duration_ms: UInt64
    settled_ms: Millis
    standing: str | None = None


class RequestFinished(Struct, frozen=True, gc=False, kw_only=True, tag_field="event", tag="request.finished"):
    """Mirrors `contracts.events.RequestFinished`."""

    request_id: UUID
    tenant: str
    key_id: str
    team: str | None = None
    feature: str | None = None
    model: str
    dialect: str
    stream: bool
    status: str
    http_status: UInt16
    failure: str | None = None
    detail: str | None = None
    dispatches: UInt32
    ingress: str
    received_ms: Millis
    first_byte_ms: UInt64 | None = None
    duration_ms: UInt64


class AlertRaised(Struct, frozen=True, gc=False, kw_only=True, tag_field="event", tag="alert.raised"):
    """Mirrors `contracts.events.AlertRaised`."""

    alert_id: str
    kind: str
    tenant: str
    subject: str
    detail: str
    raised_by: str
    raised_ms: Millis


class Candidate(Struct, frozen=True, gc=False):
    """What every candidate of a decision has; the others are looked at by who reads it."""

    target: str


class Facts(Struct, frozen=True, gc=False):
    """What all facts of a request have."""

    model: str


class RequestRouted(Struct, frozen=True, gc=False, kw_only=True, tag_field="event", tag="request.routed"):
    """Mirrors `contracts.routing.RequestRouted`; candidates and facts stay the JSON that they are."""

    request_id: UUID
    epoch: UInt32
    tenant: str
    key_id: str
    team: str | None = None
    feature: str | None = None
    route: str
    strategy: str
    revision: UInt64
    task: str | None = None
    targets: tuple[str, ...] = ()
    candidates: Raw = NO_LIST
    code: str
    reason: str
    propensity: Share = 1.0
    draw: Share | None = None
    worth: Annotated[float, Meta(ge=0)] | None = None
    failure: str | None = None
    facts: Raw
    router: str
    routed_ms: Millis


class VerdictGiven(Struct, frozen=True, gc=False, kw_only=True, tag_field="event", tag="verdict.given"):
    """Mirrors `contracts.routing.VerdictGiven`."""

    verdict_id: str
    request_id: UUID | None = None
    tenant: str
    route: str
    task: str
    target: str
    score: Share
    weight: Annotated[float, Meta(ge=0)] = 1.0
    source: str
    given_by: str | None = None
    given_ms: Millis


Event = AttemptStarted | AttemptSettled | RequestFinished | AlertRaised | RequestRouted | VerdictGiven
CANDIDATES: Decoder[list[Candidate]] = Decoder(list[Candidate])
FACTS: Decoder[Facts] = Decoder(Facts)
EVENT: Decoder[Event] = Decoder(Event)
EVENTS: Decoder[list[Event]] = Decoder(list[Event])
ELEMENTS: Decoder[list[Raw]] = Decoder(list[Raw])
