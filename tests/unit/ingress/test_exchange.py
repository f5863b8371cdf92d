import gc
import weakref

import pytest

from keyrail.contracts.base import Contract
from keyrail.contracts.failures import Failure
from keyrail.contracts.frames import CONTENT, End, Fail, Frame, Head, Kind, Passed, Taken
from keyrail.contracts.slips import Facts, Slip, Spent
from keyrail_ingress import exchange as module
from keyrail_ingress.exchange import Exchange

FAILURE = Failure(kind="rate", message="slow down", status=429)
SPENT = Spent(attempt_id="a", provider="p", model="m", failure=FAILURE)


def new(epoch: int = 0) -> Exchange:
    slip = Slip(
        request_id="r",
        inbox="_INBOX_ingress.x.r.0",
        epoch=epoch,
        tenant="default",
        key_id="k",
        received_ms=0,
        deadline_ms=600_000,
        take_by_ms=3_000,
        facts=Facts(model="sandbox/echo"),
    )
    return Exchange(slip, b"{}", lambda: None)


def frame(
    kind: Kind, sequence: int, payload: Contract | bytes = b"", *, epoch: int = 0, hop: int = 0
) -> Frame:
    data = payload if isinstance(payload, bytes) else payload.encode()
    return Frame(kind, CONTENT if kind == Kind.DATA else 0, epoch, hop, sequence, data)


def taken(sequence: int = 0, *, worker: str = "w", epoch: int = 0, hop: int = 0) -> Frame:
    return frame(
        Kind.TAKEN,
        sequence,
        Taken(worker=worker, attempt_id=f"a-{worker}", provider="p", model="m"),
        epoch=epoch,
        hop=hop,
    )


def taken_items(exchange: Exchange) -> list[module.Item]:
    items: list[module.Item] = []
    while (item := exchange.take()) is not None:
        items.append(item)
    return items


def test_a_whole_answer_comes_through_in_order() -> None:
    exchange = new()
    head = Head(status=200, headers=(("content-type", "application/json"),))
    for f in (taken(), frame(Kind.HEAD, 1, head), frame(Kind.DATA, 2, b"{}"), frame(Kind.END, 3, End())):
        exchange.receive(f, 0.0)
    assert exchange.worker == "w"
    assert exchange.head == head
    assert exchange.content
    assert exchange.finished
    assert taken_items(exchange) == [b"{}", End()]


def test_a_gap_ends_the_request_with_an_error_and_never_a_shorter_answer() -> None:
    exchange = new()
    for f in (taken(), frame(Kind.DATA, 1, b"one"), frame(Kind.DATA, 3, b"three"), frame(Kind.END, 4, End())):
        exchange.receive(f, 0.0)
    one, end = taken_items(exchange)
    assert one == b"one"
    assert isinstance(end, Failure)
    assert end.code == "answer_lost"


def test_a_repeated_frame_is_a_gap_too() -> None:
    exchange = new()
    for f in (taken(), frame(Kind.DATA, 1, b"one"), frame(Kind.DATA, 1, b"one")):
        exchange.receive(f, 0.0)
    assert isinstance(taken_items(exchange)[-1], Failure)


def test_a_fallback_goes_on_in_the_next_hop_and_keeps_what_was_spent() -> None:
    exchange = new()
    exchange.receive(taken(), 0.0)
    exchange.receive(frame(Kind.PASSED, 1, Passed(spent=SPENT, take_by_ms=9_000)), 0.0)
    assert exchange.worker is None
    assert exchange.take_by_ms == 9_000
    exchange.receive(taken(worker="w2", hop=1), 0.0)
    exchange.receive(frame(Kind.DATA, 1, b"x", hop=1), 0.0)
    assert exchange.spent == (SPENT,)
    assert taken_items(exchange) == [b"x"]


def test_a_next_hop_counts_even_when_the_word_of_it_was_lost() -> None:
    exchange = new()
    exchange.receive(taken(), 0.0)
    exchange.receive(taken(worker="w2", hop=1), 0.0)
    assert exchange.worker == "w2"


def test_frames_of_a_given_up_epoch_are_ignored_and_their_sender_is_named() -> None:
    exchange = new()
    exchange.receive(taken(worker="paused"), 0.0)
    slip = exchange.redispatch(5_000, FAILURE)
    assert slip.epoch == 1
    assert [s.attempt_id for s in slip.spent] == ["a-paused"]
    assert slip.spent[0].cost_usd is None
    exchange.receive(frame(Kind.DATA, 1, b"stale"), 0.0)
    exchange.receive(taken(worker="late"), 0.0)
    exchange.receive(taken(worker="new", epoch=1), 0.0)
    assert exchange.stale_workers == ("late",)
    assert exchange.worker == "new"
    assert taken_items(exchange) == []


def test_an_epoch_from_the_future_is_ignored() -> None:
    exchange = new()
    exchange.receive(taken(epoch=3), 0.0)
    assert exchange.worker is None


def test_a_client_that_does_not_read_is_given_up() -> None:
    exchange = new()
    exchange.receive(taken(), 0.0)
    chunk = b"x" * (1 << 20)
    for n in range(1, 6):
        exchange.receive(frame(Kind.DATA, n, chunk), 0.0)
    items = taken_items(exchange)
    assert len(items) == 5
    assert isinstance(items[-1], Failure)
    assert items[-1].kind == "cancelled"


def test_a_failure_brings_all_attempts_along() -> None:
    exchange = new()
    exchange.receive(taken(), 0.0)
    exchange.receive(frame(Kind.FAIL, 1, Fail(failure=FAILURE, spent=(SPENT, SPENT))), 0.0)
    assert exchange.spent == (SPENT, SPENT)
    assert taken_items(exchange) == [FAILURE]


def test_a_broken_payload_is_an_honest_error() -> None:
    exchange = new()
    exchange.receive(frame(Kind.TAKEN, 0, b"not json"), 0.0)
    assert isinstance(taken_items(exchange)[0], Failure)


@pytest.mark.parametrize("kind", [7, 200])
def test_a_frame_of_a_kind_that_a_newer_worker_knows_is_passed_over(kind: int) -> None:
    exchange = new()
    exchange.receive(Frame(kind, 0, 0, 0, 0, b""), 0.0)
    exchange.receive(taken(1), 0.0)
    assert exchange.worker == "w"


def test_a_closed_exchange_leaves_nothing_for_the_garbage_collector() -> None:
    class Listener:
        def __init__(self) -> None:
            self.exchange = Exchange(new().slip, b"body", self.wake)

        def wake(self) -> None:
            pass

    gc.disable()
    try:
        listener = Listener()
        gone = weakref.ref(listener)
        listener.exchange.close()
        del listener
        assert gone() is None
    finally:
        gc.enable()


def test_a_slip_that_waited_in_vain_goes_on_without_having_spent_anything() -> None:
    exchange = new()
    exchange.receive(taken(), 0.0)
    exchange.receive(frame(Kind.PASSED, 1, Passed(take_by_ms=9_000)), 0.0)
    assert (exchange.spent, exchange.take_by_ms) == ((), 9_000)
    exchange.receive(taken(worker="w", hop=1), 0.0)
    assert exchange.worker == "w"
