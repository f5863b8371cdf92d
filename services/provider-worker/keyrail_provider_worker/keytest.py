"""Trying a provider key with a call that costs nothing."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from nats.aio.msg import Msg

from keyrail.bus.connection import Bus
from keyrail.bus.errors import BusError
from keyrail.contracts.base import now_ms
from keyrail.contracts.config import ConfigView, ProviderConfig
from keyrail.contracts.failures import Failure
from keyrail.contracts.keys import key_name
from keyrail.contracts.signals import KeyTest, KeyTested
from keyrail.contracts.slips import Timeouts
from keyrail.dialects import registry
from keyrail.http.upstream import Endpoint, UnreadableAnswer, Upstream, UpstreamError
from keyrail.keys import outage
from keyrail.keys.base import InvalidKey, KeyName, KeyReader, KeyStoreError
from keyrail.keys.secret import Secret
from keyrail.providers import endpoint
from keyrail_provider_worker.health import Healths

log = logging.getLogger(__name__)

TIMEOUTS = Timeouts(connect_s=5.0, first_byte_s=10.0, between_chunks_s=5.0, total_s=15.0)
ERROR_BODY = 1 << 16
_HEADERS = {"accept": "application/json", "accept-encoding": "identity", "user-agent": "keyrail"}


class KeyTester:
    """Answers `KeyTest` with `KeyTested`. A key that is good comes in again at once."""

    def __init__(
        self,
        bus: Bus,
        store: KeyReader,
        upstream: Upstream,
        healths: Healths,
        view: Callable[[], ConfigView],
    ) -> None:
        self._bus = bus
        self._store = store
        self._upstream = upstream
        self._healths = healths
        self._view = view
        self._tasks: set[asyncio.Task[None]] = set()

    async def on_test(self, msg: Msg) -> None:
        """One question."""
        try:
            asked = KeyTest.decode(msg.data)
        except ValueError:
            log.error("a key test could not be read")
            return
        task = asyncio.create_task(self._answer(asked, msg.reply))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def finish(self) -> None:
        """Return once all tests are answered."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _answer(self, asked: KeyTest, reply: str) -> None:
        tested = await self.test(asked)
        log.info("provider key tested", extra={"provider": asked.provider, "result": tested.result})
        if not reply:
            return
        try:
            await self._bus.publish(reply, tested.encode())
        except BusError as error:
            log.warning("a key test could not be answered", extra={"error": type(error).__name__})

    async def test(self, asked: KeyTest) -> KeyTested:
        """Try the key's value as the store has it now."""
        config = self._view().providers.get(asked.provider)
        if config is None:
            return KeyTested(result="missing", detail=f"There is no provider {asked.provider!r}.")
        try:
            key = KeyName(asked.tenant, asked.provider, asked.id)
            self._store.refresh(key)
            value = await self._store.value(key)
        except InvalidKey as error:
            return KeyTested(result="missing", detail=f"No such key: {error}.")
        except KeyStoreError as error:
            return KeyTested(result="missing", detail=f"The key could not be read: {error}.")
        asked_ms = now_ms()
        try:
            status, failure = await self._ask(config, value)
        except UpstreamError as error:
            return KeyTested(result="failed", detail=f"{config.name} could not be asked: {error}.")
        if failure is None:
            return await self._good(key, status)
        self._note(key, value, failure, asked_ms)
        return _not_good(config.name, status, failure)

    async def _ask(self, config: ProviderConfig, value: Secret) -> tuple[int, Failure | None]:
        response = await self._upstream.get(
            Endpoint(endpoint.models(config), _HEADERS, "GET"),
            endpoint.headers(config, config.dialect, value.reveal()),
            timeouts=TIMEOUTS,
            deadline=time.monotonic() + TIMEOUTS.total_s,
        )
        try:
            if response.status == 200:
                return 200, None
            try:
                body = await response.read(ERROR_BODY)
            except UnreadableAnswer:
                body = b""
            wire = registry.outbound(config.dialect)
            return response.status, wire.classify(config.name, response.status, response.headers, body)
        finally:
            response.leave()

    async def _good(self, key: KeyName, status: int) -> KeyTested:
        try:
            await self._healths.clear(key)
        except BusError:
            detail = "The key is good, but this could not be told to everybody. Try again."
            return KeyTested(result="failed", status=status, detail=detail)
        return KeyTested(result="ok", status=status, detail=f"{key.provider} takes the key.")

    def _note(self, key: KeyName, value: Secret, failure: Failure, asked_ms: int) -> None:
        """A key that turns out to be refused is out from now on, as after a request."""
        reason = outage.reason_of(failure)
        if reason in ("auth", "money"):
            name = key_name(key.tenant, key.provider, key.id)
            version, mark = self._healths.version(name), outage.mark(name, value.reveal())
            refusal = outage.Refusal(reason, failure.retry_after_s, version, mark, asked_ms)
            self._healths.refused(key, refusal)


def _not_good(provider: str, status: int, failure: Failure) -> KeyTested:
    """In words of this gateway: the provider's own may quote the key."""
    if failure.kind == "auth":
        detail = f"{provider} refuses the key."
        return KeyTested(result="refused", status=status, detail=detail)
    if failure.kind == "money":
        detail = f"{provider} says that the key's account has no credit left."
        return KeyTested(result="refused", status=status, detail=detail)
    what = "is limiting the key's rate" if failure.kind == "rate" else f"answered with status {status}"
    return KeyTested(result="failed", status=status, detail=f"{provider} {what}.")
