"""What routers measured of targets lately, as they write it down for one another."""

from __future__ import annotations

from keyrail.contracts.base import Contract

Samples = tuple[tuple[int, float], ...]
"""When (milliseconds since the epoch) and seconds, the oldest first."""


class TargetMeasures(Contract, frozen=True, kw_only=True):
    """Of one target.

    `first` by the number of the prompt's size: until the first content of a stream. `pace`: for each token of
    an answer, its start counted in; `between`: the same once a stream has begun. `output`: tokens of its
    answers. `good` and `bad`: attempts that came to an answer and that did not, decayed to `at_ms`.
    """

    first: dict[str, Samples] = {}
    pace: Samples = ()
    between: Samples = ()
    output: float | None = None
    good: float = 0.0
    bad: float = 0.0
    at_ms: int = 0


class Measured(Contract, frozen=True, kw_only=True):
    """All of it: targets by `provider/model`, lengths of answers by route, a blank, and target."""

    at_ms: int
    targets: dict[str, TargetMeasures] = {}
    answers: dict[str, float] = {}
