"""Several limiters and one nats-server: what passes in all."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator

import pytest
from support.nats import NatsServer, eventually

from keyrail.bus.connection import Bus
from keyrail.bus.documents import Documents
from keyrail.bus.liveness import Heard, Hearing
from keyrail.contracts import streams
from keyrail.contracts.base import now_ms
from keyrail.contracts.budgets import Limits
from keyrail.contracts.limits import LimitDocument, Share
from keyrail.contracts.signals import Alive
from keyrail_ingress.limits import limiter as module
from keyrail_ingress.limits.lease import Lease, Refused
from keyrail_ingress.limits.limiter import Limiter, Ticket, Waiter

SCOPE = "key.1a2b3c4d"


class Instance:
    """One ingress' limiter. Everybody hears everybody, as far as the test says."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.documents = Documents(bus, streams.LIMITS.name)
        self.hearing = Hearing(bus, ("ingress",))
        self.limiter = Limiter(self.documents, bus.instance, self.hearing)
        self.passed: list[Ticket] = []
        self.refused: list[Refused] = []
        self.answers = 0

    def hear(self, instance: str, at_s: float) -> None:
        alive = Alive(service="ingress", instance=instance, sent_ms=now_ms())
        self.hearing.heard[instance] = Heard(at_s, alive)

    def ask(self, *leases: Lease, tokens: int = 0) -> Waiter | None:
        return self.limiter.admit(leases, tokens, self._told)

    def _told(self, decision: Ticket | Refused) -> None:
        self.answers += 1
        if isinstance(decision, Ticket):
            self.passed.append(decision)
        else:
            self.refused.append(decision)

    async def document(self) -> LimitDocument:
        return LimitDocument.decode(await self.documents.get(SCOPE) or b"{}")


@pytest.fixture
async def three(nats: NatsServer) -> AsyncIterator[list[Instance]]:
    instances = [Instance(await nats.bus("ingress")) for _ in range(3)]
    yield instances
    for instance in instances:
        await instance.bus.close()


def passed(instances: list[Instance]) -> int:
    return sum(len(instance.passed) for instance in instances)


async def flood(instances: list[Instance], count: int, limits: Limits, tokens: int = 0) -> None:
    """`count` requests, all at once, spread evenly."""
    expected = sum(instance.answers for instance in instances) + count
    leases = [instance.limiter.lease(SCOPE, "this key", limits) for instance in instances]
    for number in range(count):
        which = number % len(instances)
        instances[which].ask(leases[which], tokens=tokens)
    await eventually(lambda: sum(instance.answers for instance in instances) == expected)


async def test_of_a_hundred_parallel_requests_exactly_ten_pass(three: list[Instance]) -> None:
    await flood(three, 100, Limits(rpm=10))
    assert passed(three) == 10
    assert Counter(r.kind for instance in three for r in instance.refused) == {"requests": 90}


async def test_tokens_are_counted_over_all_instances(three: list[Instance]) -> None:
    await flood(three, 60, Limits(tpm=1_000), tokens=50)
    assert passed(three) == 20
    assert {r.kind for instance in three for r in instance.refused} == {"tokens"}


async def test_as_many_run_at_once_as_may_and_the_next_after_one_has_ended(three: list[Instance]) -> None:
    limits = Limits(concurrent=10)
    await flood(three, 100, limits)
    assert passed(three) == 10
    one = next(instance for instance in three if instance.passed)
    one.passed.pop().finish(None)
    one.ask(one.limiter.lease(SCOPE, "this key", limits))
    assert passed(three) == 10, "the place that was left is taken without asking the bus"
    assert one.limiter.waiting == 0


async def test_what_one_does_not_use_for_a_second_another_gets(three: list[Instance]) -> None:
    limits = Limits(rpm=80)
    await flood(three[:1], 1, limits)
    assert (await three[0].document()).shares == {three[0].bus.instance: Share(requests=10)}
    while (await three[0].document()).shares[three[0].bus.instance].requests > 1:
        await asyncio.sleep(0.05)
    await flood(three[1:2], 100, limits)
    assert passed(three) == 80


async def test_a_stopped_instance_gives_everything_back(three: list[Instance]) -> None:
    limits = Limits(rpm=800, tpm=8_000, concurrent=80)
    await flood(three[:1], 3, limits, tokens=10)
    for ticket in three[0].passed:
        ticket.finish(4)
    await three[0].limiter.stop()
    assert (await three[0].document()).shares == {three[0].bus.instance: Share(requests=3, tokens=12)}


