"""What ingresses take of a limit together, whatever the order of their changes."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyrail.contracts.budgets import Limits
from keyrail.contracts.limits import WINDOW_MS, LimitDocument, Share
from keyrail_ingress.limits import shares
from keyrail_ingress.limits.lease import Lease
from keyrail_ingress.limits.shares import Ask, Granted

NOW = 1_700_000_000_000


def nobody(_: str) -> bool:
    return False


def ask(*needs: int, instance: str = "a", window_ms: int = 0, **counts: Share) -> Ask:
    used, held = counts.get("used", Share()), counts.get("held", Share())
    return Ask(instance=instance, window_ms=window_ms, used=used, held=held, needs=needs)


def test_the_first_request_begins_the_window_and_brings_a_chunk() -> None:
    after, granted = shares.change(LimitDocument(), Limits(rpm=100), ask(5), NOW, nobody)
    assert granted == Granted(window_ms=NOW, held=Share(requests=12), others=Share(), verdicts=(None,))
    assert after == LimitDocument(begins_ms=NOW, shares={"a": Share(requests=12)})


def test_near_the_limit_exactly_what_is_needed_is_taken() -> None:
    before = LimitDocument(begins_ms=NOW, shares={"b": Share(requests=90)})
    _, granted = shares.change(before, Limits(rpm=100), ask(0), NOW, nobody)
    assert granted.held == Share(requests=1)


def test_those_that_wait_are_served_in_order_until_nothing_is_left() -> None:
    before = LimitDocument(begins_ms=NOW, shares={"b": Share(tokens=50)})
    _, granted = shares.change(before, Limits(tpm=100), ask(30, 30, 20, 1), NOW, nobody)
    assert granted.verdicts == (None, "tokens", None, "tokens")
    assert granted.held == Share(tokens=50), "nothing is held that nobody needs"


def test_each_limit_refuses_under_its_own_name() -> None:
    before = LimitDocument(begins_ms=NOW, shares={"b": Share(requests=1, tokens=1, running=1)})
    for limits, kind in (
        (Limits(rpm=1), "requests"),
        (Limits(tpm=1), "tokens"),
        (Limits(concurrent=1), "concurrent"),
    ):
        after, granted = shares.change(before, limits, ask(1), NOW, nobody)
        assert granted.verdicts == (kind,)
        assert after == before


def test_a_window_ends_after_a_minute_but_what_runs_goes_on() -> None:
    before = LimitDocument(begins_ms=NOW, shares={"b": Share(requests=10, tokens=99, running=2)})
    limits = Limits(rpm=10, tpm=100, concurrent=3)
    after, granted = shares.change(before, limits, ask(100, 0), NOW + WINDOW_MS, nobody)
    assert granted.verdicts == (None, "concurrent")
    assert after.begins_ms == NOW + WINDOW_MS
    assert after.shares["b"] == Share(running=2)


def test_a_refused_request_begins_no_window() -> None:
    after, granted = shares.change(LimitDocument(), Limits(tpm=10), ask(11), NOW, nobody)
    assert granted.verdicts == ("tokens",)
    assert after == LimitDocument()


def test_what_a_dead_ingress_let_run_is_taken_back_and_what_it_used_is_not() -> None:
    before = LimitDocument(begins_ms=NOW, shares={"dead": Share(requests=10, running=3)})
    limits = Limits(rpm=11, concurrent=3)
    after, granted = shares.change(before, limits, ask(0, 0), NOW, lambda name: name == "dead")
    assert granted.verdicts == (None, "requests")
    assert after.shares == {"dead": Share(requests=10), "a": Share(requests=1, running=1)}


def test_an_ingress_that_was_taken_for_dead_keeps_only_what_it_runs() -> None:
    lost = ask(used=Share(running=2), held=Share(running=5))
    after, granted = shares.change(LimitDocument(), Limits(concurrent=5), lost, NOW, nobody)
    assert granted.held == Share(running=2)
    assert after.shares == {"a": Share(running=2)}


def test_a_document_of_the_far_future_is_no_window() -> None:
    before = LimitDocument(begins_ms=NOW + 10 * WINDOW_MS, shares={"b": Share(requests=10)})
    _, granted = shares.change(before, Limits(rpm=10), ask(0), NOW, nobody)
    assert granted.verdicts == (None,)


@dataclass
class World:
    """Three ingresses, one document, and what really runs and passed."""

    limits: Limits
    document: LimitDocument = field(default_factory=LimitDocument)
    now_ms: int = NOW
    dead: set[str] = field(default_factory=set[str])
    leases: dict[str, Lease] = field(default_factory=dict[str, Lease])
    running: dict[str, list[tuple[int, int]]] = field(default_factory=dict[str, list[tuple[int, int]]])
    passed: Counter[int] = field(default_factory=Counter[int])
    reserved: Counter[int] = field(default_factory=Counter[int])

    @property
    def at_s(self) -> float:
        return self.now_ms / 1000

    def admitted(self, name: str, tokens: int) -> None:
        window = self.leases[name].window_ms
        self.running[name].append((window, tokens))
        self.passed[window] += 1
        self.reserved[window] += tokens

    def change(self, name: str, needs: tuple[int, ...], *, answer_lost: bool = False) -> None:
        lease = self.leases[name]
        after, granted = shares.change(
            self.document, self.limits, lease.ask(name, needs), self.now_ms, lambda n: n in self.dead
        )
        self.document = LimitDocument.decode(after.encode())
        if answer_lost:
            return
        lease.apply(granted, self.at_s)
        for tokens, kind in zip(needs, granted.verdicts, strict=True):
            if kind is None:
                lease.count(tokens, self.at_s)
                self.admitted(name, tokens)

    def request(self, name: str, tokens: int, *, answer_lost: bool = False) -> None:
        lease = self.leases[name]
        if lease.take(tokens, self.now_ms, self.at_s, self.at_s):
            self.admitted(name, tokens)
        else:
            self.change(name, (tokens, tokens // 2), answer_lost=answer_lost)

    def end(self, name: str, used: int | None) -> None:
        if self.running[name]:
            window, reserved = self.running[name].pop(0)
            self.leases[name].finish(window, reserved, used)
            if used is not None:
                self.reserved[window] += used - reserved

    def die(self, name: str) -> None:
        """Its workers cancel what runs, and another instance takes its place."""
        self.dead.add(name)
        self.running.pop(name)
        self.leases.pop(name)
        self.join(f"{name}'")

    def join(self, name: str) -> None:
        self.leases[name] = Lease("key.x", "this key", self.limits)
        self.running[name] = []


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["request"] * 6 + ["burst", "end", "end", "review", "lost", "die", "wait", "late"]),
        st.integers(0, 2),
        st.integers(0, 30),
    ),
    max_size=120,
)


@settings(max_examples=300, deadline=None)
@given(steps=STEPS, rpm=st.integers(1, 60), tpm=st.integers(1, 400), concurrent=st.integers(1, 20))
def test_no_order_of_grants_returns_lost_answers_and_deaths_passes_a_limit(
    steps: list[tuple[str, int, int]], rpm: int, tpm: int, concurrent: int
) -> None:
    world = World(Limits(rpm=rpm, tpm=tpm, concurrent=concurrent))
    for name in "abc":
        world.join(name)
    for step, who, number in steps:
        name = list(world.leases)[who]
        match step:
            case "burst":
                for _ in range(number):
                    world.request(name, number)
            case "end":
                world.end(name, None if number > 20 else min(number, _reserved(world, name)))
            case "review":
                if world.leases[name].release(world.at_s):
                    world.change(name, ())
            case "lost":
                world.request(name, number, answer_lost=True)
            case "die":
                world.die(name)
            case "wait":
                world.now_ms += number * 100
            case "late":
                world.now_ms += number * 3_000
            case _:
                world.request(name, number)
        assert all(count <= rpm for window, count in world.passed.items() if window)
        assert all(tokens <= tpm for window, tokens in world.reserved.items() if window)
        assert sum(map(len, world.running.values())) <= concurrent


def _reserved(world: World, name: str) -> int:
    return world.running[name][0][1] if world.running[name] else 0


def test_what_is_given_back_can_be_used_by_another() -> None:
    world = World(Limits(rpm=20, tpm=20, concurrent=20))
    for name in "ab":
        world.join(name)
    world.change("a", (1,))
    lease = world.leases["a"]
    assert lease.held_requests > 1
    world.now_ms += 1_000
    world.end("a", 0)
    lease.release(world.at_s)  # what ran a moment ago is kept for a second more
    assert lease.release(world.at_s)
    world.change("a", ())
    assert world.document.shares == {"a": Share(requests=1)}
    assert lease.idle(world.now_ms)
    for _ in range(30):
        world.request("b", 1)
    assert world.passed.total() == 20


def test_tokens_beyond_the_reservation_are_owed() -> None:
    world = World(Limits(tpm=100))
    world.join("a")
    world.join("b")
    world.change("a", (10,))
    world.end("a", 95)
    assert world.leases["a"].release(world.at_s), "the document is to know"
    world.change("a", ())
    world.change("b", (6, 5))
    assert world.passed.total() == 2, "the five tokens that are left"


def test_what_is_owed_is_taken_exactly() -> None:
    owing = ask(window_ms=NOW, used=Share(tokens=20), held=Share(tokens=10))
    before = LimitDocument(begins_ms=NOW, shares={"a": Share(tokens=10)})
    after, _ = shares.change(before, Limits(tpm=10_000), owing, NOW, nobody)
    assert after.shares == {"a": Share(tokens=20)}


def test_what_is_held_is_good_as_long_as_its_window() -> None:
    world = World(Limits(rpm=100))
    world.join("a")
    world.change("a", (0,))
    lease = world.leases["a"]
    assert lease.take(0, NOW + WINDOW_MS - 1, 0.0, 0.0)
    assert not lease.take(0, NOW + WINDOW_MS, 0.0, 0.0)


def test_a_refusal_stands_for_a_moment_for_those_that_need_as_much() -> None:
    world = World(Limits(rpm=100, tpm=100))
    world.join("a")
    world.change("a", (90,))
    lease = world.leases["a"]
    lease.refused("tokens", 20, 1.0)
    assert lease.full(20, NOW, 1.05) == "tokens"
    assert lease.full(19, NOW, 1.05) is None
    assert lease.full(20, NOW, 1.1) is None
    assert lease.full(20, NOW + WINDOW_MS, 1.05) is None, "that was another window"
    lease.refused("requests", 20, 1.0)
    assert lease.full(0, NOW, 1.05) == "requests"
    lease.refused("concurrent", 0, 2.0)
    assert lease.full(0, NOW, 2.0) is None, "one may end at any moment"


def test_the_end_of_a_request_of_an_old_window_changes_nothing_in_the_new_one() -> None:
    world = World(Limits(tpm=100))
    world.join("a")
    world.request("a", 100)
    world.now_ms += WINDOW_MS
    world.change("a", (60,))
    world.end("a", 0)
    assert world.leases["a"].tokens == 60


def test_an_ingress_that_is_not_heard_lets_nothing_more_run_by_itself() -> None:
    world = World(Limits(concurrent=100))
    world.join("a")
    world.request("a", 0)
    lease = world.leases["a"]
    assert lease.take(0, world.now_ms, world.at_s, heard_s=0.0)
    world.now_ms += 5_001
    assert not lease.take(0, world.now_ms, world.at_s, heard_s=0.0)
    assert lease.take(0, world.now_ms, world.at_s, heard_s=world.at_s - 1)


@pytest.mark.parametrize("limit", [10, 100, 1_000])
def test_at_most_a_chunk_of_each_other_ingress_is_left_unused(limit: int) -> None:
    draw = random.Random(limit)
    world = World(Limits(rpm=limit))
    for name in "abc":
        world.join(name)
    for _ in range(2 * limit):
        world.request(draw.choice("abc"), 0)
    unused = limit - world.passed.total()
    assert 0 <= unused <= 2 * (limit // shares.CHUNK)
