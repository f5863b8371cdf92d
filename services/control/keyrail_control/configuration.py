"""The configuration: checked, applied, rolled back, and taken from the file at start."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Collection
from typing import Final

from keyrail.config.problems import ConfigError
from keyrail.contracts.config import ConfigView
from keyrail_control import audit, catalogue, seeding
from keyrail_control.errors import BadConfig, Conflict, LedgerFailed, Unavailable, Unknown
from keyrail_control.revisions import InForce, Published, Revisions, Source, source_of
from keyrail_control.seeding import Seeder

log = logging.getLogger(__name__)

FILENAME: Final = "keyrail.yaml"
PATIENCE_S: Final = 10.0
"""How long a start waits for the ledger to say what was spent, before it goes on without."""
RETRY_S: Final = 0.2

WithKey = Callable[[], Awaitable[Collection[str]]]
Edit = Callable[[str], str]


class Configuration:
    """`with_key` says which providers have a key: what they serve is listed as models."""

    def __init__(
        self, revisions: Revisions, seeder: Seeder, with_key: WithKey, sandbox_url: str | None
    ) -> None:
        self._revisions = revisions
        self._seeder = seeder
        self._with_key = with_key
        self._sandbox_url = sandbox_url
        self._derived: frozenset[str] | None = None  # from which keys the models were listed
        self._one_at_a_time = asyncio.Lock()

    async def begin(self, text: str, filename: str) -> ConfigView:
        """Publish the file when it is not the one of the last start; else what was in force stays.

        Raises ConfigError when the file is bad, whether or not it would be published.
        """
        await self._view(text, filename)
        digest = hashlib.sha256(text.encode()).hexdigest()
        now = await self._revisions.in_force()
        if now is None or now.source is None or await self._revisions.file_sha256() != digest:
            source = source_of(text, filename)
            await self._seed_patiently(now, await self._view(text, filename))
            await self._publish(source)
            await self._revisions.remember_file(digest)
        else:
            await self._derive(now)
        return await self._report(digest)

    async def check(self, text: str, filename: str) -> None:
        """Raises BadConfig."""
        await self._checked(text, filename)

    async def read(self, text: str, filename: str) -> ConfigView:
        """What a text would mean here, without putting it in force. Raises BadConfig."""
        return await self._checked(text, filename)

    async def apply(self, text: str, filename: str) -> Published:
        """Put a text in force. Raises BadConfig, and Unavailable when new budgets can't be counted."""
        async with self._one_at_a_time:
            return await self._apply(source_of(text, filename), "config.apply")

    async def revised(self, edit: Edit) -> tuple[str, str, int]:
        """The text in force, what an edit makes of it, and the revision. Raises as `apply`, and Conflict."""
        before, _, revision = await self._text()
        after = edit(before)
        await self._checked(after, FILENAME)
        return before, after, revision

    async def revise(self, edit: Edit) -> tuple[str, str, Published]:
        """Put an edit of the text in force, over exactly the text that was edited.

        Returns both texts. Raises as `apply`, and Conflict.
        """
        async with self._one_at_a_time:
            before, filename, revision = await self._text()
            after = edit(before)
            published = await self._apply(source_of(after, filename), "config.edit", over=revision)
            now = await self._revisions.in_force()
            if before != after and (now is None or now.source is None or now.source.text != after):
                raise Conflict("somebody else changed the configuration at the same time: try again")
            return before, after, published

    async def rollback(self, revision: int) -> Published:
        """Put the text of an earlier revision in force, read anew. Raises as `apply`, and Unknown."""
        async with self._one_at_a_time:
            sources = dict(await self._revisions.past())
            if revision not in sources:
                raise Unknown("there is no such revision")
            old = sources[revision]
            return await self._apply(source_of(old.text, old.filename, revision), "config.rollback")

    async def current(self) -> InForce:
        """What is in force. Raises Unknown before the first revision."""
        now = await self._revisions.in_force()
        if now is None:
            raise Unknown("there is no configuration yet")
        return now

    async def view(self) -> ConfigView:
        """What is in force, empty before the first revision."""
        now = await self._revisions.in_force()
        return now.view if now else ConfigView()

    async def differs_from_file(self, source: Source | None) -> bool:
        """Whether this is not the text of the file that control started with."""
        digest = await self._revisions.file_sha256()
        return source is not None and digest is not None and source.sha256 != digest

    async def history(self) -> list[tuple[int, Source]]:
        """Newest first."""
        return await self._revisions.past()

    async def keys_changed(self) -> None:
        """List models anew where other providers have a key than before."""
        async with self._one_at_a_time:
            if frozenset(await self._with_key()) == self._derived:
                return
            now = await self._revisions.in_force()
            if now is not None:
                await self._derive(now)

    async def _text(self) -> tuple[str, str, int]:
        now = await self._revisions.in_force()
        if now is None:
            return "", FILENAME, 0
        if now.source is None:
            raise Conflict("the text in force was not kept: apply a file first")
        return now.source.text, now.source.filename, now.view.revision

    async def _apply(self, source: Source, what: str, over: int | None = None) -> Published:
        view = await self._checked(source.text, source.filename)
        now = await self._revisions.in_force()
        try:
            await self._seeder.seed(seeding.added(now.view if now else None, view))
        except (Unavailable, LedgerFailed) as error:
            raise Unavailable(
                f"what was spent of the new budgets is not known, so nothing was changed: {error}"
            ) from error
        published = await self._publish(source, over=over)
        audit.changed(
            what, str(published.view.revision), changed=published.changed, from_revision=source.from_revision
        )
        return published

    async def _publish(self, source: Source, *, over: int | None = None) -> Published:
        keys = frozenset(await self._with_key())
        view = await self._view(source.text, source.filename)
        published = await self._revisions.publish(view, source, over=over)
        self._derived = keys
        return published

    async def _derive(self, now: InForce) -> None:
        """Publish what is in force anew where it leads elsewhere now: to other models or another sandbox."""
        if now.source is None:
            return
        source = source_of(now.source.text, now.source.filename, now.source.from_revision)
        try:
            published = await self._publish(source, over=now.view.revision)
        except ConfigError as error:
            log.error("what is in force can't be read any more; it stays", extra={"problems": str(error)})
            return
        if published.changed:
            log.info("configuration derived anew", extra={"revision": published.view.revision})

    async def _report(self, file_sha256: str) -> ConfigView:
        now = await self.current()
        about = {"revision": now.view.revision}
        if now.source is not None and now.source.sha256 != file_sha256:
            log.warning(
                "the configuration in force is not the file: it was applied later, and stays until the "
                "file changes",
                extra=about,
            )
        log.info("configuration published", extra=about)
        return now.view

    async def _seed_patiently(self, now: InForce | None, view: ConfigView) -> None:
        wanted = seeding.added(now.view if now else None, view)
        give_up = asyncio.get_running_loop().time() + PATIENCE_S
        while True:
            try:
                return await self._seeder.seed(wanted)
            except (Unavailable, LedgerFailed) as error:
                if asyncio.get_running_loop().time() > give_up:
                    log.error(
                        "the ledger does not say what was spent: new budgets begin at nothing",
                        extra={"error": str(error), "scopes": [each.scope for each in wanted]},
                    )
                    return None
            await asyncio.sleep(RETRY_S)

    async def _checked(self, text: str, filename: str) -> ConfigView:
        try:
            return await self._view(text, filename)
        except ConfigError as error:
            raise BadConfig(error.problems) from None

    async def _view(self, text: str, filename: str) -> ConfigView:
        with_key = await self._with_key()
        return await asyncio.to_thread(
            catalogue.view, text, filename, sandbox_url=self._sandbox_url, with_key=with_key
        )
