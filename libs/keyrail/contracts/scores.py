"""What was learned about the quality of a route's targets: verdicts, and the state they are folded into.

Scores are between 0 (bad) and 1 (good). Targets are named `provider/model`. Nothing in here holds a prompt:
`features` are what `keyrail.routing.text` makes of one.
"""

from __future__ import annotations

from keyrail.contracts.base import Contract


class Verdict(Contract, frozen=True, kw_only=True):
    """What a judge, a check or a user said about the answers to one prompt.

    `request_id` names the prompt: a second verdict about the same one adds to what is remembered of it.
    `weight`: how much each score counts, 1 for a judge that is always right. `features`: the packed features
    of the prompt, None where only its task is known.
    """

    id: str
    request_id: str
    route: str
    task: str
    scores: dict[str, float]
    weight: float = 1.0
    at_ms: int
    features: str | None = None


class Tally(Contract, frozen=True, kw_only=True):
    """Weighted successes and failures, decayed to `at_ms`."""

    good: float
    bad: float
    at_ms: int


class TaskScores(Contract, frozen=True, kw_only=True):
    """What is known of each target at one task of a route. `seen`: short digests of the last verdicts folded
    in, oldest first, by which one that comes again is recognised."""

    task: str
    tallies: dict[str, Tally] = {}
    seen: tuple[str, ...] = ()


class Tuned(Contract, frozen=True, kw_only=True):
    """What a good answer must be worth, so that a route keeps the share of quality that it is to keep.

    `worth`: US dollars (or seconds); None: none is enough, and the reference serves. `rule`: what it was
    worked out for, see `keyrail.routing.tuning.rule_of`; for another one it says nothing. `kept`: the share
    of the reference's quality that is expected, `saved`: of what the reference alone is expected to cost (or
    take). `requests`: how many it was worked out from.
    """

    worth: float | None
    rule: str
    kept: float
    saved: float | None = None
    requests: int
    at_ms: int


class Exemplar(Contract, frozen=True, kw_only=True):
    """One judged prompt. `id` is its request's; `scores` by target, for those that were judged."""

    id: str
    task: str
    features: str
    scores: dict[str, float]
    at_ms: int
