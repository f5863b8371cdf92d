"""A failure is a value: it says whose fault it is, whether another target may be tried, and what to tell."""

from __future__ import annotations

from typing import Literal

from keyrail.contracts.base import Contract, Json

FailureKind = Literal[
    "bad_request",  # the caller's own making; never falls over
    "auth",  # the provider refuses the key
    "no_key",  # no provider key is configured
    "money",  # the account behind the key has no credit left
    "rate",  # the provider's rate limit
    "capacity",  # the provider, or this gateway, is overloaded
    "server",  # the provider's own error
    "timeout",  # a deadline of this gateway passed
    "connection",  # the provider could not be reached
    "truncated",  # the answer broke off, or ended without its terminator
    "garbage",  # the answer is not what the dialect says
    "context",  # the prompt does not fit the model
    "model_missing",  # nobody serves this model
    "policy",  # refused for its content
    "denied",  # the virtual key does not allow this
    "limit",  # a limit of the virtual key or its team; never falls over
    "budget",  # a budget of the virtual key, its team or tenant; never falls over
    "cancelled",  # the client went away
    "unavailable",  # a part of this gateway is not there
    "internal",  # a bug of this gateway
    "other",  # a kind that a newer writer knows
]

FALLS_OVER: frozenset[FailureKind] = frozenset(
    {
        "auth",
        "no_key",
        "money",
        "rate",
        "capacity",
        "server",
        "timeout",
        "connection",
        "truncated",
        "garbage",
        "model_missing",
    }
)
"""Kinds after which another target may be tried, as long as no content has reached the client."""


class Failure(Contract, frozen=True, kw_only=True):
    """Why an attempt or a request failed.

    `status` is the HTTP status for the client. `upstream_status` is the provider's, None when it gave none.
    `error` is the provider's own error object in `error_dialect`, passed on as it came to a client of that
    dialect. `only_here`: the provider key was refused for what this very request asks (its size, its model);
    for others it may be good.
    """

    kind: FailureKind
    message: str
    status: int
    upstream_status: int | None = None
    provider: str | None = None
    code: str | None = None
    param: str | None = None
    retry_after_s: float | None = None
    error: dict[str, Json] | None = None
    error_dialect: str = "openai-chat"
    only_here: bool = False

    @property
    def falls_over(self) -> bool:
        """Whether the next target may be tried."""
        return self.kind in FALLS_OVER


NO_WORKER = Failure(
    kind="unavailable",
    message="No worker is there to take this request.",
    status=503,
    code="no_worker",
    retry_after_s=1,
)
OVERLOADED = Failure(
    kind="capacity",
    message="Too many requests are under way at this gateway.",
    status=503,
    code="overloaded",
    retry_after_s=1,
)
