import pytest
from test_exchange import new, taken

from keyrail_ingress import watch
from keyrail_ingress.exchange import Exchange
from keyrail_ingress.watch import Beat, Verdict


def running(taken_at: float = 0.0, received: int = 1) -> Exchange:
    exchange = new()
    exchange.receive(taken(), taken_at)
    exchange.expected = received
    return exchange


@pytest.mark.parametrize(
    ("now_ms", "verdict"),
    [(2_999, "wait"), (3_000 + watch.SLACK_MS, "wait"), (3_001 + watch.SLACK_MS, "not-taken")],
)
def test_a_slip_that_nobody_takes_is_given_out_again_after_its_time(now_ms: int, verdict: Verdict) -> None:
    assert watch.verdict(new(), None, 0.0, now_ms) == verdict


@pytest.mark.parametrize(
    ("beat", "verdict"),
    [
        (Beat(silent_s=0.4), "wait"),
        (Beat(silent_s=1.4), "probe"),
        (Beat(silent_s=1.4, gone=True), "worker-lost"),
        (Beat(silent_s=watch.SILENT_S + 0.1), "worker-lost"),
    ],
)
def test_a_worker_is_lost_when_it_is_silent_or_its_connection_is_gone(beat: Beat, verdict: Verdict) -> None:
    assert watch.verdict(running(), beat, 5.0, 5_000) == verdict


@pytest.mark.parametrize(
    ("last_sent", "verdict"),
    [
        ((0, 0, 4), "wait"),  # five frames sent, five received
        ((0, 0, 5), "frames-lost"),
        ((0, 1, 0), "frames-lost"),  # it went on to another target and we never heard of it
        (None, "frames-lost"),  # it has finished
    ],
)
def test_what_the_worker_says_it_sent_is_compared_with_what_came(
    last_sent: tuple[int, int, int] | None, verdict: Verdict
) -> None:
    beat = Beat(silent_s=0.2, heard_at=10.0, last_sent=last_sent)
    assert watch.verdict(running(received=5), beat, 10.2, 10_200) == verdict


@pytest.mark.parametrize("now", [0.0, 1.2, 1.4, 3.0, 5.0, 601.0])
@pytest.mark.parametrize("exchange", [new(), running(), running(taken_at=0.9)])
@pytest.mark.parametrize("last_sent", [None, (0, 0, 0), (0, 0, 9), (0, 1, 0)])
def test_the_short_look_never_says_all_is_well_where_the_long_one_does_not(
    now: float, exchange: Exchange, last_sent: tuple[int, int, int] | None
) -> None:
    now_ms = round(now * 1000)
    silent = max(0.0, now - exchange.taken_at)  # a worker never heard: the worst that can be known of it
    beats = [Beat(silent_s=silent), Beat(silent_s=0.0, heard_at=now, last_sent=last_sent)]
    verdicts = {watch.verdict(exchange, beat, now, now_ms) for beat in beats}
    assert not watch.calm(exchange, now, now_ms) or verdicts == {"wait"}
    assert watch.calm(exchange, now, now_ms) == (
        now < exchange.taken_at + 1.3 if exchange.worker else now < 3.3
    )


def test_a_beat_from_before_the_attempt_says_nothing_of_it() -> None:
    beat = Beat(silent_s=0.2, heard_at=10.0, last_sent=None)
    assert watch.verdict(running(taken_at=9.5), beat, 10.2, 10_200) == "wait"


def test_the_total_deadline_comes_before_everything() -> None:
    assert watch.verdict(running(), Beat(silent_s=9), 700.0, 600_001) == "expired"


def test_a_paused_worker_is_given_up_only_after_its_slips_time_is_over() -> None:
    from keyrail.contracts.slips import TAKE_BY_MS

    assert watch.SILENT_S * 1000 > TAKE_BY_MS + 1000
