"""What is left of providers' limits: read from every answer, told to others when it is little."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Collection, Mapping

from keyrail.bus.documents import Documents
from keyrail.bus.errors import BusError
from keyrail.contracts.base import now_ms
from keyrail.contracts.failures import Failure
from keyrail.contracts.health import RateWindow, RateWindows, windows_name
from keyrail.contracts.slips import Slip, Target
from keyrail.dialects import rate_windows
from keyrail.routing import windows
from keyrail.routing.windows import Need
from keyrail.telemetry import metrics

log = logging.getLogger(__name__)

TELL_S = 1.0
"""How often at most others are told of one key and model."""
PRUNE_S = 10.0
MOST = 4_096
"""Keys and models of which something is known; clients may name any model."""


class Windows:
    """Only of keys that have little left anything is known here, so that normal traffic pays nothing.

    Each request that is sent takes what it needs off at once, until the provider's next word.
    """

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self._known: dict[str, RateWindows] = {}
        self._told: dict[str, float] = {}
        self._due: set[str] = set()
        self._teller: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()

    def start(self) -> None:
        """Tell others from now on."""
        self._teller = asyncio.create_task(self._tell_again(), name="rate windows")

    async def stop(self) -> None:
        """Tell nobody any more."""
        if self._teller is not None:
            self._teller.cancel()

    def put(self, name: str, document: bytes) -> None:
        """Another worker, or this one, has told this."""
        try:
            told = RateWindows.decode(document)
        except ValueError:
            log.error("a rate window could not be read", extra={"window": name})
            return
        known = self._known.get(name)
        if known is not None and told.at_ms <= known.at_ms:
            return
        if windows.low(told.windows, now_ms()):
            self._keep(name, told)
        else:
            self._known.pop(name, None)

    def drop(self, name: str) -> None:
        """The bucket has no such document any more."""
        self._known.pop(name, None)

    def heard(self, slip: Slip, key_id: str | None, fields: Mapping[bytes, bytes]) -> None:
        """An answer's headers, by names in lower case."""
        target = slip.target
        name = ""
        if self._known:
            name = windows_name(slip.tenant, target.provider, key_id, target.model)
        at_ms = now_ms()
        known = name in self._known
        said = rate_windows.said(fields, at_ms, 1.0 if known else windows.LOW)
        if not said or not (known or windows.low(said, at_ms)):
            return
        self._note(slip, key_id, at_ms, said)

    def refused(self, slip: Slip, key_id: str | None, failure: Failure) -> None:
        """An attempt failed. Where its provider says for how long to leave it alone, others are preferred.

        A 429 puts the key out, for all models: only without a key it is taken note of here.
        """
        wait_s = failure.retry_after_s
        limited = failure.kind == "capacity" or (failure.kind == "rate" and key_id is None)
        if not limited or not wait_s or failure.only_here:
            return
        at_ms = now_ms()
        shut = RateWindow(kind="requests", remaining=0, reset_ms=at_ms + round(wait_s * 1000))
        self._note(slip, key_id, at_ms, (shut,))

    def _note(self, slip: Slip, key_id: str | None, at_ms: int, said: tuple[RateWindow, ...]) -> None:
        target = slip.target
        name = windows_name(slip.tenant, target.provider, key_id, target.model)
        told = RateWindows(
            tenant=slip.tenant,
            provider=target.provider,
            key_id=key_id,
            model=target.model,
            at_ms=at_ms,
            windows=said,
        )
        known = self._known.get(name)
        self._keep(name, told if known is None else windows.later(known, told, at_ms))
        self._due.add(name)
        self._wake.set()

    @property
    def any(self) -> bool:
        """Whether anything is known of any key."""
        return bool(self._known)

    def sent(self, slip: Slip, key_id: str | None) -> None:
        """A request is on its way."""
        if not self._known:
            return
        target = slip.target
        name = windows_name(slip.tenant, target.provider, key_id, target.model)
        known = self._known.get(name)
        if known is not None:
            left = windows.taken(known.windows, Need.of(slip.facts))
            self._known[name] = known.replace(windows=left)

    def scarce(self, slip: Slip, target: Target, key_ids: Collection[str]) -> frozenset[str]:
        """Those of the keys of a pool that this request should not be sent with."""
        if not self._known:
            return frozenset()
        at_ms, need = now_ms(), Need.of(slip.facts)
        return frozenset(
            key_id
            for key_id in key_ids
            if (known := self._known.get(windows_name(slip.tenant, target.provider, key_id, target.model)))
            and windows.limited_until_ms(known.windows, need, at_ms) is not None
        )

    def _keep(self, name: str, known: RateWindows) -> None:
        if name not in self._known and len(self._known) >= MOST:
            self._known.pop(next(iter(self._known)))
        self._known[name] = known

    async def _tell_again(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PRUNE_S):
                    await self._wake.wait()
            self._wake.clear()
            await self._tell()
            self._prune(now_ms())
            if self._due:
                await asyncio.sleep(TELL_S / 4)
                self._wake.set()

    async def _tell(self) -> None:
        """Tell what is due: one key and model at most once in TELL_S."""
        now = time.monotonic()
        for name in [each for each in self._due if now - self._told.get(each, 0.0) >= TELL_S]:
            self._due.discard(name)
            known = self._known.get(name)
            if known is None:
                continue
            self._told[name] = now
            try:
                await self._documents.change(name, _Put(known))
            except BusError as error:
                log.warning("a rate window is not told", extra={"window": name, "error": str(error)})
                continue
            metrics.counter(metrics.WINDOWS_TOLD, known.provider).inc()
            self._forget(name, known)

    def _prune(self, at_ms: int) -> None:
        for name, known in list(self._known.items()):
            if name not in self._due and all(window.reset_ms <= at_ms for window in known.windows):
                del self._known[name]
                self._told.pop(name, None)

    def _forget(self, name: str, told: RateWindows) -> None:
        """Once others know that there is enough again, or that time is over, it is normal traffic again."""
        at_ms = now_ms()
        if self._known.get(name) is told and not windows.low(told.windows, at_ms):
            del self._known[name]
            self._told.pop(name, None)


class _Put:
    """The change of a document that brings a later word in."""

    def __init__(self, mine: RateWindows) -> None:
        self._mine = mine

    def __call__(self, now: bytes | None) -> tuple[bytes | None, None]:
        if now:
            try:
                if RateWindows.decode(now).at_ms > self._mine.at_ms:
                    return None, None
            except ValueError:
                pass  # what cannot be read is replaced
        return self._mine.encode(), None
