"""The dialects by name. To add one is a line here."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import cast

from keyrail.contracts.slips import Dialect
from keyrail.dialects.protocols import Face, Outbound, Wire

_PACKAGES: dict[Dialect, str] = {
    "openai-chat": "openai_chat",
    "openai-responses": "openai_responses",
    "anthropic-messages": "anthropic_messages",
    "gemini-generate": "gemini_generate",
}


class UnknownDialect(LookupError):
    """Nobody here speaks it."""


@cache
def face(dialect: Dialect) -> Face:
    """The client's side of a dialect. Raises UnknownDialect."""
    return cast("Face", _module(dialect, "face"))


@cache
def outbound(dialect: Dialect) -> Outbound:
    """The provider's side of a dialect. Raises UnknownDialect."""
    return cast("Outbound", _module(dialect, "wire"))


@cache
def wire(dialect: Dialect) -> Wire:
    """The same of a dialect that has a face too. Raises UnknownDialect."""
    return cast("Wire", _module(dialect, "wire"))


def _module(dialect: Dialect, side: str) -> object:
    package = _PACKAGES.get(dialect)
    name = f"keyrail.dialects.{package}"
    try:
        if package is not None:
            return import_module(f"{name}.{side}")
    except ModuleNotFoundError as error:
        if error.name not in (name, f"{name}.{side}"):
            raise
    raise UnknownDialect(f"no {side} for {dialect}")
