"""Routes of the configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import msgspec
from msgspec import Meta

from keyrail.config.problems import Problem
from keyrail_control.api.bodies import Body
from keyrail_control.api.pages import Page
from keyrail_control.api.routing import Call, Route, Routes
from keyrail_control.configuration import FILENAME, Configuration
from keyrail_control.errors import BadConfig


class ConfigText(Body, frozen=True, kw_only=True):
    """A configuration; its problems are told with `filename`."""

    text: str
    filename: Annotated[str, Meta(min_length=1, max_length=255)] = FILENAME


class Rollback(Body, frozen=True, kw_only=True):
    """The revision whose text is to be in force again."""

    revision: int


class ProblemRow(msgspec.Struct, frozen=True, kw_only=True):
    """`line` counts from 1."""

    line: int
    message: str


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the text could be applied."""

    ok: bool
    problems: list[ProblemRow]


class Current(msgspec.Struct, frozen=True, kw_only=True):
    """What is in force. `differs_from_file`: it is not the text of the file that control started with."""

    revision: int
    applied_ms: int | None
    filename: str | None
    text: str | None
    sha256: str | None
    from_revision: int | None
    differs_from_file: bool


class Applied(msgspec.Struct, frozen=True, kw_only=True):
    """Not `changed`: what was in force says the same."""

    revision: int
    changed: bool


class RolledBack(msgspec.Struct, frozen=True, kw_only=True):
    """`revision` has the text of `from_revision`."""

    revision: int
    from_revision: int
    changed: bool


class RevisionRow(msgspec.Struct, frozen=True, kw_only=True):
    """A revision. `from_revision`: whose text it is, where it was rolled back to."""

    revision: int
    applied_ms: int
    filename: str
    sha256: str
    from_revision: int | None


@dataclass(frozen=True, slots=True)
class ConfigRoutes:
    """What can be done with the configuration."""

    configuration: Configuration

    def routes(self) -> Routes:
        """This part of the table."""
        return (
            Route("GET", "/v1/config", "What is in force", self._current, answer=Current, errors=(404,)),
            Route(
                "POST", "/v1/config/check", "Look for problems in a text", self._check, ConfigText, Checked
            ),
            Route("POST", "/v1/config/apply", "Put a text in force", self._apply, ConfigText, Applied),
            Route(
                "GET",
                "/v1/config/history",
                "Revisions, newest first",
                self._history,
                answer=Page[RevisionRow],
            ),
            Route(
                "POST",
                "/v1/config/rollback",
                "Put an earlier revision's text in force",
                self._rollback,
                Rollback,
                RolledBack,
                errors=(404,),
            ),
        )

    async def _current(self, call: Call[None]) -> Current:
        now = await self.configuration.current()
        source = now.source
        return Current(
            revision=now.view.revision,
            applied_ms=source.applied_ms if source else None,
            filename=source.filename if source else None,
            text=source.text if source else None,
            sha256=source.sha256 if source else None,
            from_revision=source.from_revision if source else None,
            differs_from_file=await self.configuration.differs_from_file(source),
        )

    async def _check(self, call: Call[ConfigText]) -> Checked:
        try:
            await self.configuration.check(call.body.text, call.body.filename)
        except BadConfig as bad:
            return Checked(ok=False, problems=_rows(bad.problems))
        return Checked(ok=True, problems=[])

    async def _apply(self, call: Call[ConfigText]) -> Applied:
        published = await self.configuration.apply(call.body.text, call.body.filename)
        return Applied(revision=published.view.revision, changed=published.changed)

    async def _history(self, call: Call[None]) -> Page[RevisionRow]:
        rows = [
            RevisionRow(
                revision=number,
                applied_ms=source.applied_ms,
                filename=source.filename,
                sha256=source.sha256,
                from_revision=source.from_revision,
            )
            for number, source in await self.configuration.history()
        ]
        return Page(rows=rows)

    async def _rollback(self, call: Call[Rollback]) -> RolledBack:
        wanted = call.body.revision
        published = await self.configuration.rollback(wanted)
        return RolledBack(revision=published.view.revision, from_revision=wanted, changed=published.changed)


def _rows(problems: Sequence[Problem]) -> list[ProblemRow]:
    return [ProblemRow(line=each.line, message=each.message) for each in problems]
