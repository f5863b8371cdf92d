"""Errors of the bus.

BusError
├── BusUnavailable      not connected, or the send buffer is full
└── MessageTooLarge     over the server's limit; sending it would close the connection for good
"""


class BusError(Exception):
    """Anything the bus refuses."""


class BusUnavailable(BusError):
    """Not connected, or too much waits to be sent."""


class MessageTooLarge(BusError):
    """The message does not fit below the server's max_payload."""
