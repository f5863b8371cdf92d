"""What translation costs: each client dialect with each provider dialect, in this process, without a network.

For each pair the code that a worker runs for a request, timed by this thread's CPU clock: the body translated
and dumped, the answer translated, a stream relayed. Rounds go over all pairs, so that a slow moment of the
machine is shared, and the best round of each counts.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from pydantic import BaseModel

from bench import wires
from bench.table import align, number
from keyrail.contracts.failures import Failure
from keyrail.contracts.quirks import Quirks
from keyrail.contracts.slips import Dialect, Facts
from keyrail.dialects import json_text, registry, ways

FACES: tuple[Dialect, ...] = ("openai-chat", "openai-responses", "anthropic-messages")
WIRES: tuple[Dialect, ...] = (*FACES, "gemini-generate")
REQUEST_LIMIT_US = 150.0
CHUNK_LIMIT_US = 5.0
MANY = 25
"""Events in a read, where a read brings many."""
_ROUNDS, _QUICK_ROUNDS = 15, 3
_REQUESTS, _STREAMS = 60, 6  # of each pair in a round
_QUIRKS = Quirks()
_CREATED = 1_760_000_000


class Cost(BaseModel):
    """CPU microseconds: `request` for a body there and an answer back, the others for an event with words."""

    request: float
    alone: float
    many: float


class Pair(BaseModel):
    """One client dialect at one provider dialect, and what the client's own dialect passed on would cost."""

    face: Dialect
    wire: Dialect
    cost: Cost
    passed: Cost

    @property
    def passes(self) -> bool:
        """Whether nothing is translated."""
        return self.face == self.wire

    @property
    def over(self) -> Cost:
        """What translation adds."""
        cost, passed = self.cost, self.passed
        return Cost(
            request=cost.request - passed.request,
            alone=cost.alone - passed.alone,
            many=cost.many - passed.many,
        )

    @property
    def within(self) -> bool:
        """Whether what is added keeps both targets."""
        over = self.over
        return over.request <= REQUEST_LIMIT_US and max(over.alone, over.many) <= CHUNK_LIMIT_US


class Pairs(BaseModel):
    """All pairs of one run. `problems`: those whose output was wrong, whose time means nothing."""

    pairs: list[Pair] = []
    problems: list[str] = []


def _facts(face: Dialect, *, stream: bool) -> Facts:
    return registry.face(face).facts(wires.request(face, stream=stream))


def _way(face: Dialect, wire: Dialect, facts: Facts) -> ways.Way:
    return ways.way("bench", wire, facts, wires.MODELS[wire], _QUIRKS, _CREATED)


def _ask(face: Dialect, wire: Dialect, facts: Facts, body: bytes, answer: bytes) -> tuple[bytes, bytes]:
    """One request as a worker handles it. Returns the body for the provider and that for the client."""
    way = _way(face, wire, facts)
    written = way.request(body)
    if isinstance(written, Failure):
        raise TypeError(written.message)
    sent = json_text.dump(written.body)
    answered = way.answer(answer)
    if isinstance(answered, Failure):
        raise TypeError(answered.message)
    return sent, answered.body


def _relay(way: ways.Way, reads: list[bytes]) -> tuple[bytes, bool]:
    """One stream. Returns the client's bytes and whether the stream came whole."""
    relay = way.relay()
    if relay is None:
        raise TypeError("what the pairs stream is streamed")
    pieces = [relay.feed(read) for read in reads]
    pieces.append(relay.end())
    return b"".join(pieces), relay.done and relay.content and relay.failure is None


def gathered(events: list[bytes], many: int = MANY) -> list[bytes]:
    """The same stream with so many events in a read."""
    return [b"".join(events[at : at + many]) for at in range(0, len(events), many)]


class _Case:
    """One pair, ready to be timed."""

    def __init__(self, face: Dialect, wire: Dialect) -> None:
        self.face: Dialect = face
        self.wire: Dialect = wire
        events = wires.stream(wire)
        way = _way(face, wire, _facts(face, stream=True))
        way.request(wires.request_bytes(face, stream=True))  # some streams repeat what was asked
        self.ask = partial(
            _ask, face, wire, _facts(face, stream=False), wires.request_bytes(face), wires.answer(wire)
        )
        self.alone = partial(_relay, way, events)
        self.many = partial(_relay, way, gathered(events))


