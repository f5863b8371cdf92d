import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyrail.contracts import frames, slips
from keyrail.contracts.base import new_id
from keyrail.contracts.frames import Frame, Kind
from keyrail.contracts.slips import Facts, Slip

SLIP = Slip(
    request_id="r",
    inbox="_INBOX_ingress.x.r.0",
    tenant="default",
    key_id="k",
    received_ms=1,
    deadline_ms=2,
    take_by_ms=3,
    facts=Facts(model="gpt", tools=True),
)


@given(st.binary())
def test_a_packed_slip_comes_back_with_its_body_untouched(body: bytes) -> None:
    assert slips.unpack(slips.pack(SLIP, body)) == (SLIP, body)


@given(st.binary(max_size=64))
def test_anything_else_is_refused_as_a_slip(message: bytes) -> None:
    with pytest.raises(ValueError, match=r"slip|Slip|JSON"):
        slips.unpack(message)


@given(st.lists(st.tuples(st.sampled_from(Kind), st.binary(max_size=50)), max_size=8))
def test_frames_in_one_message_come_back_in_order(parts: list[tuple[Kind, bytes]]) -> None:
    message = b"".join(frames.encode(k, 1, 2, n, data, 1) for n, (k, data) in enumerate(parts))
    assert list(frames.decode(message)) == [Frame(k, 1, 1, 2, n, d) for n, (k, d) in enumerate(parts)]
    if parts:
        with pytest.raises(ValueError, match="cut short"):
            list(frames.decode(message[:-1] if parts[-1][1] else message[:-2]))


def test_ids_sort_by_time_and_are_version_7() -> None:
    ids = [new_id() for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert all(i[14] == "7" and i[19] in "89ab" for i in ids)
    assert [i[:13] for i in ids] == sorted(i[:13] for i in ids)
