"""What workers know of the health of targets, and share: breakers and the windows of providers' rate
limits."""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import Literal

from keyrail.contracts.base import Contract

_MOST_NAME = 160
_ODD = re.compile(rb"[^A-Za-z0-9_/-]")


class TargetHealth(Contract, frozen=True, kw_only=True):
    """A breaker that is open until `until_ms`, and comes back slowly after it.

    `times`: how often it opened without a calm time between, which makes each time longer. `why`: the kind of
    failure that opened it last. `provider` and `model` say whose it is.
    """

    provider: str
    model: str
    since_ms: int
    until_ms: int
    times: int = 1
    why: str


class RateWindow(Contract, frozen=True, kw_only=True):
    """One window of a provider's rate limit. `limit` None: the provider did not say."""

    kind: Literal["requests", "tokens", "input-tokens", "output-tokens"]
    limit: int | None = None
    remaining: int
    reset_ms: int


class RateWindows(Contract, frozen=True, kw_only=True):
    """What a provider said last of the limits of one of its keys for one model, and when."""

    tenant: str
    provider: str
    key_id: str | None
    model: str
    at_ms: int
    windows: tuple[RateWindow, ...] = ()


def target_name(provider: str, model: str) -> str:
    """The entry's key in the bucket of breakers; the document itself says whose it is."""
    return f"{provider}.{_token(model)}"


def windows_name(tenant: str, provider: str, key_id: str | None, model: str) -> str:
    """The entry's key in the bucket of windows."""
    return f"{tenant}.{provider}.{key_id or '='}.{_token(model)}"


def _token(model: str) -> str:
    """A model's name, which clients may choose, in characters that a key may have."""
    name = model.encode()
    if len(name) > _MOST_NAME:
        return "==" + blake2b(name, digest_size=16).hexdigest()
    return _ODD.sub(lambda found: b"=%02X" % found[0][0], name).decode()
