"""Messages of contents to rows. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from msgspec import DecodeError, Struct
from msgspec.json import Decoder

from keyrail_cost_accounting.rows import Rejected, Row
from keyrail_cost_accounting.wire import Millis, UInt64

CONTENT_COLUMNS = (
    "tenant", "started_at", "attempt_id", "request_id", "team", "feature", "route", "provider", "model",
    "dialect", "recipient", "request", "request_bytes", "answer", "answer_bytes", "expires_at",
)  # fmt: skip
UNREADABLE = "not a content that this version can read"
"""All that is said of one: a decoder's own words may repeat what is in it."""


class ContentKept(Struct, frozen=True, gc=False, kw_only=True, tag_field="event", tag="content.kept"):
    """Mirrors `contracts.contents.ContentKept`, as `wire` does events."""

    attempt_id: UUID
    request_id: UUID
    tenant: str
    team: str | None = None
    feature: str | None = None
    route: str | None = None
    provider: str
    model: str
    dialect: str
    recipient: str
    request: bytes | None = None
    request_bytes: UInt64
    answer: bytes | None = None
    answer_bytes: UInt64
    started_ms: Millis
    expires_ms: Millis


@dataclass(frozen=True, slots=True)
class Content:
    """One row, and what decides whether it is inserted."""

    tenant: str
    started_ms: int
    expires_ms: int
    row: Row


_DECODER = Decoder(ContentKept)
_MOST_SECONDS = (1 << 32) - 1
"""DateTime ends in 2106."""


def read(data: bytes) -> Content | Rejected:
    """A message, a JSON object. What is none is rejected without its body."""
    try:
        kept = _DECODER.decode(data)
    except (DecodeError, RecursionError):
        return Rejected(UNREADABLE, b"", size=len(data))
    row = (
        kept.tenant,
        kept.started_ms,
        kept.attempt_id.bytes,
        kept.request_id.bytes,
        kept.team,
        kept.feature,
        kept.route,
        kept.provider,
        kept.model,
        kept.dialect,
        kept.recipient,
        kept.request,
        kept.request_bytes,
        kept.answer,
        kept.answer_bytes,
        min(-(-kept.expires_ms // 1000), _MOST_SECONDS),
    )
    return Content(kept.tenant, kept.started_ms, kept.expires_ms, row)
