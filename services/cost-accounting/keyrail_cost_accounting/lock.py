"""One migration at a time, on a server without locks: a table that exists says who migrates, until when.

Creating a table is atomic, its comment included; on a cluster too, where such statements have one order.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from secrets import token_hex
from typing import Final

from keyrail_cost_accounting.layout import Layout
from keyrail_cost_accounting.ledger import Ledger, LedgerUnavailable

NAME: Final = "migration_lock"
LEASE_S: Final = 600
POLL_S: Final = 0.5

_COMMENT = re.compile(r"who=(\S+) token=([0-9a-f]+) until=(\d+)")
_LOOK = (
    "SELECT name, comment, toUnixTimestamp(now()) AS now FROM system.tables"
    " WHERE database = currentDatabase() AND name = {name:String}"
)
_PASSED_ON = (
    "SELECT name FROM system.tables"
    " WHERE database = currentDatabase() AND startsWith(name, {name:String}) AND name != {name:String}"
)


class Locked(Exception):
    """Somebody else migrates, or died over it; the text says who, until when, and what can be done."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds the lock. `until`: seconds since 1970; None: the comment is not ours, it never expires."""

    who: str
    token: str
    until: int | None
    now: int

    @property
    def expired(self) -> bool:
        """By the clock of the server."""
        return self.until is not None and self.until <= self.now

    def __str__(self) -> str:
        if self.until is None:
            return f"table {NAME} is there, but says nothing of a migration ({self.who!r}): drop it by hand"
        at = f"{datetime.fromtimestamp(self.until, UTC):%Y-%m-%dT%H:%M:%SZ}"
        if self.expired:
            return f"{self.who} began to migrate and has not ended by {at}; --take-over when it is gone"
        return f"{self.who} migrates; its lock ends by itself at {at}"


def holder(comment: str, now: int) -> Holder:
    """Read a lock's comment."""
    found = _COMMENT.fullmatch(comment)
    if found is None:
        return Holder(comment[:200], "", None, now)
    return Holder(found[1], found[2], int(found[3]), now)


class Lock:
    """The lock of one ledger, from `acquire` to `release`. Calls block and raise LedgerUnavailable."""

    def __init__(
        self,
        ledger: Ledger,
        layout: Layout,
        who: str,
        *,
        lease_s: int = LEASE_S,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._ledger = ledger
        self._layout = layout
        self._who = re.sub(r"[^A-Za-z0-9.:_@-]", "_", who)
        self._token = token_hex(8)
        self._lease_s = lease_s
        self._sleep = sleep

    def acquire(self, wait_s: float, *, take_over: bool = False) -> None:
        """Wait for `wait_s` at most. `take_over`: from who has not ended in time. Raises Locked."""
        give_up = time.monotonic() + wait_s
        while not self._created():
            found = self._found()
            if found is not None and found.expired and take_over:
                self._pass_on(found)
            elif time.monotonic() >= give_up:
                raise Locked(str(found) if found else "somebody else migrates")
            else:
                self._sleep(POLL_S)

    def renew(self) -> None:
        """Hold it for as long again. Raises Locked when somebody has taken it over."""
        self._check()
        self._command(f"ALTER TABLE {NAME} MODIFY COMMENT '{self._comment()}'")

    def release(self) -> None:
        """Let the next one. What was taken over goes only now: until then nobody else can take it over."""
        found = self._found()
        if found is not None and found.token == self._token:
            self._command(f"DROP TABLE IF EXISTS {NAME} SYNC")
            for row in self._ledger.ask(_PASSED_ON, {"name": NAME}):
                self._command(f"DROP TABLE IF EXISTS {row['name']} SYNC")

    def _check(self) -> None:
        found = self._found()
        if found is None or found.token != self._token:
            raise Locked(f"this migration took too long and lost its lock: {found or 'it is gone'}")

    def _created(self) -> bool:
        try:
            self._command(f"CREATE TABLE {NAME} (held UInt8) ENGINE = Null COMMENT '{self._comment()}'")
        except LedgerUnavailable as error:
            found = self._found()
            if found is None and "TABLE_ALREADY_EXISTS" not in str(error):
                raise
            return found is not None and found.token == self._token  # created, although the answer was lost
        return True

    def _pass_on(self, expired: Holder) -> None:
        """Rename it to a name of that holder: of two that want to, one can."""
        try:
            self._command(f"RENAME TABLE {NAME} TO {NAME}_{expired.token}")
        except LedgerUnavailable:
            if (found := self._found()) is not None and found.token == expired.token:
                raise

    def _found(self) -> Holder | None:
        rows = self._ledger.ask(_LOOK, {"name": NAME})
        return holder(str(rows[0]["comment"]), int(str(rows[0]["now"]))) if rows else None

    def _comment(self) -> str:
        (row,) = self._ledger.ask("SELECT toUnixTimestamp(now()) AS now", {})
        return f"who={self._who} token={self._token} until={int(str(row['now'])) + self._lease_s}"

    def _command(self, statement: str) -> None:
        self._ledger.command(self._layout.render(statement))
