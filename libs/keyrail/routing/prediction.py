"""How fast targets were lately, and what to expect of a request. Folds of settled attempts; no I/O, no clock.

Of each target the last samples are kept: of streams the time until the first content, by the size of the
prompt, and of all answers how long a token took. What is older than FRESH_MS says nothing any more.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from keyrail.contracts.measures import Samples, TargetMeasures
from keyrail.routing.posterior import decayed

FRESH_MS: Final = 15 * 60_000
KEPT: Final = 64
"""Samples of each kind, the youngest."""
WRITTEN: Final = 24
"""How many of them others are told."""
EDGES: Final = (500, 2_000, 8_000, 32_000, 128_000)
"""Tokens of prompt at which another size begins."""
LEAST: Final = 5
"""Samples from which on a target counts as measured."""
START_TOKENS: Final = 50
"""How many tokens of an answer take as long as its start, where only whole answers were measured."""
HALF_LIFE_MS: Final = 10 * 60_000
TRUST: Final = 20.0
"""Successes that every target is credited with."""


@dataclass(frozen=True, slots=True)
class Ended:
    """An attempt that has ended. None is unknown. `ok` None: it says nothing of its target."""

    at_ms: int
    ok: bool | None
    stream: bool = False
    input_tokens: int | None = None
    output_tokens: int | None = None
    first_content_ms: int | None = None
    duration_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Prediction:
    """For one request at one target: seconds until its first token (of a stream) or its end, ascending, each
    as likely as the others. `tokens_per_s` None: unknown."""

    seconds: tuple[float, ...]
    first_token: bool
    tokens_per_s: float | None = None

    def quantile(self, q: float) -> float:
        """So much of the samples are at most this."""
        return quantile(self.seconds, q)

    @property
    def measured(self) -> bool:
        """Whether these are enough samples to compare with."""
        return len(self.seconds) >= LEAST


def quantile(ascending: Sequence[float], q: float) -> float:
    """Linear between the samples; at least one is needed."""
    place = (len(ascending) - 1) * q
    low = int(place)
    high = min(low + 1, len(ascending) - 1)
    return ascending[low] + (ascending[high] - ascending[low]) * (place - low)


Sample = tuple[int, float]
"""When, and seconds."""


def _ring() -> deque[Sample]:
    return deque(maxlen=KEPT)


@dataclass(slots=True)
class Latencies:
    """What is kept of one target. `pace`: seconds for a token of an answer, its start counted in;
    `between`: the same once a stream has begun. `good`, `bad`: decayed to `at_ms`."""

    first: dict[int, deque[Sample]] = field(default_factory=dict[int, deque[Sample]])
    pace: deque[Sample] = field(default_factory=_ring)
    between: deque[Sample] = field(default_factory=_ring)
    output: float | None = None
    good: float = 0.0
    bad: float = 0.0
    at_ms: int = 0
    _sorted: dict[int, tuple[int, tuple[float, ...]]] = field(
        default_factory=dict[int, tuple[int, tuple[float, ...]]]
    )

    @classmethod
    def of(cls, known: TargetMeasures) -> Latencies:
        """As it was written down."""
        found = cls(output=known.output, good=known.good, bad=known.bad, at_ms=known.at_ms)
        found.pace.extend(known.pace)
        found.between.extend(known.between)
        for size, samples in known.first.items():
            if size.isdecimal():
                found.first[int(size)] = deque(samples, KEPT)
        return found

    def written(self) -> TargetMeasures:
        """For others: the youngest samples of each kind."""
        return TargetMeasures(
            first={str(size): _youngest(samples) for size, samples in self.first.items()},
            pace=_youngest(self.pace),
            between=_youngest(self.between),
            output=self.output,
            good=round(self.good, 3),
            bad=round(self.bad, 3),
            at_ms=self.at_ms,
        )

    def fold(self, ended: Ended) -> None:
        """One more attempt."""
        if ended.ok is None:
            return
        self._count(ended)
        if not ended.ok or ended.duration_ms is None:
            return
        output = ended.output_tokens
        if output is not None:
            self.output = output if self.output is None else self.output + (output - self.output) / 16
            self.pace.append((ended.at_ms, ended.duration_ms / 1000 / (START_TOKENS + output)))
        if ended.stream and ended.first_content_ms is not None:
            size = size_of(ended.input_tokens or 0)
            self.first.setdefault(size, _ring()).append((ended.at_ms, ended.first_content_ms / 1000))
            if output is not None and output > 1:
                rest = (ended.duration_ms - ended.first_content_ms) / 1000 / (output - 1)
                self.between.append((ended.at_ms, max(rest, 0.0)))
        self._sorted.clear()

    def _count(self, ended: Ended) -> None:
        age = ended.at_ms - self.at_ms
        if age > 0:
            self.good, self.bad = decayed(self.good, age, HALF_LIFE_MS), decayed(self.bad, age, HALF_LIFE_MS)
            self.at_ms = ended.at_ms
        if ended.ok:
            self.good += 1
        else:
            self.bad += 1

    def success(self, now_ms: int) -> float:
        """The share of attempts that came to an answer, near 1 where there were few."""
        left = decayed(1.0, now_ms - self.at_ms, HALF_LIFE_MS)
        bad = self.bad * left
        return 1 - bad / (TRUST + self.good * left + bad)

    def predict(
        self, *, stream: bool, input_tokens: int, output_tokens: int, now_ms: int
    ) -> Prediction | None:
        """For a request of this size; None where nothing fresh was measured."""
        size = size_of(input_tokens) if stream else _WHOLE
        seconds = self._ascending(size, now_ms)
        if not seconds:
            return None
        pace = self._ascending(_BETWEEN, now_ms)
        rate = 1 / middle if pace and (middle := quantile(pace, 0.5)) > 0 else None
        if not stream:
            length = START_TOKENS + output_tokens
            seconds = tuple(each * length for each in seconds)
        return Prediction(seconds, stream, rate)

    def _ascending(self, kind: int, now_ms: int) -> tuple[float, ...]:
        """Fresh samples in order, kept for as long as none is added and none can have become old."""
        found = self._sorted.get(kind)
        if found is not None and now_ms < found[0]:
            return found[1]
        samples = self.pace if kind == _WHOLE else self.between if kind == _BETWEEN else self._firsts(kind)
        fresh = [(at, value) for at, value in samples if now_ms - at < FRESH_MS]
        until = min((at for at, _ in fresh), default=now_ms) + FRESH_MS
        ascending = tuple(sorted(value for _, value in fresh))
        self._sorted[kind] = (until, ascending)
        return ascending

    def _firsts(self, size: int) -> Iterable[Sample]:
        """Of prompts of this size; of the next ones too, nearest first, where that is too little."""
        found: list[Sample] = list(self.first.get(size, ()))
        for distance in range(1, len(EDGES) + 1):
            if len(found) >= LEAST:
                break
            for near in (size - distance, size + distance):
                found += self.first.get(near, ())
        return found


def _youngest(samples: Sequence[Sample]) -> Samples:
    return tuple((at, round(value, 6)) for at, value in list(samples)[-WRITTEN:])


_WHOLE: Final = -1
_BETWEEN: Final = -2


def size_of(input_tokens: int) -> int:
    """The number of a prompt's size, from 0."""
    return bisect_left(EDGES, input_tokens)
