"""Races as a state machine: whatever comes, in whatever order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyrail.contracts import frames
from keyrail.contracts.failures import Failure, FailureKind
from keyrail.contracts.frames import CONTENT, End, Fail, Head, Kind, Passed, Taken
from keyrail.contracts.signals import Cancel
from keyrail.contracts.slips import RACE_HOPS, Facts, Hold, Plan, Race, Slip, Spent, Target
from keyrail_racer.actions import Over, Say, Start, Tell, TellRouter
from keyrail_racer.extra import Bucket, Stake
from keyrail_racer.race import MOST_HELD, Racing, Room

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


def test_the_first_content_wins_and_all_others_lose() -> None:
    race = Field(FIRST.replace(most=3)).take(0, 1, 2)
    race.content(1)
    assert race.standings() == {0: "lost", 1: "won", 2: "lost"}
    race.content(0, "no")
    race.content(1, "!")
    race.end(1)
    assert race.answer.startswith(words("hi") + words("!"))
    assert b"no" not in race.answer
    assert race.kinds == [Kind.TAKEN, Kind.HEAD, Kind.DATA, Kind.DATA, Kind.DATA, Kind.END]
    assert header(race.said, "x-keyrail-race") == "mode=first; winner=p/b; started=3"
    assert header(race.said, "x-keyrail-attempts") == "3"
    assert [over.outcome for over in race.over] == ["won"]


def test_what_is_no_content_wins_nothing() -> None:
    race = Field(FIRST).take(0, 1)
    race.hear(0, Kind.HEAD, HEAD)
    race.hear(0, Kind.DATA, b'data: {"choices":[{"delta":{"role":"assistant"}}]}\n\n')
    assert race.told == []
    race.content(1)
    assert race.standings() == {0: "lost", 1: "won"}


def test_comments_of_the_first_that_runs_reach_the_client_before_there_is_a_winner() -> None:
    race = Field(FIRST).take(0, 1)
    for number in (1, 0, 1):
        race.hear(number, Kind.HEAD, HEAD)
        race.hear(number, Kind.DATA, b": keep-alive\n\n")
    assert race.answer == b": keep-alive\n\n"
    assert header(race.said, "x-keyrail-race") == "mode=first"
    race.hear(1, Kind.DATA, words("hi"), CONTENT)
    assert race.kinds.count(Kind.HEAD) == 1


def test_nobody_switches_after_the_first_content() -> None:
    race = Field(FIRST).take(0, 1)
    race.content(0)
    race.fail(0, cost="0.5")
    assert race.kinds[-1] == Kind.FAIL
    assert [over.outcome for over in race.over] == ["broken"]
    race.content(1)
    assert race.kinds[-1] == Kind.FAIL


def test_whoever_fails_is_replaced_by_the_next_target() -> None:
    race = Field(FIRST).take(0, 1)
    assert race.models == ["a", "b"]
    race.fail(0)
    assert race.models == ["a", "b", "c"]
    assert [start.slip.before for start in race.started] == [0, 1, 2]
    assert [start.slip.hop for start in race.started] == [0, RACE_HOPS, 2 * RACE_HOPS]


def test_what_the_caller_did_wrong_starts_nobody_and_is_what_the_client_hears() -> None:
    race = Field(FIRST).take(0, 1)
    race.fail(0, failure("bad_request"))
    race.fail(1, failure("rate", retry_after_s=1))
    assert race.models == ["a", "b"]
    told = race.said[-1].payload
    assert isinstance(told, Fail)
    assert told.failure.kind == "bad_request"
    assert [spent.attempt_id for spent in told.spent] == ["a0", "a1"]


def test_after_a_prompt_that_does_not_fit_only_larger_windows_are_tried() -> None:
    race = Field(FIRST.replace(most=1), windows=(8, 4, 16)).take(0)
    race.fail(0, failure("context"))
    assert race.models == ["a", "c"]


def test_of_equal_failures_the_one_that_passes_soonest_is_told() -> None:
    race = Field(FIRST, targets=2).take(0, 1)
    race.fail(0, failure("rate", retry_after_s=9))
    race.fail(1, failure("rate", retry_after_s=2))
    told = race.said[-1].payload
    assert isinstance(told, Fail)
    assert told.failure.retry_after_s == 2


def test_a_hedge_starts_after_its_delay_or_at_once_when_one_fails() -> None:
    rule = Race(mode="hedge", delays_s=(0.5, 0.2), most_usd=FREE)
    race = Field(rule).take(0)
    assert race.racing.next_at() == 100.5
    race.wait(0.4)
    assert race.models == ["a"]
    race.wait(0.1)
    assert race.models == ["a", "b"]
    assert [start.slip.role for start in race.started] == ["race", "hedge"]
    race.wait(1)
    assert race.models == ["a", "b"], "two run at most"
    race.take(1).fail(0)
    assert race.models == ["a", "b", "c"]


def test_a_whole_answer_that_holds_wins_over_one_that_was_there_before_it() -> None:
    facts = Facts(model="r", stream=True, json_schema=True)
    race = Field(Race(mode="first_complete", most_usd=FREE), targets=2, facts=facts).take(0, 1)
    race.content(0, "words")
    race.end(0)
    assert race.told == []
    race.content(1, "[]")
    race.end(1)
    assert race.standings() == {0: "lost", 1: "won"}


def test_where_no_answer_holds_the_least_bad_is_given() -> None:
    race = Field(Race(mode="first_complete", most_usd=FREE), targets=3).take(0, 1)
    race.content(0)
    race.end(0, finish="content_filter")
    race.content(1)
    race.end(1, finish="length")
    assert race.standings() == {0: "lost", 1: "won"}


def test_a_failure_wins_nothing_while_an_answer_may_come() -> None:
    race = Field(Race(mode="first_complete", most_usd=FREE), targets=2).take(0, 1)
    race.fail(0)
    race.content(1)
    race.end(1)
    assert race.kinds[-1] == Kind.END


@pytest.mark.parametrize(
    ("texts", "winner"),
    [(("Yes.", "no", " yes "), 0), (("no", "yes", "Yes!"), 1), (("x", "y", "z"), 0)],
)
def test_the_best_is_what_most_say_and_else_what_the_plan_prefers(
    texts: tuple[str, ...], winner: int
) -> None:
    race = Field(Race(mode="best", most=3, most_usd=FREE)).take(0, 1, 2)
    for number in (2, 1, 0):
        race.content(number, texts[number])
        race.end(number)
    assert [number for number, standing in race.standings().items() if standing == "won"] == [winner]


def test_the_best_of_what_is_there_when_time_is_over() -> None:
    race = Field(Race(mode="best", most=2, within_s=5, most_usd=FREE)).take(0, 1)
    race.wait(5)
    assert race.told == [], "nobody has answered"
    race.content(1)
    race.end(1)
    assert race.standings() == {0: "lost", 1: "won"}


def test_an_answer_too_large_to_be_held_is_out_unless_it_is_the_last() -> None:
    race = Field(Race(mode="first_complete", most_usd=FREE), targets=2).take(0, 1)
    race.content(0, "x" * MOST_HELD)
    assert race.standings() == {0: "lost"}
    race.content(1, "y" * MOST_HELD)
    assert race.standings() == {0: "lost", 1: "won"}
    assert race.room.used == 0


def test_a_contender_whose_worker_is_gone_may_start_once_more() -> None:
    race = Field(FIRST, targets=2).take(0, 1)
    for _ in range(2):
        race.racing.lose(len(race.started) - 2, failure("unavailable"), race.now, 0)
        race.racing.lose(len(race.started) - 1, failure("unavailable"), race.now, 0)
        race._look()  # pyright: ignore[reportPrivateUsage]
    assert sorted(race.models) == ["a", "a", "b", "b"]
    assert race.kinds[-1] == Kind.FAIL


def test_a_refused_key_is_tried_again_within_the_same_contender() -> None:
    hold = Hold(router="r", usd=Decimal(9), most=(Decimal(1),) * 3)
    race = Field(FIRST, hold=hold).take(0, 1)
    spent = Spent(attempt_id="a", provider="p", model="a", failure=failure("rate"), cost_usd=Decimal(0))
    race.hear(0, Kind.PASSED, Passed(spent=spent, take_by_ms=5))
    race.hear(0, Kind.TAKEN, Taken(worker="w", attempt_id="b", provider="p", model="a"), retry=1)
    race.hear(0, Kind.HEAD, HEAD, retry=1)
    race.hear(0, Kind.DATA, words("hi"), CONTENT, retry=1)
    race.hear(0, Kind.END, End(cost_usd=Decimal(1)), retry=1)
    race.fail(1, failure("cancelled"), cost="0")
    assert header(race.said, "x-keyrail-attempts") == "3"
    assert [tell.told.attempts for tell in race.routers] == [4], "three attempts and this word"


def test_a_loser_that_is_taken_only_after_the_race_is_stopped_then() -> None:
    race = Field(FIRST).take(0)
    race.content(0)
    race.take(1)
    assert race.standings() == {0: "won", 1: "lost"}


def test_nothing_starts_that_the_hold_does_not_pay_for() -> None:
    hold = Hold(router="r", usd=Decimal(3), most=(Decimal(2), Decimal(2), Decimal(1)))
    race = Field(Race(mode="first", most=3, most_usd=FREE), hold=hold)
    assert race.models == ["a"]
    race.take(0).fail(0, cost="0")
    assert race.models == ["a", "b", "c"], "two and one of three"
    assert race.started[1].slip.hold == hold.replace(usd=Decimal(2), most=(Decimal(2),))


def test_losers_are_paid_by_a_share_of_what_was_served() -> None:
    bucket = Bucket()
    rule = Race(mode="first", most_usd=(Decimal(3), Decimal(2), Decimal(2)))
    assert Field(rule, bucket=bucket).models == ["a"]
    bucket.earn(Decimal(3), 100.0)
    race = Field(rule, bucket=bucket).take(0, 1)
    assert race.models == ["a", "b"]
    assert bucket.balance == 0, "the dearer one may lose"
    assert Field(rule, bucket=bucket).models == ["a"]
    race.content(0)
    assert bucket.balance == 1, "the cheaper one has lost"
    race.fail(1, failure("cancelled"), cost="0.5")
    assert bucket.balance == Decimal("2.5")


@pytest.mark.parametrize("most", [(), (Decimal(0), None)])
def test_of_unknown_cost_nobody_races(most: tuple[Decimal | None, ...]) -> None:
    assert Field(Race(mode="first", most_usd=most), targets=2).models == ["a"]


def test_when_the_client_leaves_all_are_stopped_and_the_router_hears_the_number() -> None:
    hold = Hold(router="r", usd=Decimal(0), most=FREE[:3])
    race = Field(FIRST, hold=hold).take(0)
    race.racing.stop("client gone")
    race._look()  # pyright: ignore[reportPrivateUsage]
    race.take(1)
    assert [(tell.worker, tell.cancel.standing) for tell in race.told] == [("w0", None), ("w1", None)]
    race.fail(0, failure("cancelled"))
    assert race.routers == []
    race.fail(1, failure("cancelled"))
    assert race.racing.done
    assert [tell.told.attempts for tell in race.routers] == [3]
    assert race.kinds == [Kind.TAKEN], "nobody is told anything"


STEPS = ("take", "content", "comment", "role", "end", "fail", "refuse", "lose", "gap", "wait", "stop")


@dataclass
class Model:
    """What contenders may still do."""

    taken: set[int] = field(default_factory=set[int])
    ended: set[int] = field(default_factory=set[int])


def play(race: Field, steps: Sequence[tuple[str, int]]) -> Model:
    model = Model()
    for step, index in steps:
        if step == "wait":
            race.wait(0.3 * (index + 1))
            continue
        if step == "stop":
            if index == 0:
                race.racing.stop("client gone")
                race._look()  # pyright: ignore[reportPrivateUsage]
            continue
        number = index % max(len(race.started), 1)
        if number in model.ended:
            continue
        if number not in model.taken:
            model.taken.add(number)
            race.take(number)
            continue
        _act(race, model, step, number)
        assert len([say for say in race.said if say.kind in (Kind.END, Kind.FAIL)]) <= 1
        assert race.bucket.balance >= 0
        assert race.room.used >= 0
    return model


def _act(race: Field, model: Model, step: str, number: int) -> None:
    match step:
        case "content":
            race.content(number, NAMES[number % 4])
        case "comment":
            race.hear(number, Kind.DATA, b": keep-alive\n\n")
        case "role":
            race.hear(number, Kind.DATA, b'data: {"choices":[]}\n\n')
        case "end":
            model.ended.add(number)
            race.content(number, NAMES[number % 4])
            race.end(number)
        case "fail" | "refuse":
            model.ended.add(number)
            race.fail(number, failure("server" if step == "fail" else "bad_request"), "0.5")
        case "lose":
            model.ended.add(number)
            race.racing.lose(number, failure("unavailable"), race.now, 0)
            race._look()  # pyright: ignore[reportPrivateUsage]
        case "gap":
            race.lose_a_frame(number)
        case _:
            pass


RULES = st.builds(
    Race,
    mode=st.sampled_from(["first", "first_complete", "best", "hedge"]),
    most=st.integers(1, 4),
    delays_s=st.sampled_from([(), (0.3,), (0.1, 0.6)]),
    within_s=st.sampled_from([0.5, 2.0]),
    drain=st.booleans(),
    most_usd=st.sampled_from([FREE, (Decimal(1),) * 4, (Decimal(3), Decimal(1), Decimal(2), Decimal(1))]),
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    rule=RULES,
    targets=st.integers(2, 4),
    earned=st.sampled_from([0, 2, 50]),
    held=st.booleans(),
    steps=st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 4)), max_size=40),
)
def test_whatever_happens_there_is_one_winner_and_everybody_is_accounted_for(
    rule: Race, targets: int, earned: int, held: bool, steps: list[tuple[str, int]]
) -> None:
    check_any(rule, targets, earned, held, steps)


@pytest.mark.proof
@pytest.mark.timeout(1_200)
@settings(max_examples=20_000, deadline=None)
@given(
    rule=RULES,
    targets=st.integers(2, 4),
    earned=st.sampled_from([0, 2, 50]),
    held=st.booleans(),
    steps=st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 4)), max_size=80),
)
def test_twenty_thousand_interleavings(
    rule: Race, targets: int, earned: int, held: bool, steps: list[tuple[str, int]]
) -> None:
    check_any(rule, targets, earned, held, steps)


def check_any(rule: Race, targets: int, earned: int, held: bool, steps: list[tuple[str, int]]) -> None:
    bucket = Bucket()
    bucket.earn(Decimal(earned), 100.0)
    hold = Hold(router="r", usd=Decimal(20), most=(Decimal(3),) * targets) if held else None
    race = Field(rule, targets=targets, hold=hold, bucket=bucket)
    model = play(race, steps)
    finish(race, model)
    assert race.racing.over
    assert race.racing.done
    assert len(race.over) == 1
    outcome = race.over[0].outcome
    last = [say for say in race.said if say.kind in (Kind.END, Kind.FAIL)]
    assert len(last) == (outcome != "cancelled")
    assert (race.kinds[0], race.kinds.count(Kind.HEAD) <= 1) == (Kind.TAKEN, True)
    texts = {name for name in NAMES if b'"%b"' % name.encode() in race.answer}
    assert len(texts) <= 1, "of two contenders"
    won = [tell.cancel for tell in race.told if tell.cancel.standing == "won"]
    assert len(won) == (race.racing.winner is not None)
    _nobody_is_told_twice([tell.cancel for tell in race.told if tell.cancel.standing is not None])
    assert (len(race.routers) == 1) == held
    assert race.room.used == 0
    assert 0 <= bucket.balance <= earned
    assert len(race.started) <= 2 * targets


def _nobody_is_told_twice(cancels: list[Cancel]) -> None:
    hops = [cancel.hop for cancel in cancels]
    assert len(hops) == len(set(hops))


def finish(race: Field, model: Model) -> None:
    """Let all that still runs come to its end, the winner with an answer."""
    for _ in range(12):
        for number in range(len(race.started)):
            if number in model.ended:
                continue
            if number not in model.taken:
                model.taken.add(number)
                race.take(number)
            model.ended.add(number)
            lost = race.racing.over or race.racing.winner not in (None, race.racing.contenders[number])
            if lost and not race.racing.rule.drain:
                race.fail(number, failure("cancelled"), "0.5")
            else:
                race.end(number)
        race.wait(1)