def problems(face: Dialect, wire: Dialect) -> list[str]:
    """What is wrong with the output of a pair: too little that came through, or nothing translated."""
    case = _Case(face, wire)
    sent, answered = case.ask()
    asked = (wires.SYSTEM, *wires.TURNS, *(name for name, _, _ in wires.TOOLS))
    found = [f"lost in the request: {words}" for words in asked if words.encode() not in sent]
    if (f'"{wires.ASKED}"').encode() in sent:
        found.append("the provider is asked for the client's name of the model")
    if wires.text(face, answered) != wires.ANSWER:
        found.append("the answer has other words")
    for how, relay in (("one event a read", case.alone), ("many events a read", case.many)):
        streamed, whole = relay()
        if not whole:
            found.append(f"{how}: the stream broke off")
        if wires.words(face, streamed) != "".join(wires.WORDS):
            found.append(f"{how}: the stream has other words")
    return [f"{face} at {wire}: {problem}" for problem in found]


def timed(work: Callable[[], object], times: int, clock: Callable[[], float] = time.thread_time) -> float:
    """Microseconds that one piece of work takes, on average of so many."""
    began = clock()
    for _ in range(times):
        work()
    return (clock() - began) / times * 1e6


def _once(case: _Case) -> Cost:
    return Cost(
        request=timed(case.ask, _REQUESTS),
        alone=timed(case.alone, _STREAMS) / wires.EVENTS,
        many=timed(case.many, _STREAMS) / wires.EVENTS,
    )


def best(costs: list[Cost]) -> Cost:
    """The least of each figure."""
    return Cost(
        request=min(cost.request for cost in costs),
        alone=min(cost.alone for cost in costs),
        many=min(cost.many for cost in costs),
    )


def measure(*, quick: bool = False) -> Pairs:
    """Measure all pairs, in about 10 s; `quick`: in about 2 s."""
    found = [problem for face in FACES for wire in WIRES for problem in problems(face, wire)]
    if found:
        return Pairs(problems=found)
    cases = [_Case(face, wire) for face in FACES for wire in WIRES]
    rounds: list[list[Cost]] = [[] for _ in cases]
    for _ in range(_QUICK_ROUNDS if quick else _ROUNDS):
        for case, costs in zip(cases, rounds, strict=True):
            costs.append(_once(case))
    least = {(case.face, case.wire): best(costs) for case, costs in zip(cases, rounds, strict=True)}
    return Pairs(
        pairs=[
            Pair(
                face=case.face,
                wire=case.wire,
                cost=least[case.face, case.wire],
                passed=least[case.face, case.face],
            )
            for case in cases
        ]
    )


def dearest(pairs: list[Pair]) -> tuple[float | None, float | None]:
    """The most that translation adds to a request and to a chunk of any pair; None when none was measured."""
    added = [pair.over for pair in pairs if not pair.passes]
    if not added:
        return None, None
    return max(cost.request for cost in added), max(max(cost.alone, cost.many) for cost in added)


def render(measured: Pairs) -> str:
    """The table: each pair beside its client's dialect passed on."""
    head = ["translation, CPU of the worker's code", "us/request", "over", "us/chunk alone", "over"]
    rows = [[*head, f"us/chunk, {MANY} a read", "over", ""]]
    for pair in measured.pairs:
        cost, over = pair.cost, pair.over
        cells: list[str] = []
        for whole, more in (
            (cost.request, over.request),
            (cost.alone, over.alone),
            (cost.many, over.many),
        ):
            cells += [number(whole), "" if pair.passes else number(more)]
        verdict = "passed on" if pair.passes else "pass" if pair.within else "FAIL"
        rows.append([f"{pair.face} at {pair.wire}", *cells, verdict])
    lines = [align(rows)] if measured.pairs else []
    return "\n".join([*lines, *(f"!  {problem}" for problem in measured.problems)])
