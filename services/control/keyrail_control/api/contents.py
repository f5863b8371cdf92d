"""Routes of contents: what is kept, sealed pieces of it, and its deletion. Nobody here can open one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final, cast, get_args

import msgspec

from keyrail.contracts.base import now_ms
from keyrail.contracts.contents import ContentQuery, ContentsQuery, DeleteContents, Part
from keyrail.contracts.ledger import LedgerQuery
from keyrail_control import audit, texts
from keyrail_control.api.bodies import Body
from keyrail_control.api.pages import Rows
from keyrail_control.api.routing import Call, Route, Routes
from keyrail_control.errors import Invalid, LedgerFailed, Unknown
from keyrail_control.seeding import Ask

_LIST: Final = {
    "tenant": "of this tenant alone",
    "request": "of this request alone",
    "since": "a span back from now (30m, 1h, 7d) or an RFC 3339 time; without it everything",
    "cursor": "from the page before",
}
_OFFSET: Final = {"offset": "the first byte of the piece; without it 0"}
_HIGHEST_OFFSET: Final = 1 << 40


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of a part's age file, in base64; `next` is the offset of the one after it, null: the last."""

    data: str
    next: int | None


class Deletion(Body, frozen=True, kw_only=True):
    """What to delete: contents of a tenant's attempts that started before a time, without one before now.

    To go on with one that was not done, send its `before` and `cursor` as they came.
    """

    tenant: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    before: str | None = None
    cursor: str | None = None


class Deleted(msgspec.Struct, frozen=True, kw_only=True):
    """How far it got. `deleted`: removed by this call; `left`: counted after it; `waiting`: contents
    that were published before it and are not looked at yet. `cursor` null: it is done, both are 0."""

    tenant: str
    before: str
    deleted: int
    left: int
    waiting: int
    cursor: str | None


@dataclass(frozen=True, slots=True)
class ContentRoutes:
    """`ask` raises Unavailable and LedgerFailed."""

    ask: Ask

    def routes(self) -> Routes:
        """This part of the table."""
        return (
            Route(
                "GET",
                "/v1/contents",
                "Prompts and answers that are kept, without what they say, oldest first",
                self._list,
                answer=Rows,
                query=_LIST,
                errors=(502,),
            ),
            Route(
                "GET",
                "/v1/contents/{request}/{attempt}/{part}",
                "A piece of the sealed `request` or `answer` of an attempt",
                self._piece,
                answer=Piece,
                query=_OFFSET,
                errors=(404, 502),
            ),
            Route(
                "POST",
                "/v1/contents/deletions",
                "Delete a tenant's contents, also those that are not in the ledger yet",
                self._delete,
                Deletion,
                Deleted,
                errors=(502,),
            ),
        )

    async def _list(self, call: Call[None]) -> Rows:
        since = call.query.get("since")
        page = await self.ask(
            LedgerQuery(
                query=ContentsQuery(
                    tenant=call.query.get("tenant"),
                    request_id=call.query.get("request"),
                    since_ms=None if since is None else texts.before("since", since, now_ms()),
                    cursor=call.query.get("cursor"),
                )
            )
        )
        return Rows(rows=page.rows, cursor=page.cursor)

    async def _piece(self, call: Call[None]) -> Piece:
        part, offset = call.path["part"], _offset(call.query.get("offset", "0"))
        if part not in get_args(Part):
            raise Unknown("a content has the parts request and answer")
        request, attempt = call.path["request"], call.path["attempt"]
        query = ContentQuery(request_id=request, attempt_id=attempt, part=cast("Part", part), offset=offset)
        page = await self.ask(LedgerQuery(query=query))
        if not page.rows:
            raise Unknown("there is no such content, or it was too large to be kept")
        if offset == 0:
            audit.changed("contents.read", f"{request}/{attempt}/{part}")
        return msgspec.convert(page.rows[0], Piece)

    async def _delete(self, call: Call[Deletion]) -> Deleted:
        asked, now = call.body, now_ms()
        before = now if asked.before is None else texts.before("before", asked.before, now)
        if before > now:
            raise Invalid("before: is in the future; what is not there yet can't be deleted")
        if asked.cursor is not None and asked.before is None:
            raise Invalid("before: is needed to go on")
        query = DeleteContents(tenant=asked.tenant, before_ms=before, mark=asked.cursor)
        page = await self.ask(LedgerQuery(query=query))
        try:
            row = page.rows[0]
            told = Deleted(
                tenant=asked.tenant,
                before=texts.written(before),
                deleted=int(cast("int", row["deleted"])),
                left=int(cast("int", row["left"])),
                waiting=int(cast("int", row["waiting"])),
                cursor=page.cursor,
            )
        except (IndexError, KeyError, TypeError, ValueError):
            raise LedgerFailed("the ledger did not say what was deleted") from None
        audit.changed(
            "contents.delete",
            asked.tenant,
            before=told.before,
            deleted=told.deleted,
            left=told.left,
            waiting=told.waiting,
            done=told.cursor is None,
        )
        return told


def _offset(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 14 and int(text) < _HIGHEST_OFFSET):
        raise Invalid("offset: a whole number of bytes")
    return int(text)