async def test_those_that_wait_together_are_one_change_and_are_served_in_order(
    three: list[Instance],
) -> None:
    lease = three[0].limiter.lease(SCOPE, "this key", Limits(rpm=5))
    order: list[int] = []
    for number in range(20):
        three[0].limiter.admit(
            (lease,), 0, lambda d, number=number: order.append(number) if isinstance(d, Ticket) else None
        )
    changes = module.metrics.counter(module.metrics.LIMIT_CHANGES, "ok")
    before = changes.value
    await eventually(lambda: len(order) == 5)
    assert order == [0, 1, 2, 3, 4]
    assert changes.value - before == 1


async def test_who_asks_again_at_once_after_a_refusal_does_not_ask_the_bus(three: list[Instance]) -> None:
    limits = Limits(rpm=1)
    await flood(three[:1], 2, limits)
    assert len(three[0].refused) == 1
    assert three[0].ask(three[0].limiter.lease(SCOPE, "this key", limits)) is None, "answered already"
    assert [r.kind for r in three[0].refused] == ["requests"] * 2


async def test_what_the_team_refuses_does_not_count_for_the_key(three: list[Instance]) -> None:
    one = three[0]
    key = one.limiter.lease(SCOPE, "this key", Limits(rpm=100, concurrent=100))
    team = one.limiter.lease("team.default.web", "the team web", Limits(rpm=1))
    for _ in range(3):
        one.ask(key, team)
    await eventually(lambda: one.answers == 3)
    assert len(one.passed) == 1
    assert [r.lease.owner for r in one.refused] == ["the team web"] * 2
    assert (key.requests, key.running) == (1, 1)


async def test_a_client_that_left_while_it_waited_counts_nowhere(three: list[Instance]) -> None:
    one = three[0]
    lease = one.limiter.lease(SCOPE, "this key", Limits(rpm=10, concurrent=10))
    waiter = one.ask(lease)
    assert waiter is not None
    waiter.leave()
    one.ask(lease)
    await eventually(lambda: one.answers == 1)
    assert (lease.requests, lease.running) == (1, 1)


async def test_what_a_dead_instance_let_run_may_run_again_ten_seconds_later(three: list[Instance]) -> None:
    dead, living = three[0], three[1]
    limits = Limits(concurrent=2)
    await flood([dead], 2, limits)
    now = asyncio.get_running_loop().time()
    living.hear(living.bus.instance, now)
    living.hear(dead.bus.instance, now - 9)
    await flood([living], 1, limits)
    assert len(living.passed) == 0, "nine seconds of silence are not enough"
    living.hear(dead.bus.instance, now - 11)
    living.limiter._hears_since = now - 5  # pyright: ignore[reportPrivateUsage]
    await flood([living], 2, limits)
    assert len(living.passed) == 0, "it has not listened for long enough itself"
    living.limiter._hears_since = now - 60  # pyright: ignore[reportPrivateUsage]
    living.hear(living.bus.instance, now - 3)
    await flood([living], 3, limits)
    assert len(living.passed) == 0, "it does not hear itself either: the bus is away"
    living.hear(living.bus.instance, now)
    await flood([living], 5, limits)
    assert len(living.passed) == 2


async def test_without_the_bus_nobody_passes_who_needs_it(
    nats: NatsServer, three: list[Instance], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 0.5)
    monkeypatch.setattr(module, "TRY_S", 0.2)
    limits = Limits(rpm=80)
    await flood(three[:1], 1, limits)
    nats.signal(signal.SIGSTOP)
    lease = three[0].limiter.lease(SCOPE, "this key", limits)
    for _ in range(9):
        assert three[0].ask(lease) is None, "what is held is good without the bus"
    three[0].ask(lease)
    await eventually(lambda: three[0].answers == 11)
    assert [r.kind for r in three[0].refused] == [None]
    nats.signal(signal.SIGCONT)
    await flood(three[1:], 100, limits)
    await asyncio.gather(*(instance.limiter.stop() for instance in three))
    held = (await three[0].document()).shares
    assert passed(three) == sum(share.requests for share in held.values()) <= 80


async def test_a_restart_of_the_bus_forgets_nothing_and_refuses_nobody_wrongly(
    nats: NatsServer, three: list[Instance]
) -> None:
    limits = Limits(rpm=20)
    await flood(three, 12, limits)
    restart = asyncio.create_task(nats.restart())
    await flood(three, 12, limits)
    await restart
    assert passed(three) == 20
