"""Instants that are nearly always called off before they come: one timer of the event loop for all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable


class Deadlines:
    """Calls back, on the monotonic clock. Setting one and dropping it again costs two dict operations."""

    def __init__(self) -> None:
        self._calls: dict[object, tuple[float, Callable[[], None]]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = float("inf")

    def set(self, key: object, at: float, call: Callable[[], None]) -> None:
        """Call at `at`, once, unless dropped. One for each key: the last one counts."""
        self._calls[key] = (at, call)
        if at < self._timer_at:
            self._arm(at)

    def drop(self, key: object) -> None:
        """Do not call. The timer stays: it finds out by itself that there is less to do."""
        self._calls.pop(key, None)

    def _arm(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        delay = max(at - time.monotonic(), 0.001)
        self._timer = asyncio.get_running_loop().call_later(delay, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._timer_at = float("inf")
        now = time.monotonic()
        for key, (at, call) in list(self._calls.items()):
            if at <= now and self._calls.pop(key, None) is not None:
                call()
        if self._calls:
            self._arm(min(self._timer_at, *(at for at, _ in self._calls.values())))
