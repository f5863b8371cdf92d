"""What a client hears of the limits of its key: headers in its dialect, and refusals. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from keyrail.contracts.base import Json
from keyrail.contracts.failures import Failure
from keyrail_ingress.limits.lease import Lease, Refused
from keyrail_ingress.limits.shares import Kind

Headers = list[tuple[str, str]]
CODE = "rate_limit_exceeded"
UNAVAILABLE = Failure(
    kind="unavailable",
    message="The limits of this key could not be looked at. Try again.",
    status=503,
    code="limits_unavailable",
    retry_after_s=1,
)
SLOT_AFTER_S = 1.0
"""When to come back where too many run at once: nobody knows when one of them ends."""
_NAMES: dict[Kind, str] = {
    "requests": "requests per minute",
    "tokens": "tokens per minute",
    "concurrent": "concurrent requests",
}


@dataclass(frozen=True, slots=True)
class Shown:
    """What is left of one limit, as far as this ingress knows, and milliseconds until all of it is."""

    limit: int
    left: int
    resets_ms: int


def tightest(leases: Sequence[Lease], now_ms: int) -> tuple[Shown | None, Shown | None]:
    """Requests and tokens of whichever of key and team has less left; None: not limited."""
    requests: Shown | None = None
    tokens: Shown | None = None
    for lease in leases:
        resets_ms = lease.resets_ms(now_ms)
        left = lease.left_requests(now_ms)
        if left is not None and (requests is None or left < requests.left):
            requests = Shown(lease.limits.rpm or 0, left, resets_ms)
        left = lease.left_tokens(now_ms)
        if left is not None and (tokens is None or left < tokens.left):
            tokens = Shown(lease.limits.tpm or 0, left, resets_ms)
    return requests, tokens


def openai_headers(leases: Sequence[Lease], now_ms: int) -> Headers:
    """`x-ratelimit-*`, which OpenAI's clients read."""
    headers: Headers = []
    for name, shown in zip(("requests", "tokens"), tightest(leases, now_ms), strict=True):
        if shown is not None:
            headers += (
                (f"x-ratelimit-limit-{name}", str(shown.limit)),
                (f"x-ratelimit-remaining-{name}", str(shown.left)),
                (f"x-ratelimit-reset-{name}", duration(shown.resets_ms)),
            )
    return headers


def anthropic_headers(leases: Sequence[Lease], now_ms: int) -> Headers:
    """`anthropic-ratelimit-*`, which Anthropic's clients read."""
    headers: Headers = []
    for name, shown in zip(("requests", "tokens"), tightest(leases, now_ms), strict=True):
        if shown is not None:
            headers += (
                (f"anthropic-ratelimit-{name}-limit", str(shown.limit)),
                (f"anthropic-ratelimit-{name}-remaining", str(shown.left)),
                (f"anthropic-ratelimit-{name}-reset", _instant(now_ms + shown.resets_ms)),
            )
    return headers


def duration(ms: int) -> str:
    """As OpenAI writes it: `12ms`, `1s`, `59.5s`, `6m0s`."""
    if 0 < ms < 1000:
        return f"{ms}ms"
    minutes, rest = divmod(ms, 60_000)
    seconds = f"{rest / 1000:g}s"
    return f"{minutes}m{seconds}" if minutes else seconds


def _instant(ms: int) -> str:
    """RFC 3339, up to the next whole second."""
    return f"{datetime.fromtimestamp(math.ceil(ms / 1000), UTC):%Y-%m-%dT%H:%M:%SZ}"


def refusal(refused: Refused, dialect: str, now_ms: int) -> tuple[Failure, Headers]:
    """The failure, and headers that go with it."""
    kind, lease = refused.kind, refused.lease
    if kind is None:
        return UNAVAILABLE, []
    limit = {"requests": lease.limits.rpm, "tokens": lease.limits.tpm, "concurrent": lease.limits.concurrent}
    message = f"Limit of {_NAMES[kind]} of {lease.owner} reached: {limit[kind]}."
    hopeless = kind == "tokens" and refused.needed > (lease.limits.tpm or 0)
    wait_s: float | None = None
    headers: Headers = []
    if hopeless:
        message += f" This request alone may need {refused.needed}."
        headers.append(("x-should-retry", "false"))
    else:
        wait_s = SLOT_AFTER_S if kind == "concurrent" else max(lease.resets_ms(now_ms), 1) / 1000
        message += f" Try again in {wait_s:g}s."
        headers.append(("retry-after-ms", str(round(wait_s * 1000))))
    error: dict[str, Json] = {
        "message": message,
        "type": "tokens" if kind == "tokens" else "requests",
        "param": None,
        "code": CODE,
    }
    failure = Failure(
        kind="limit",
        message=message,
        status=429,
        code=CODE,
        retry_after_s=wait_s,
        error=None if dialect == "anthropic-messages" else error,
        error_dialect="openai-chat" if dialect == "openai-embeddings" else dialect,
    )
    return failure, headers
