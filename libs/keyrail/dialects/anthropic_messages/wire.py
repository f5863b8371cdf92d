"""The half of this dialect that speaks with providers: a keyrail.dialects.protocols.Wire."""

from __future__ import annotations

from keyrail.contracts.slips import Facts
from keyrail.dialects.anthropic_messages.answer import parse_answer
from keyrail.dialects.anthropic_messages.errors import classify
from keyrail.dialects.anthropic_messages.outbound import write_request
from keyrail.dialects.anthropic_messages.passing import Passing
from keyrail.dialects.anthropic_messages.reader import Reader
from keyrail.dialects.anthropic_messages.request import prepare
from keyrail.dialects.protocols import EventReader, Relay

__all__ = ["classify", "parse_answer", "passing", "prepare", "reader", "write_request"]


def reader(provider: str) -> EventReader:
    """What reads a stream."""
    return Reader(provider)


def passing(provider: str, facts: Facts) -> Relay:
    """What passes a stream on to a client of the same dialect, watching it."""
    return Passing(provider)
