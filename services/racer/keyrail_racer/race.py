"""One race, as a state machine. Pure: time and I/O are the callers'.

Whatever comes in, in whatever order: at most one contender's answer goes to the client, numbered anew and
without a gap; every contender that was started is told once whether it won or lost, or has failed by itself;
and no contender starts that the request's hold and the route's budget for losers do not pay for. What each
method wants done is added to `actions`.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from keyrail.contracts.base import Contract
from keyrail.contracts.budgets import ZERO
from keyrail.contracts.events import Standing
from keyrail.contracts.failures import NO_WORKER, Failure
from keyrail.contracts.frames import CONTENT, End, Fail, Frame, Kind, Taken
from keyrail.contracts.signals import Cancel, HoldSettled
from keyrail.contracts.slips import RACE_HOPS, TAKE_BY_MS, Race, Slip, Spent
from keyrail_racer import choice, failures, heads
from keyrail_racer.actions import Action, Outcome, Over, Say, Start, Tell, TellRouter
from keyrail_racer.answers import Grade
from keyrail_racer.choice import Judge, Whole, by_plan
from keyrail_racer.contender import Contender
from keyrail_racer.entrants import Entrants
from keyrail_racer.extra import Stake, exposure

MOST_HELD = 4 << 20
"""Bytes of one answer that may wait for the decision. A longer one is out while another one runs."""
_DATA = int(Kind.DATA)
_COMMENT = b":"


class Room:
    """Bytes that are held for all races together."""

    __slots__ = ("_most", "used")

    def __init__(self, most: int) -> None:
        self._most = most
        self.used = 0

    def has(self, size: int) -> bool:
        """Whether there is room for so many more."""
        return self.used + size <= self._most


class Racing:
    """`winner`: whose answer the client gets. `over`: the client has all that it will get.

    `done`: every contender has settled too. `unpaid`: contenders that were not started for want of money.
    """

    def __init__(
        self, slip: Slip, stake: Stake, *, inbox: Callable[[int], str], room: Room, judge: Judge = by_plan
    ) -> None:
        assert slip.plan is not None
        assert slip.plan.race is not None
        self.slip = slip
        self.rule: Race = slip.plan.race
        self.actions: list[Action] = []
        self.contenders: list[Contender] = []
        self.winner: Contender | None = None
        self.over = False
        self.unpaid = 0
        self.head_sent = slip.head_sent
        self._stake = stake
        self._inbox = inbox
        self._room = room
        self._judge = judge
        self._entrants = Entrants(slip.plan, self.rule)
        self._losing: list[Contender] = []  # whose cost the budget for losers pays, and who have not ended
        self._stopped = False
        self._closed = False
        self._began = 0.0

    # what happens

    def begin(self, taken: Taken, now: float, now_ms: int) -> None:
        """The race was taken: say so, and start the first."""
        self._began = now
        self._say(Kind.TAKEN, taken)
        self._go_on(now, now_ms)

    def receive(self, number: int, frame: Frame, now: float, now_ms: int) -> None:
        """A frame of one contender."""
        contender = self.contenders[number]
        out = self.winner is not None and contender is not self.winner
        if self.over or out or not contender.live:
            self._loser_says(contender, frame)
        elif contender.accept(frame, now):
            self._runner_says(contender, frame)
        elif contender.failure is not None and not contender.settled:  # a gap
            self.lose(number, contender.failure, now, now_ms)
            return
        self._go_on(now, now_ms)

    def lose(self, number: int, failure: Failure, now: float, now_ms: int, *, called: bool = True) -> None:
        """Nothing more will be heard of a contender: its worker is gone, nobody took it, a frame was lost."""
        contender = self.contenders[number]
        if contender.settled:
            return
        if contender.worker is not None:
            self._stop(contender, "handed on")
        self._drop(contender)
        contender.give_up(failure, called=called)
        if contender is self.winner and not self.over:
            self._fail(failure, "broken")
        elif called:
            self._entrants.again(contender.place)
        self._settled(contender)
        self._go_on(now, now_ms)

    def unheard(self, number: int, now: float, now_ms: int) -> None:
        """No worker was there for a contender."""
        contender = self.contenders[number]
        contender.unheard = contender.worker is None and not contender.settled
        self.lose(number, NO_WORKER, now, now_ms, called=contender.worker is not None)

    def stop(self, reason: str) -> None:
        """The client is gone, or somebody else has the request."""
        if self.over:
            return
        self._stopped = True
        extra = self._live()[1:] if self.winner is None else []  # the first would have run without a race
        self._finish("cancelled")
        self._lost(extra)
        for contender in self.contenders:
            self._drop(contender)
            if not contender.settled and contender.worker is not None:
                self._stop(contender, reason)
        self._close()

    def tick(self, now: float, now_ms: int) -> None:
        """`next_at` has come."""
        self._go_on(now, now_ms)

    def next_at(self) -> float | None:
        """When to `tick`, monotonic; None: nothing depends on time alone."""
        if self.over or self.winner is not None:
            return None
        times = [at for at in (self._entrants.next_at, self._until) if at is not None]
        return min(times, default=None)

    @property
    def done(self) -> bool:
        """Whether nothing more is to come."""
        return self.over and all(contender.settled for contender in self.contenders)

    @property
    def _until(self) -> float | None:
        return self._began + self.rule.within_s if self.rule.mode == "best" else None

    # frames

    def _runner_says(self, contender: Contender, frame: Frame) -> None:
        kind = frame.kind
        if kind == _DATA:
            self._data(contender, frame)
        elif kind == Kind.END:
            contender.ended(End.decode(frame.payload))
            if contender is self.winner:
                self._won(contender)
            else:
                self._whole(contender)
        elif kind == Kind.FAIL:
            contender.failed(Fail.decode(frame.payload))
            self._drop(contender)
            self._settled(contender)
            if contender is self.winner and contender.failure is not None:
                self._fail(contender.failure, "broken")

    def _loser_says(self, contender: Contender, frame: Frame) -> None:
        known = contender.worker
        if contender.settled and frame.kind == Kind.TAKEN:  # it was given up, and lives
            contender.worker = Taken.decode(frame.payload).worker
            self._stop(contender, "handed on")
        elif contender.hears_end(frame):
            self._settled(contender)
        elif contender.worker is not None and contender.worker != known:  # it was taken only now
            if self._stopped:
                self._stop(contender, "cancelled")
            else:
                self._tell(contender, "lost")

    def _data(self, contender: Contender, frame: Frame) -> None:
        if contender is self.winner:
            self._say(Kind.DATA, frame.payload, frame.flags)
            return
        content = bool(frame.flags & CONTENT)
        if not content and frame.payload.startswith(_COMMENT):
            self._keep_alive(contender, frame.payload)
            return
        large = contender.size + len(frame.payload) > MOST_HELD or not self._room.has(len(frame.payload))
        contender.hold(frame.payload, frame.flags)
        self._room.used += len(frame.payload)
        if content and self.rule.mode in ("first", "hedge"):
            self._commit(contender)
        elif large:
            self._too_large(contender)

    def _too_large(self, contender: Contender) -> None:
        """One that can't be held: the others go on without it, unless there are none."""
        if self._live() == [contender]:
            self._commit(contender)
            return
        self._drop(contender)
        contender.state = "failed"
        contender.failure = TOO_LARGE
        self._losing.append(contender)
        self._restake()
        self._tell(contender, "lost", drain=False)

    def _keep_alive(self, contender: Contender, comment: bytes) -> None:
        """Nobody has won yet: the client hears of the first one that it still runs."""
        if contender is next(iter(self._live()), None):
            if not self.head_sent:
                self.head_sent = True
                self._say(Kind.HEAD, heads.waiting(self.rule))
            self._say(Kind.DATA, comment)

    def _whole(self, contender: Contender) -> None:
        """A whole answer is there, undecided."""
        others = [one for one in self._live() if one is not contender]
        if self.rule.mode in ("first", "hedge"):  # without content: only where nobody else has any
            if not others:
                self._commit(contender)
        elif self.rule.mode == "first_complete" and self._looked_at(contender).grade == Grade.VALID:
            self._commit(contender)

    def _looked_at(self, contender: Contender) -> Whole:
        body = b"".join(payload for payload, _ in contender.held)
        return choice.looked_at(contender.place, self.slip.facts, body)

    # decisions

    def _go_on(self, now: float, now_ms: int) -> None:
        """Start who is due; decide when nobody runs any more, or the time is over."""
        if self.winner is None and not self.over:
            self._start_due(now, now_ms)
            running = [one for one in self._live() if one.state == "running"]
            late = self._until is not None and now >= self._until
            if not running or (late and any(one.state == "whole" for one in self._live())):
                self._choose()
        self._close()

    def _start_due(self, now: float, now_ms: int) -> None:
        while (place := self._entrants.due(self._live(), self.contenders, now)) is not None:
            if not self._pays(place) or not self._stakes(place, now):
                self.unpaid += 1
                self._entrants.refused(place, self.contenders, self._live())
                continue
            self._start(place, now_ms)
            self._entrants.started(place, self.contenders, self._live(), now)

    def _start(self, place: int, now_ms: int) -> None:
        slip, plan, number = self.slip, self.slip.plan, len(self.contenders)
        assert plan is not None
        windows = plan.windows[place : place + 1]
        own = plan.replace(targets=(plan.targets[place],), windows=windows, retries=0)
        hold = slip.hold
        if hold is not None:
            most = hold.most[place]
            hold = hold.replace(usd=hold.usd if most is None else most, most=(most,))
        before = sum(one.attempts for one in self.contenders)
        started = slip.replace(
            inbox=self._inbox(number),
            hop=number * RACE_HOPS,
            plan=own,
            position=0,
            take_by_ms=now_ms + TAKE_BY_MS,
            spent=(),
            hold=hold,
            head_sent=False,
            role=self._entrants.role,
            before=before + sum(each.attempt_id is not None for each in slip.spent),
        )
        self.contenders.append(Contender(started, place, started.take_by_ms))
        self.actions.append(Start(number, started))

    def _choose(self) -> None:
        """Of the whole answers the best; without one, what went wrong."""
        whole = [one for one in self._live() if one.state == "whole"]
        if whole:
            looked = [self._looked_at(one) for one in whole]
            self._commit(whole[choice.best(looked, self._judge)] if len(whole) > 1 else whole[0])
        elif not self._live():
            told = [one.failure for one in self.contenders if one.failure is not None]
            self._fail(failures.best(told), "failed")

    def _commit(self, contender: Contender) -> None:
        """From here on there is no switch."""
        self.winner = contender
        self._tell(contender, "won")
        others = [one for one in self._live() if one is not contender]
        for other in others:
            self._drop(other)
            self._tell(other, "lost")
        self._lost(others)
        if contender.head is not None and not self.head_sent:
            self.head_sent = True
            target = contender.slip.target
            started, attempts = len(self.contenders), self._attempts()
            head = heads.winners(
                contender.head,
                self.rule,
                target,
                started=started,
                attempts=attempts,
                cost_usd=self._cost(),
            )
            self._say(Kind.HEAD, head)
        for payload, flags in contender.held:
            self._say(Kind.DATA, payload, flags)
        self._drop(contender)
        if contender.state == "whole":
            self._won(contender)

    def _won(self, contender: Contender) -> None:
        assert contender.end is not None
        self._say(Kind.END, contender.end.replace(cost_usd=self._cost()))
        self._finish("won")

    def _fail(self, failure: Failure, outcome: Outcome) -> None:
        spent: tuple[Spent, ...] = sum((one.spent for one in self.contenders), self.slip.spent)
        self._say(Kind.FAIL, Fail(failure=failure, spent=spent))
        self._finish(outcome)
        for contender in self.contenders:
            if not contender.settled:
                self._tell(contender, "lost")

    def _finish(self, outcome: Outcome) -> None:
        self.over = True
        self.actions.append(Over(outcome))

    def _close(self) -> None:
        """Once everything has settled, the router hears how many attempts there were."""
        hold = self.slip.hold
        if self._closed or not self.done:
            return
        self._closed = True
        if hold is not None:
            last = RACE_HOPS * len(self.contenders)
            told = sum(one.attempts for one in self.contenders if not one.unheard)
            closing = HoldSettled(
                request_id=self.slip.request_id,
                epoch=self.slip.epoch,
                hop=last,
                cost_usd=ZERO,
                attempts=told + 1,
            )
            self.actions.append(TellRouter(hold.router, closing))

    # money

    def _most(self, place: int) -> Decimal | None:
        if place < len(self.rule.most_usd):
            return self.rule.most_usd[place]
        hold = self.slip.hold
        return hold.most[place] if hold is not None else None

    def _pays(self, place: int) -> bool:
        """Whether what is held for the request pays for one more."""
        hold = self.slip.hold
        if hold is None or (most := hold.most[place]) is None:
            return True
        left = hold.usd
        for one in self.contenders:
            known = one.settled and one.cost_usd is not None
            left -= (one.cost_usd if known else hold.most[one.place]) or ZERO
        return most <= left

    def _stakes(self, place: int, now: float) -> bool:
        """Whether the route's budget for losers pays for one more beside those that run."""
        return self._stake.to(self._at_stake(place), now)

    def _at_stake(self, *more: int) -> Decimal | None:
        """What those that have lost, and those of the runners that will, can cost; None: nobody knows."""
        losing = [self._most(one.place) or ZERO for one in self._losing]
        undecided = self.winner is None and not self.over
        runners = [self._most(one.place) for one in self._live()] if undecided else []
        open_ = exposure([*runners, *map(self._most, more)])
        return None if open_ is None else sum(losing, open_)

    def _restake(self) -> None:
        """Somebody failed, won or lost: less is at stake than before."""
        self._stake.to(self._at_stake(), self._began)

    def _lost(self, losers: list[Contender]) -> None:
        """These have lost; what they can cost stays set aside until it is known what they did."""
        self._losing += losers
        self._restake()
        for one in losers:
            if one.settled:
                self._settled(one)

    def _settled(self, contender: Contender) -> None:
        """A contender has ended: what a loser did cost is known, or never will be."""
        if contender in self._losing:
            self._losing.remove(contender)
            self._stake.lose(self._most(contender.place), contender.cost_usd)
        self._restake()

    def _cost(self) -> Decimal | None:
        """Of the whole request; None while somebody's cost is unknown."""
        costs = [spent.cost_usd for spent in self.slip.spent]
        costs += [one.cost_usd if one.settled else None for one in self.contenders]
        known = [cost for cost in costs if cost is not None]
        return sum(known, ZERO) if len(known) == len(costs) else None

    def _attempts(self) -> int:
        return len(self.slip.spent) + sum(one.attempts for one in self.contenders)

    # words

    def _drop(self, contender: Contender) -> None:
        self._room.used -= contender.drop()

    def _live(self) -> list[Contender]:
        return [one for one in self.contenders if one.live]

    def _say(self, kind: Kind, payload: bytes | Contract, flags: int = 0) -> None:
        self.actions.append(Say(kind, payload, flags))

    def _tell(self, contender: Contender, standing: Standing, *, drain: bool | None = None) -> None:
        if contender.worker is None or contender.told:
            return  # whoever nobody has taken is told once somebody does
        contender.told = True
        cancel = Cancel(
            request_id=self.slip.request_id,
            epoch=self.slip.epoch,
            hop=contender.slip.hop,
            reason="race",
            standing=standing,
            drain=self.rule.drain if drain is None else drain,
        )
        self.actions.append(Tell(contender.worker, cancel))

    def _stop(self, contender: Contender, reason: str) -> None:
        assert contender.worker is not None
        hop = contender.slip.hop + RACE_HOPS - 1
        cancel = Cancel(request_id=self.slip.request_id, epoch=self.slip.epoch, hop=hop, reason=reason)
        self.actions.append(Tell(contender.worker, cancel))


TOO_LARGE = Failure(
    kind="capacity",
    message="The answer is too large to be held until the race is decided.",
    status=503,
    code="race_answer_too_large",
)
