"""Prompts and answers on their way to the ledger: on a stream of their own, encrypted, and only where a
tenant wants it."""

from __future__ import annotations

from keyrail.contracts.base import Contract
from keyrail.contracts.slips import Dialect


class ContentKept(Contract, frozen=True, kw_only=True, tag_field="event", tag="content.kept"):
    """What one attempt was asked, and what the client was answered.

    `request` and `answer` are age files for `recipient` (base64 on the wire) of the compressed bytes as the
    client sent and got them, in `dialect`. None: there is none, or it is too large to keep; `*_bytes` is its
    size.
    """

    attempt_id: str
    request_id: str
    tenant: str
    team: str | None = None
    feature: str | None = None
    route: str | None = None
    provider: str
    model: str
    dialect: Dialect
    recipient: str
    request: bytes | None = None
    request_bytes: int
    answer: bytes | None = None
    answer_bytes: int
    started_ms: int
    expires_ms: int
