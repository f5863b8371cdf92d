"""A race, with its contenders played by a test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from keyrail.contracts import frames
from keyrail.contracts.failures import Failure, FailureKind
from keyrail.contracts.frames import CONTENT, End, Fail, Head, Kind, Taken
from keyrail.contracts.slips import RACE_HOPS, Facts, Hold, Plan, Race, Slip, Spent, Target
from keyrail_racer.actions import Over, Say, Start, Tell, TellRouter
from keyrail_racer.extra import Bucket, Stake
from keyrail_racer.race import Racing, Room

NAMES = "abcd"
HEAD = Head(status=200, headers=(("content-type", "text/event-stream"), ("x-keyrail-attempts", "1")))
DONE = b"data: [DONE]\n\n"


def failure(kind: FailureKind = "server", **more: Any) -> Failure:
    return Failure(kind=kind, message=kind, status=502, **more)


def words(text: str) -> bytes:
    return b'data: {"choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n' % text.encode()


@dataclass
class Field:
    """A race, and the contenders' side of it. `told`: what each contender's worker was told, in order."""

    race: Race
    targets: int = 3
    facts: Facts = Facts(model="r", stream=True)  # noqa: RUF009 - frozen
    hold: Hold | None = None
    windows: tuple[int | None, ...] = ()
    spent: tuple[Spent, ...] = ()
    bucket: Bucket = field(default_factory=Bucket)
    room: Room = field(default_factory=lambda: Room(1 << 30))
    now: float = 100.0

    def __post_init__(self) -> None:
        plan = Plan(
            strategy="fallback",
            targets=tuple(Target(provider="p", model=name) for name in NAMES[: self.targets]),
            race=self.race,
            windows=self.windows,
        )
        slip = Slip(
            request_id="q",
            inbox="_INBOX_ingress.i.r.1",
            tenant="t",
            key_id="k",
            received_ms=0,
            deadline_ms=600_000,
            take_by_ms=3_000,
            facts=self.facts,
            plan=plan,
            hold=self.hold,
            spent=self.spent,
        )
        stake = Stake(self.bucket, self.race.extra_usd)
        self.racing = Racing(slip, stake, inbox=lambda n: f"_INBOX_racer.x.r.0.{n}", room=self.room)
        self.started: list[Start] = []
        self.said: list[Say] = []
        self.told: list[Tell] = []
        self.routers: list[TellRouter] = []
        self.over: list[Over] = []
        self._sequences: dict[tuple[int, int], int] = {}
        self.racing.begin(Taken(worker="x", attempt_id="", provider="p", model="a"), self.now, 0)
        self._look()

    def _look(self) -> None:
        actions, self.racing.actions = self.racing.actions, []
        for action in actions:
            match action:
                case Start():
                    self.started.append(action)
                case Say():
                    self.said.append(action)
                case Tell():
                    self.told.append(action)
                case TellRouter():
                    self.routers.append(action)
                case Over():
                    self.over.append(action)

    def hear(self, number: int, kind: Kind, payload: Any = b"", flags: int = 0, *, retry: int = 0) -> None:
        hop = number * RACE_HOPS + retry
        sequence = self._sequences.get((number, hop), 0)
        self._sequences[number, hop] = sequence + 1
        data = payload if isinstance(payload, bytes) else payload.encode()
        (frame,) = frames.decode(frames.encode(kind, 0, hop, sequence, data, flags))
        self.racing.receive(number, frame, self.now, 0)
        self._look()

    def lose_a_frame(self, number: int) -> None:
        key = (number, number * RACE_HOPS)
        self._sequences[key] = self._sequences.get(key, 0) + 1

    def take(self, *numbers: int) -> Field:
        for number in numbers:
            self.hear(
                number,
                Kind.TAKEN,
                Taken(worker=f"w{number}", attempt_id=f"a{number}", provider="p", model="m"),
            )
        return self

    def content(self, number: int, text: str = "hi") -> None:
        if (number, 0) not in self._sequences and number not in self._headed:
            self._headed.add(number)
            self.hear(number, Kind.HEAD, HEAD)
        self.hear(number, Kind.DATA, words(text), CONTENT)

    _headed: set[int] = field(default_factory=set[int])

    def most(self, cost: str | None) -> Decimal | None:
        """No contender costs more than the most it can."""
        most = [usd for usd in self.race.most_usd if usd is not None]
        return None if cost is None else min([Decimal(cost), *most])

    def end(self, number: int, cost: str | None = "1", finish: str = "stop") -> None:
        last = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"%b"}]}\n\n' % finish.encode()
        self.hear(number, Kind.DATA, last + DONE, CONTENT)
        self.hear(number, Kind.END, End(finish=finish, cost_usd=self.most(cost)))

    def fail(self, number: int, why: Failure | None = None, cost: str | None = "0") -> None:
        why = why or failure()
        spent = Spent(
            attempt_id=f"a{number}",
            provider="p",
            model=NAMES[number % 4],
            failure=why,
            cost_usd=self.most(cost),
        )
        self.hear(number, Kind.FAIL, Fail(failure=why, spent=(spent,)))

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.racing.tick(self.now, 0)
        self._look()

    @property
    def models(self) -> list[str]:
        return [start.slip.target.model for start in self.started]

    @property
    def answer(self) -> bytes:
        return b"".join(
            said.payload for said in self.said if said.kind == Kind.DATA and isinstance(said.payload, bytes)
        )

    @property
    def kinds(self) -> list[Kind]:
        return [said.kind for said in self.said]

    def standings(self) -> dict[int, str | None]:
        return {tell.cancel.hop // RACE_HOPS: tell.cancel.standing for tell in self.told}


def header(said: Sequence[Say], name: str) -> str | None:
    head = next(say.payload for say in said if say.kind == Kind.HEAD)
    assert isinstance(head, Head)
    return dict(head.headers).get(name)


FREE = (Decimal(0),) * 4
FIRST = Race(mode="first", most_usd=FREE)
