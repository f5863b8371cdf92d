"""Whether a target has booked what it was sent."""

from __future__ import annotations

import json
import subprocess
import time


class NoLedger:
    """Of a target that keeps no books."""

    def problem(self, sent: int) -> str | None:
        """Nothing is missing where nothing is booked."""
        return None


class Ledger:
    """Keyrail's ledger, asked by its own command line."""

    def __init__(self, command: list[str], environment: dict[str, str], patience_s: float = 30.0) -> None:
        self._command = command
        self._environment = environment
        self._patience_s = patience_s

    def requests(self) -> int:
        """Requests on the ledger. Raises ValueError when the answer is none."""
        done = subprocess.run(
            self._command, env=self._environment, capture_output=True, text=True, timeout=30, check=False
        )
        if done.returncode != 0:
            raise ValueError(f"exit {done.returncode}: {done.stderr.strip()[-300:]}")
        return total_requests(done.stdout)

    def problem(self, sent: int) -> str | None:
        """Wait until exactly `sent` requests are booked; a sentence when that does not happen."""
        deadline = time.monotonic() + self._patience_s
        while True:
            try:
                booked: int | str = self.requests()
            except ValueError as unreadable:
                booked = str(unreadable)
            if booked == sent:
                return None
            if time.monotonic() > deadline or (isinstance(booked, int) and booked > sent):
                return f"the ledger has {booked} requests, {sent} were sent"
            time.sleep(0.5)


def total_requests(text: str) -> int:
    """The `requests` of `keyrail costs --json`: of its total, or of its rows summed. Raises ValueError."""
    document = json.loads(text)
    if isinstance(document, dict):
        document = document.get("total") or document.get("rows") or document
    rows = document if isinstance(document, list) else [document]
    try:
        return sum(int(row["requests"]) for row in rows)
    except (KeyError, TypeError) as missing:
        raise ValueError(f"no count of requests in {text[:200]!r}") from missing
