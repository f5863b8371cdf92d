"""Histories of a ledger: what happened, and one way in which the news of it may have come. Pure.

What happened is a list of `Happened`: attempts with their requests and alerts, parts of which nobody told.
The way is an order of the events and a list of moves: take a batch, insert the next block of it, die, sweep,
price again, merge. `Model` is what the ledger must say after each.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal
from uuid import UUID

from hypothesis import strategies as st

from keyrail.contracts.base import Contract
from keyrail.contracts.events import AlertRaised, AttemptSettled, AttemptStarted, RequestFinished
from keyrail.contracts.usage import Price, Usage

AROUND_MS = 61_000
"""Attempts start so long before midnight, or after it: in four minutes, two hours and two days."""
MODELS = ("dear", "cheap")
STATUSES: tuple[Literal["ok", "failed", "cancelled"], ...] = ("ok", "failed", "cancelled")


@dataclass(frozen=True, slots=True)
class Happened:
    """One attempt, `at_ms` since midnight. `told`: which of its events were ever published."""

    at_ms: int
    request: int
    number: int
    model: str
    team: str | None
    status: Literal["ok", "failed", "cancelled"]
    usage: Usage
    cost_usd: Decimal | None
    told: Literal["both", "start", "end"]
    finished: bool
    alert_after_ms: int | None


MONEY = st.decimals(0, 100, places=12)
HAPPENED = st.builds(
    Happened,
    at_ms=st.integers(-AROUND_MS, AROUND_MS),
    request=st.integers(0, 3),
    number=st.integers(1, 3),
    model=st.sampled_from(MODELS),
    team=st.sampled_from((None, "", "search")),
    status=st.sampled_from(STATUSES),
    usage=st.builds(
        Usage,
        input_tokens=st.none() | st.integers(0, 10**6),
        output_tokens=st.none() | st.integers(0, 10**6),
        cache_read_tokens=st.none() | st.integers(0, 100),
        cache_write_tokens=st.none() | st.integers(0, 100),
        reasoning_tokens=st.none() | st.integers(0, 100),
        estimated=st.booleans(),
    ),
    cost_usd=st.none() | MONEY,
    told=st.sampled_from(("both", "both", "start", "end")),
    finished=st.booleans(),
    alert_after_ms=st.none() | st.integers(0, 5),
)
WORLDS = st.lists(HAPPENED, min_size=2, max_size=6)
Moves = Sequence[tuple[str, int, int]]
"""What, which of two consumers, and a number that says how much, or which."""
MOVES = st.lists(
    st.tuples(
        st.sampled_from(
            ("take", "insert", "insert", "insert", "again", "die", "sweep", "reprice", "merge", "refresh")
        ),
        st.integers(0, 1),
        st.integers(0, 63),
    ),
    min_size=8,
    max_size=32,
)


def uuid(kind: int, number: int) -> str:
    """An id, the same in each run."""
    return str(UUID(int=(kind << 96) | number))


def start_of(number: int, happened: Happened, midnight_ms: int) -> AttemptStarted:
    """The attempt's first event."""
    return AttemptStarted(
        attempt_id=uuid(1, number),
        request_id=uuid(2, happened.request),
        epoch=1,
        hop=happened.number - 1,
        number=happened.number,
        tenant="acme",
        key_id="k1",
        team=happened.team,
        strategy="direct",
        revision=1,
        provider="openai",
        model=happened.model,
        worker="w1",
        started_ms=midnight_ms + happened.at_ms,
    )


def events(world: Iterable[Happened], midnight_ms: int) -> list[Contract]:
    """All that was ever published."""
    found: list[Contract] = []
    requests: dict[int, RequestFinished] = {}
    for number, happened in enumerate(world):
        start = start_of(number, happened, midnight_ms)
        if happened.told != "end":
            found.append(start)
        if happened.told != "start":
            found.append(_end(start, happened))
        if happened.finished:
            requests.setdefault(happened.request, _finished(start))
        if happened.alert_after_ms is not None:
            found.append(_alert(midnight_ms + happened.alert_after_ms))
    return [*found, *requests.values()]


def _end(start: AttemptStarted, happened: Happened) -> AttemptSettled:
    return AttemptSettled(
        started=start,
        status=happened.status,
        usage=happened.usage,
        price=Price(cost_usd=happened.cost_usd, source="catalogue", version="1"),
        duration_ms=5,
        settled_ms=start.started_ms + 5,
    )


def _finished(start: AttemptStarted) -> RequestFinished:
    return RequestFinished(
        request_id=start.request_id,
        tenant=start.tenant,
        key_id=start.key_id,
        model="m",
        dialect="openai-chat",
        stream=False,
        status="ok",
        http_status=200,
        dispatches=1,
        ingress="i1",
        received_ms=start.started_ms,
        duration_ms=9,
    )


def _alert(raised_ms: int) -> AlertRaised:
    return AlertRaised(
        alert_id="alert",
        kind="other",
        tenant="acme",
        subject="s",
        detail="d",
        raised_by="w1",
        raised_ms=raised_ms,
    )


@dataclass(frozen=True, slots=True)
class Known:
    """What the ledger must say of an attempt: what has the highest rank of all that has come."""

    rank: int
    status: str
    cost_usd: Decimal | None = None
    usage: Usage = Usage()  # noqa: RUF009 - frozen


@dataclass(slots=True)
class Model:
    """The ledger as it must be: of each thing what came with the highest rank, whenever it came."""

    attempts: dict[str, Known] = field(default_factory=dict[str, Known])
    requests: set[str] = field(default_factory=set[str])
    alert_ms: int | None = None

    def insert(self, table: str, came: Iterable[Contract]) -> None:
        """These events' rows of this table are inserted."""
        for event in came:
            if isinstance(event, AttemptStarted) and table == "attempts":
                self.attempts.setdefault(event.attempt_id, Known(0, "running"))
            elif isinstance(event, AttemptSettled) and table == "attempts":
                id, known = event.started.attempt_id, self.attempts.get(event.started.attempt_id)
                if known is None or known.rank < 2:
                    self.attempts[id] = Known(2, event.status, event.price.cost_usd, event.usage)
            elif isinstance(event, RequestFinished) and table == "requests":
                self.requests.add(event.request_id)
            elif isinstance(event, AlertRaised) and table == "alerts":
                self.alert_ms = min(event.raised_ms, self.alert_ms or event.raised_ms)  # the first

    def sweep(self, ids: Iterable[str]) -> None:
        """These are settled as lost, where they run."""
        for id in ids:
            if id in self.attempts and self.attempts[id].rank == 0:
                self.attempts[id] = Known(1, "lost", None, Usage(estimated=True))

    def reprice(self, ids: Iterable[str], cost_usd: Decimal) -> None:
        """These get a new price, where they are settled."""
        for id in ids:
            known = self.attempts.get(id)
            if known is not None and known.rank >= 2:
                self.attempts[id] = Known(max(known.rank + 1, 3), known.status, cost_usd, known.usage)


Message = list[Contract]


def messages(found: Sequence[Contract], order: Sequence[int]) -> list[Message]:
    """The events in an order of their own, some twice, cut into messages. Each comes at least once."""
    shuffled = sorted(range(len(found)), key=lambda at: (order[at % len(order)], at))
    twice = [at for at in shuffled if order[at % len(order)] % 3 == 0]
    cut: list[Message] = [[]]
    for place, at in enumerate((*shuffled, *twice)):
        cut[-1].append(found[at])
        if order[place % len(order)] % 4:
            cut.append([])
    return [message for message in cut if message]
