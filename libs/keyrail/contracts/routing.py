"""What routing decided and why, and what is said of the quality of answers: facts for the ledger."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from keyrail.contracts.base import Contract
from keyrail.contracts.failures import FailureKind
from keyrail.contracts.slips import Facts

Gate = Literal[
    "tools",
    "vision",
    "json_schema",
    "window",  # the prompt and the answer asked for do not fit
    "residency",  # the tenant's requests may not go to this provider
    "budget",
    "breaker",
    "limits",  # the provider says that nothing is left
    "keys",  # all keys of the pool are out
    "unconfigured",
    "other",  # a gate that a newer writer knows
]


class Candidate(Contract, frozen=True, kw_only=True):
    """One target as the decision saw it. None is unknown, or played no part.

    `gate`: what closed it. `probability`: that it clears the bar. `latency_s`: until the first token of a
    stream, until the end of a whole answer, where enough was measured to compare. `share`: of its traffic,
    while it comes back from an outage.
    """

    target: str  # provider/model
    gate: Gate | None = None
    quality: float | None = None
    mass: float | None = None  # verdicts that the quality weighs as much as, the prior among them
    verdicts: float | None = None  # those of them that were given, older ones weighing less
    probability: float | None = None
    cost_usd: Decimal | None = None
    latency_s: float | None = None
    share: float | None = None


class RequestRouted(Contract, frozen=True, kw_only=True, tag_field="event", tag="request.routed"):
    """A decision of the router about a request that asked for a route. Published once for each dispatch.

    `targets`: in the order to try them; empty with `failure`. `code` is for machines, `reason` a sentence.
    `propensity`: the probability with which the first target was drawn; `draw`: the number in [0, 1) that it
    was drawn by, with which the same decision can be made again. `worth`: what a good answer was worth in
    a smart route, in US dollars (or seconds); None: it played no part, or was not known. `facts` has all that
    the decision knew of the request, so that another configuration can be tried on it.
    """

    request_id: str
    epoch: int
    tenant: str
    key_id: str
    team: str | None = None
    feature: str | None = None
    route: str
    strategy: str
    revision: int
    task: str | None = None
    targets: tuple[str, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    code: str
    reason: str
    propensity: float = 1.0
    draw: float | None = None
    worth: float | None = None
    failure: FailureKind | None = None
    facts: Facts
    router: str
    routed_ms: int


class VerdictGiven(Contract, frozen=True, kw_only=True, tag_field="event", tag="verdict.given"):
    """Somebody said how good an answer was. `score`: 0 to 1. The id makes one that comes twice one.

    `task`: as in the decision; `target`: provider/model.
    """

    verdict_id: str
    request_id: str | None = None
    tenant: str
    route: str
    task: str
    target: str
    score: float
    weight: float = 1.0
    source: Literal["judge", "check", "human", "outcome", "import", "other"]
    given_by: str | None = None  # the judge's name, or who imported it
    given_ms: int
