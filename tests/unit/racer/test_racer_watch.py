"""Which contenders are given up."""

from __future__ import annotations

import pytest

from keyrail.contracts.slips import Facts, Slip
from keyrail_racer.contender import Contender
from keyrail_racer.watch import Beat, verdict


def contender(worker: str | None = "w", expected: int = 3) -> Contender:
    slip = Slip(
        request_id="q",
        inbox="i",
        hop=16,
        tenant="t",
        key_id="k",
        received_ms=0,
        deadline_ms=1,
        take_by_ms=3_000,
        facts=Facts(model="m"),
    )
    made = Contender(slip, 0, slip.take_by_ms, worker=worker, taken_at=10.0)
    made.expected = expected
    return made


@pytest.mark.parametrize(("wall", "expected"), [(3_250, "wait"), (3_251, "not-taken")])
def test_a_slip_that_nobody_took_in_time_is_given_up(wall: int, expected: str) -> None:
    assert verdict(contender(None), None, wall) == expected


@pytest.mark.parametrize(
    ("beat", "expected"),
    [
        (Beat(0.5, heard_at=12.0, last_sent=(0, 16, 2)), "wait"),
        (Beat(0.5, heard_at=12.0, last_sent=(0, 16, 3)), "frames-lost"),
        (Beat(0.5, heard_at=12.0, last_sent=(0, 17, 0)), "wait"),
        (Beat(0.5, heard_at=12.0, last_sent=None), "frames-lost"),
        (Beat(0.5, heard_at=11.0, last_sent=None), "wait"),
        (Beat(1.4), "probe"),
        (Beat(1.4, gone=True), "worker-lost"),
        (Beat(4.4), "worker-lost"),
    ],
)
def test_what_a_workers_beat_says_of_its_contender(beat: Beat, expected: str) -> None:
    assert verdict(contender(), beat, 9_000) == expected


def test_nobody_counts_the_frames_of_a_loser() -> None:
    beat = Beat(0.5, heard_at=12.0, last_sent=(0, 16, 9))
    assert verdict(contender(), beat, 9_000, lost=True) == "wait"
    assert verdict(contender(), Beat(0.5, heard_at=12.0), 9_000, lost=True) == "frames-lost"
