"""Of what usage an attempt's cost is worked out, and how sure that is. Pure."""

from __future__ import annotations

from keyrail.contracts.failures import Failure
from keyrail.contracts.slips import Facts
from keyrail.contracts.usage import Basis, Usage
from keyrail.providers import registry
from keyrail.providers.base import Cancelled


def on_cancel(provider: str, *, stream: bool) -> Cancelled:
    """What the provider bills for an answer that is broken off: one that is not streamed, always whole."""
    if not stream:
        return "bills-whole"
    known = registry.load().get(provider)
    return known.cancelled if known is not None else "unknown"


def billed(usage: Usage, failure: Failure | None, facts: Facts, provider: str) -> tuple[Usage | None, Basis]:
    """What to price for a request that was written, and on which basis. None: nobody can say.

    A provider that bills a broken-off answer to its end is assumed to have come to the request's limit;
    where the request names none, what it bills is unknown.
    """
    if not usage.estimated and usage.output_tokens is not None:
        return usage, "exact"
    if not _by_us(usage, failure):
        return usage, "estimated"
    policy = on_cancel(provider, stream=facts.stream)
    if policy == "bills-whole":
        return _whole(usage, facts), "assumed_full"
    if policy == "stops-billing" and usage.input_tokens is None:
        guess = usage.replace(input_tokens=facts.input_tokens_estimate, output_tokens=0, estimated=True)
        return guess, "estimated"
    return usage, "estimated"


def _by_us(usage: Usage, failure: Failure | None) -> bool:
    """Whether this gateway broke the answer off. Of one that had not begun when its time was over nobody
    knows whether it was being answered at all."""
    if failure is None:
        return False
    return failure.kind == "cancelled" or (failure.kind == "timeout" and usage.estimated)


def _whole(usage: Usage, facts: Facts) -> Usage | None:
    most = 0 if facts.dialect == "openai-embeddings" else facts.max_output_tokens
    if most is None:
        return None
    return usage.replace(
        input_tokens=facts.input_tokens_estimate if usage.input_tokens is None else usage.input_tokens,
        output_tokens=max(most * facts.choices, usage.output_tokens or 0),
        estimated=True,
    )
