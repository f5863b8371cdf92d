"""The half of this dialect that speaks with clients: a keyrail.dialects.protocols.Face."""

from __future__ import annotations

from typing import Any

from keyrail.contracts.slips import Facts
from keyrail.dialects.anthropic_messages.answer import render_answer
from keyrail.dialects.anthropic_messages.errors import render, render_event
from keyrail.dialects.anthropic_messages.inbound import read_request
from keyrail.dialects.anthropic_messages.request import check, facts
from keyrail.dialects.anthropic_messages.writer import Writer
from keyrail.dialects.protocols import EventWriter

__all__ = ["check", "facts", "read_request", "render", "render_answer", "render_event", "writer"]


def writer(
    facts: Facts, *, model: str, request: dict[str, Any] | None = None, created: int | None = None
) -> EventWriter:
    """What writes a stream."""
    return Writer(facts, model)
