"""Prompts and answers on their way to the ledger: on a stream of their own, encrypted, and only where a
tenant wants it."""

from __future__ import annotations

from typing import Literal

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


Part = Literal["request", "answer"]
CHUNK = 512 * 1024
"""Most bytes of a sealed part in one answer: as base64 it fits a page."""


class ContentsQuery(Contract, frozen=True, kw_only=True, tag_field="kind", tag="contents"):
    """What is kept, without what it says: one row for each attempt, oldest first. What has expired is not."""

    tenant: str | None = None
    request_id: str | None = None
    since_ms: int | None = None
    cursor: str | None = None


class ContentQuery(Contract, frozen=True, kw_only=True, tag_field="kind", tag="content"):
    """A piece of a sealed part, from byte `offset`.

    One row, `{"data": "<base64>", "next": 524288}`: `next` is where the piece after it begins, null: it was
    the last. No row: there is no such part.
    """

    tenant: str | None = None
    request_id: str
    attempt_id: str
    part: Part
    offset: int = 0


class DeleteContents(Contract, frozen=True, kw_only=True, tag_field="kind", tag="delete-contents"):
    """Remove the contents of a tenant's attempts that started before `before_ms`, also of those that are not
    in the ledger yet.

    One row, `{"deleted": 2, "left": 0, "waiting": 0, "done": true}`: removed by this answer, still there, and
    published before the first question but not looked at yet. Until it is `done`, ask again with the page's
    cursor as `mark`.
    """

    tenant: str
    before_ms: int
    mark: str | None = None
