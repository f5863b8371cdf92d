"""What can go wrong with a call. Messages reach clients and logs: they hold no URL, header or address."""

from __future__ import annotations

from typing import Literal

Phase = Literal["connect", "first_byte", "between_chunks", "total"]


class UpstreamError(Exception):
    """The exchange with the provider broke. `written`: whether the request may have reached it.

    `timeout` names the phase when a time limit passed.
    """

    def __init__(self, message: str, *, written: bool, timeout: Phase | None = None) -> None:
        super().__init__(message)
        self.written = written
        self.timeout: Phase | None = timeout


class StaleConnection(UpstreamError):
    """A connection from an earlier request was closed before a byte of the answer came.

    Most likely the provider closed it at the moment it was used and never saw the request, but nobody can
    know: whoever sends it again may pay twice.
    """


class UnreadableAnswer(UpstreamError):
    """What came is no answer that can be passed on: no HTTP, too large, or compressed without being asked."""


class NotWritten(Exception):
    """The request was not written: `may_write` said no once the connection was there."""
