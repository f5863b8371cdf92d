from __future__ import annotations

from keyrail_cost_accounting.sweep import Hearing, OpenAttempt, sweep

ATTEMPTS = [OpenAttempt("a", "dead"), OpenAttempt("b", "alive"), OpenAttempt("c", "never-heard")]


def test_an_attempt_is_lost_when_its_worker_was_silent_for_longer_than_the_limit() -> None:
    heard = {"dead": 4_999, "alive": 19_000}

    assert sweep(ATTEMPTS, heard, 20_000, 0, 15_000) == ["a", "c"]
    assert sweep(ATTEMPTS, heard | {"dead": 5_000}, 20_000, 0, 15_000) == ["c"]


def test_silence_counts_only_while_this_process_listened() -> None:
    assert sweep(ATTEMPTS, {"dead": 1}, 100_000, 85_000, 15_000) == []
    assert sweep(ATTEMPTS, {"dead": 1, "alive": 100_000}, 100_001, 85_000, 15_000) == ["a", "c"]


def test_an_attempt_of_a_living_worker_is_never_too_old() -> None:
    assert sweep([OpenAttempt("a", "alive")], {"alive": 10**12}, 10**12, 0, 15_000) == []


def test_listening_starts_anew_after_a_pause_of_this_process() -> None:
    hearing = Hearing(gap_ms=3_000)
    for now in (1_000, 2_000, 3_000):
        hearing.tick(now, connected=True)
    assert hearing.listening_since_ms == 1_000

    hearing.tick(60_000, connected=True)

    assert hearing.listening_since_ms == 60_000


def test_listening_starts_anew_after_a_disconnection() -> None:
    hearing = Hearing()
    hearing.tick(1_000, connected=True)
    hearing.tick(2_000, connected=False)
    assert hearing.listening_since_ms is None
    hearing.tick(3_000, connected=True)
    assert hearing.listening_since_ms == 3_000

    hearing.interrupted()
    hearing.tick(4_000, connected=True)

    assert hearing.listening_since_ms == 4_000
