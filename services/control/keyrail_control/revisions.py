"""Revisions of the configuration in their bucket, and the only place that writes them.

`current` is the view in force. `revision.N` is the view of each revision, `source.N` the text it was read
from, `file` the configuration file that control last started with. A number is claimed by creating its
source; what makes it count is the change of `current`, over exactly the one seen before. So two controls
never make two equal revisions, and what was claimed in vain is in nobody's past: the past is the chain of
`previous`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from keyrail.bus.errors import BusError
from keyrail.contracts.base import Contract, now_ms
from keyrail.contracts.config import ConfigView
from keyrail_control.buckets import Bucket

CURRENT: Final = "current"
FILE: Final = "file"
KEPT: Final = 100
"""How many revisions stay; older ones go."""
MOST_TRIES: Final = 50


class Source(Contract, frozen=True, kw_only=True):
    """The text of a revision. `from_revision`: whose text it is, where it was rolled back to."""

    filename: str
    text: str
    sha256: str
    applied_ms: int
    from_revision: int | None = None
    previous: int | None = None  # the revision before it


class File(Contract, frozen=True, kw_only=True):
    """The configuration file as control last read it."""

    sha256: str


@dataclass(frozen=True, slots=True)
class InForce:
    """The current revision. `source` None: it was published before texts were kept."""

    view: ConfigView
    source: Source | None


@dataclass(frozen=True, slots=True)
class Published:
    """What became of a view. Not `changed`: the revision in force says the same."""

    view: ConfigView
    changed: bool


def source_of(text: str, filename: str, from_revision: int | None = None) -> Source:
    """A text that is applied now."""
    digest = hashlib.sha256(text.encode()).hexdigest()
    return Source(
        filename=filename, text=text, sha256=digest, applied_ms=now_ms(), from_revision=from_revision
    )


class Revisions:
    """Raises BusError."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    async def in_force(self) -> InForce | None:
        """The current revision, None before the first."""
        entry = await self._bucket.get(CURRENT)
        if entry is None:
            return None
        view = ConfigView.decode(entry.value)
        return InForce(view, await self._source(view.revision))

    async def past(self) -> list[tuple[int, Source]]:
        """The current revision and those before it, newest first."""
        current = await self._bucket.get(CURRENT)
        sources = await self._bucket.all("source.*")
        found: list[tuple[int, Source]] = []
        number = ConfigView.decode(current.value).revision if current else None
        while number is not None and (entry := sources.get(f"source.{number}")):
            source = Source.decode(entry.value)
            found.append((number, source))
            number = source.previous
        return found

    async def publish(self, view: ConfigView, source: Source, *, over: int | None = None) -> Published:
        """Make `view` the current revision, unless the current one says the same.

        With `over`, only as long as that revision is the current one. What says the same in other words
        becomes the text of the current revision.
        """
        for _ in range(MOST_TRIES):
            entry = await self._bucket.get(CURRENT)
            before = ConfigView.decode(entry.value) if entry else None
            if before is not None and over is not None and before.revision != over:
                return Published(before, changed=False)
            if before is not None and before.replace(revision=0) == view:
                await self._reword(before.revision, source)
                return Published(before, changed=False)
            last = before.revision if before else None
            numbered = view.replace(revision=await self._claim(last, source))
            document = numbered.encode()
            await self._bucket.put(f"revision.{numbered.revision}", document)
            if await self._bucket.write(CURRENT, document, entry):
                await self._forget()
                return Published(numbered, changed=True)
            await self._withdraw(numbered.revision)
        raise BusError(f"the configuration was changed by others {MOST_TRIES} times in a row")

    async def file_sha256(self) -> str | None:
        """The digest of the file that control last started with."""
        entry = await self._bucket.get(FILE)
        return File.decode(entry.value).sha256 if entry else None

    async def remember_file(self, sha256: str) -> None:
        """Keep the digest of the file that control started with."""
        await self._bucket.put(FILE, File(sha256=sha256).encode())

    async def _claim(self, last: int | None, source: Source) -> int:
        number = (last or 0) + 1
        document = source.replace(previous=last).encode()
        while not await self._bucket.write(f"source.{number}", document, None):
            number += 1
        return number

    async def _withdraw(self, number: int) -> None:
        await self._bucket.purge(f"revision.{number}")
        await self._bucket.purge(f"source.{number}")

    async def _reword(self, number: int, source: Source) -> None:
        known = await self._source(number)
        if known is not None and known.text != source.text:
            new = source.replace(previous=known.previous, from_revision=known.from_revision)
            await self._bucket.put(f"source.{number}", new.encode())

    async def _forget(self) -> None:
        for number, _ in (await self.past())[KEPT:]:
            await self._withdraw(number)

    async def _source(self, number: int) -> Source | None:
        entry = await self._bucket.get(f"source.{number}")
        return Source.decode(entry.value) if entry else None
