"""What an ingress may take of a limit, as a change of the document that all of them share. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from keyrail.contracts.budgets import Limits
from keyrail.contracts.limits import WINDOW_MS, LimitDocument, Share

CHUNK = 8
"""An ingress takes this part of what is left, as long as it needs less than half of that."""

Kind = Literal["requests", "tokens", "concurrent"]
NOTHING = Share()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What one ingress has and wants. `used` and `held` count requests and tokens of the window `window_ms`.

    `needs`: the tokens of each request that waits for an answer, in order. None waits: `held` is written, and
    what was held beyond it is given back.
    """

    instance: str
    window_ms: int
    used: Share
    held: Share
    needs: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """What the ingress holds now, of which window, and what all others hold.

    `verdicts`: for each of the needs None, where it is paid for out of `held`, or which limit refuses it.
    """

    window_ms: int
    held: Share
    others: Share
    verdicts: tuple[Kind | None, ...] = ()


def change(
    before: LimitDocument, limits: Limits, ask: Ask, now_ms: int, gone: Callable[[str], bool]
) -> tuple[LimitDocument, Granted]:
    """The document after it. `gone` says of which instances nothing runs any more."""
    begins_ms, shares = _current(before, now_ms)
    mine = shares.pop(ask.instance, NOTHING)
    shares = {name: share.replace(running=0) if gone(name) else share for name, share in shares.items()}
    others = _sum(shares.values())
    same = 0 < begins_ms == ask.window_ms
    used = ask.used if same else Share(running=ask.used.running)
    held = _held(ask.held if same else Share(running=ask.held.running), used, mine)
    verdicts, wanted = _admit(limits, others, used, ask.needs)
    held = Share(
        requests=_taken(limits.rpm, others.requests, held.requests, wanted.requests),
        tokens=_taken(limits.tpm, others.tokens, held.tokens, wanted.tokens),
        running=_taken(limits.concurrent, others.running, held.running, wanted.running),
    )
    if not begins_ms and (held.requests or held.tokens):
        begins_ms = now_ms
    shares[ask.instance] = held
    after = LimitDocument(begins_ms=begins_ms, shares={n: s for n, s in shares.items() if s != NOTHING})
    return after, Granted(window_ms=begins_ms, held=held, others=others, verdicts=verdicts)


def _current(before: LimitDocument, now_ms: int) -> tuple[int, dict[str, Share]]:
    """The window that is open, 0 for none, and the shares in it."""
    if abs(now_ms - before.begins_ms) < WINDOW_MS:  # a little in the future: another machine's clock
        return before.begins_ms, dict(before.shares)
    return 0, {name: Share(running=share.running) for name, share in before.shares.items()}


def _held(held: Share, used: Share, mine: Share) -> Share:
    """At least what is used. Fewer at once in the document than held: others took this ingress for dead."""
    return Share(
        requests=max(held.requests, used.requests),
        tokens=max(held.tokens, used.tokens),
        running=max(min(held.running, mine.running), used.running),
    )


def _sum(shares: Iterable[Share]) -> Share:
    requests = tokens = running = 0
    for share in shares:
        requests += share.requests
        tokens += share.tokens
        running += share.running
    return Share(requests=requests, tokens=tokens, running=running)


def _admit(
    limits: Limits, others: Share, used: Share, needs: tuple[int, ...]
) -> tuple[tuple[Kind | None, ...], Share]:
    """Who of those that wait may pass, and what is used then."""
    requests, tokens, running = used.requests, used.tokens, used.running
    most_requests = _most(limits.rpm, others.requests)
    most_tokens = _most(limits.tpm, others.tokens)
    most_running = _most(limits.concurrent, others.running)
    verdicts: list[Kind | None] = []
    for need in needs:
        if requests + 1 > most_requests:
            verdicts.append("requests")
        elif tokens + need > most_tokens:
            verdicts.append("tokens")
        elif running + 1 > most_running:
            verdicts.append("concurrent")
        else:
            verdicts.append(None)
            requests, tokens, running = requests + 1, tokens + need, running + 1
    return tuple(verdicts), Share(requests=requests, tokens=tokens, running=running)


def _most(limit: int | None, others: int) -> float:
    return math.inf if limit is None else limit - others


def _taken(limit: int | None, others: int, held: int, wanted: int) -> int:
    """What to hold: a chunk more where there is plenty, near the limit exactly what is wanted."""
    if limit is None:
        return 0
    missing = wanted - held
    if missing <= 0:
        return held
    chunk = (limit - others - held) // CHUNK
    return held + (chunk if chunk >= 2 * missing else missing)
