"""GET with an admin key, for reports. Blocks.

The key is in one header of one connection. No redirect is followed, no proxy of the environment used, and no
error says more of an answer than its status.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Final, Self

import httpx

MOST_PAGE_BYTES: Final = 16 << 20
TRIES: Final = 5
FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 60.0
_AGAIN: Final = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})


class ReportError(Exception):
    """The provider did not give its report; the text says why, and has neither the key nor what was
    answered."""


class ReportClient:
    """One connection to a provider. A context manager. `headers` makes the headers of the key, each time."""

    def __init__(
        self,
        base_url: str,
        headers: Callable[[], dict[str, str]],
        *,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._headers = headers
        self._sleep = sleep
        self._http = httpx.Client(
            base_url=base_url, timeout=60.0, trust_env=False, follow_redirects=False, transport=transport
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def get(self, path: str, parameters: Sequence[tuple[str, str]]) -> bytes:
        """The body of a 200. Asks again up to TRIES times where that can help. Raises ReportError."""
        pause, why = FIRST_PAUSE_S, ""
        for attempt in range(1, TRIES + 1):
            status, body, wait = self._once(path, parameters)
            if status == 200:
                return body
            why = f"status {status}" if status else "no answer"
            if status and status not in _AGAIN:
                raise ReportError(f"{path}: {why}{_HINTS.get(status, '')}")
            if attempt < TRIES:
                self._sleep(min(wait if wait is not None else pause, LONGEST_PAUSE_S))
                pause *= 2
        raise ReportError(f"{path}: {why} after {TRIES} tries")

    def _once(self, path: str, parameters: Sequence[tuple[str, str]]) -> tuple[int, bytes, float | None]:
        """Status (0: no answer), body, and how long the provider asks to wait. Raises ReportError."""
        failed = False
        status, wait, body = 0, None, bytearray()
        try:
            with self._http.stream("GET", path, params=list(parameters), headers=self._headers()) as answer:
                status, wait = answer.status_code, _seconds(answer.headers.get("retry-after"))
                if status != 200:
                    return status, b"", wait
                for chunk in answer.iter_bytes():
                    body += chunk
                    if len(body) > MOST_PAGE_BYTES:
                        failed = True
                        break
        except httpx.HTTPError:
            return 0, b"", None
        if failed:  # outside: errors of httpx hold the request, and that has the key
            raise ReportError(f"{path}: a page is larger than {MOST_PAGE_BYTES >> 20} MB")
        return status, bytes(body), wait


_HINTS: Final = {
    401: ": the provider refuses the key",
    403: ": the key may not read reports; it has to be an admin key",
    404: ": the provider has no such report for this key",
}


def _seconds(text: str | None) -> float | None:
    try:
        return None if text is None else min(max(float(text), 0.0), LONGEST_PAUSE_S)
    except ValueError:
        return None
