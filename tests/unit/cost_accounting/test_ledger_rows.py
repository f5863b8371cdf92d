from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyrail.contracts import events, usage
from keyrail.contracts.base import encode_all
from keyrail.contracts.events import AttemptSettled, AttemptStarted
from keyrail_cost_accounting import blocks, wire
from keyrail_cost_accounting.migrate import shipped
from keyrail_cost_accounting.rows import ALERT_COLUMNS, ATTEMPT_COLUMNS, REQUEST_COLUMNS, Rows

A, B = "0190a000-0000-7000-8000-00000000000a", "0190a000-0000-7000-8000-00000000000b"

STARTED = AttemptStarted(
    attempt_id=A,
    request_id=B,
    epoch=2,
    hop=1,
    tenant="acme",
    key_id="k1",
    team="search",
    feature="answers",
    route="smart",
    strategy="fallback",
    revision=7,
    provider="openai",
    model="gpt-5.4-mini",
    provider_key_id="main",
    worker="w1",
    stream=True,
    started_ms=1_767_323_045_007,
    received_ms=1_767_323_045_001,
    router="r1",
    held_usd=Decimal("0.5"),
    number=2,
    reference="openai/gpt-5.4",
    role="hedge",
)
SETTLED = AttemptSettled(
    started=STARTED,
    status="failed",
    failure="rate",
    detail="slow down",
    http_status=429,
    finish="length",
    upstream_id="req_1",
    usage=usage.Usage(
        input_tokens=1,
        output_tokens=2,
        cache_read_tokens=3,
        cache_write_tokens=4,
        cache_write_1h_tokens=3,
        searches=2,
        reasoning_tokens=5,
        audio_input_tokens=6,
        audio_output_tokens=7,
        served_tier="flex",
        region="us",
        estimated=True,
        raw={"a": [1, "ü"]},
    ),
    price=usage.Price(
        cost_usd=Decimal("0.0000001"),
        source="catalogue",
        version="v1",
        uncached_usd=Decimal("0.0000002"),
        reference_usd=Decimal("0.0000003"),
        basis="estimated",
    ),
    first_byte_ms=8,
    first_content_ms=9,
    duration_ms=10,
    settled_ms=1_767_323_046_000,
    standing="lost",
)
START = {
    "attempt_id": UUID(A).bytes,
    "request_id": UUID(B).bytes,
    "tenant": "acme",
    "key_id": "k1",
    "team": "search",
    "feature": "answers",
    "route": "smart",
    "strategy": "fallback",
    "revision": 7,
    "epoch": 2,
    "hop": 1,
    "provider": "openai",
    "model": "gpt-5.4-mini",
    "provider_key_id": "main",
    "worker": "w1",
    "stream": True,
    "started_at": 1_767_323_045_007,
    "received_at": 1_767_323_045_001,
    "router": "r1",
    "held_usd": Decimal("0.5"),
    "number": 2,
    "reference": "openai/gpt-5.4",
    "role": "hedge",
}
UNKNOWN = dict.fromkeys(
    set(ATTEMPT_COLUMNS) - set(START) - {"rank", "status", "estimated"},
)


def read(*found: AttemptStarted | AttemptSettled) -> list[dict[str, object]]:
    rows = Rows()
    rows.read(encode_all(list(found)))
    assert not rows.rejected
    return [dict(zip(ATTEMPT_COLUMNS, row, strict=True)) for row in rows.attempts]


def test_a_started_event_is_a_running_row_whose_outcome_is_unknown() -> None:
    assert read(STARTED) == [START | UNKNOWN | {"rank": 0, "status": "running", "estimated": False}]


def test_a_settled_event_alone_is_the_whole_row() -> None:

    (row,) = read(SETTLED)

    assert json.loads(str(row.pop("usage_raw"))) == {"a": [1, "ü"]}
    assert row == START | {
        "rank": 2,
        "status": "failed",
        "failure": "rate",
        "detail": "slow down",
        "http_status": 429,
        "finish": "length",
        "upstream_id": "req_1",
        "input_tokens": 1,
        "output_tokens": 2,
        "cache_read_tokens": 3,
        "cache_write_tokens": 4,
        "cache_write_1h_tokens": 3,
        "searches": 2,
        "reasoning_tokens": 5,
        "audio_input_tokens": 6,
        "audio_output_tokens": 7,
        "served_tier": "flex",
        "region": "us",
        "estimated": True,
        "cost_usd": Decimal("0.0000001"),
        "price_source": "catalogue",
        "price_version": "v1",
        "uncached_usd": Decimal("0.0000002"),
        "reference_usd": Decimal("0.0000003"),
        "basis": "estimated",
        "standing": "lost",
        "first_byte_ms": 8,
        "first_content_ms": 9,
        "duration_ms": 10,
        "settled_at": 1_767_323_046_000,
    }


def test_a_finished_request_is_a_row() -> None:
    finished = events.RequestFinished(
        request_id=B,
        tenant="acme",
        key_id="k1",
        model="smart",
        dialect="openai-chat",
        stream=True,
        status="failed",
        http_status=503,
        failure="capacity",
        detail="full",
        dispatches=2,
        ingress="i1",
        received_ms=1_767_323_045_000,
        duration_ms=5,
    )
    rows = Rows()
    rows.read(encode_all([finished]))

    assert dict(zip(REQUEST_COLUMNS, rows.requests[0], strict=True)) == {
        "request_id": UUID(B).bytes,
        "rank": 2,
        "tenant": "acme",
        "key_id": "k1",
        "team": None,
        "feature": None,
        "model": "smart",
        "dialect": "openai-chat",
        "stream": True,
        "status": "failed",
        "http_status": 503,
        "failure": "capacity",
        "detail": "full",
        "dispatches": 2,
        "ingress": "i1",
        "received_at": 1_767_323_045_000,
        "first_byte_ms": None,
        "duration_ms": 5,
    }


@pytest.mark.parametrize(
    ("contract", "mirror"),
    [
        (events.AttemptStarted, wire.AttemptStarted),
        (events.AttemptSettled, wire.AttemptSettled),
        (events.RequestFinished, wire.RequestFinished),
        (events.AlertRaised, wire.AlertRaised),
        (events.RequestRouted, wire.RequestRouted),
        (events.VerdictGiven, wire.VerdictGiven),
        (usage.Usage, wire.Usage),
        (usage.Price, wire.Price),
    ],
)
def test_the_mirror_has_the_fields_of_its_contract(
    contract: type[msgspec.Struct], mirror: type[msgspec.Struct]
) -> None:
    def fields(of: type[msgspec.Struct]) -> dict[str, bool]:
        return {field.name: field.required for field in msgspec.structs.fields(of)}

    assert fields(mirror) == fields(contract)


def test_every_column_of_the_tables_is_written() -> None:
    """In the tables' order."""
    for table, columns in blocks.COLUMNS.items():
        text = next(each.text for each in shipped() if f"EXISTS {table}\n(" in each.text)
        body = text.split(f"CREATE TABLE IF NOT EXISTS {table}\n(\n")[1].split("\n)\n")[0]
        declared = [line.split()[0] for line in body.splitlines() if not line.startswith("    INDEX")]
        for migration in shipped()[1:]:
            for altered, added in re.findall(r"ALTER TABLE (\w+)\n((?:    ADD .*\n)+)", migration.text):
                for name, before in re.findall(r"EXISTS (\w+) .* AFTER (\w+)", added):
                    if altered == table:
                        declared.insert(declared.index(before) + 1, name)
        assert declared == list(columns)


def test_one_bad_event_does_not_take_its_neighbours_with_it() -> None:
    good = json.loads(STARTED.encode())
    bad = [good | {"epoch": "two"}, good | {"event": "attempt.paused"}, good | {"attempt_id": "x"}, 5]
    rows = Rows()
    rows.read(json.dumps([good, *bad, good | {"attempt_id": B}]).encode())

    assert [row[0] for row in rows.attempts] == [UUID(A).bytes, UUID(B).bytes]
    assert [json.loads(each.data) for each in rows.rejected] == bad
    assert "$.epoch" in rows.rejected[0].reason


@pytest.mark.parametrize("data", [b"", b"{}", b"[", b"[1", b'["\xff"]', b"[" * 100_000, b"null"])
def test_what_is_no_array_of_events_is_rejected_whole(data: bytes) -> None:
    rows = Rows()
    rows.read(data)

    assert b"".join(each.data for each in rows.rejected).strip(b'[]"') == data.strip(b'[]"')
    assert not rows.attempts


@pytest.mark.parametrize("cost", ["1000000", "-1000000", "NaN", "Infinity", "1e300"])
def test_a_cost_that_no_column_holds_is_rejected_and_not_rounded(cost: str) -> None:
    settled = AttemptSettled(started=STARTED, status="ok", duration_ms=1, settled_ms=STARTED.started_ms)
    event = json.loads(settled.encode())
    event["price"] = {"cost_usd": cost}
    rows = Rows()
    rows.read(json.dumps([event]).encode())

    assert (len(rows.attempts), len(rows.rejected)) == (0, 1)
    assert json.loads(rows.rejected[0].data)["started"]["attempt_id"] == A


@pytest.mark.parametrize("held", ["1000000", "NaN"])
def test_an_amount_held_that_no_column_holds_is_rejected_too(held: str) -> None:
    event = json.loads(STARTED.encode()) | {"held_usd": held}
    rows = Rows()
    rows.read(json.dumps([event, json.loads(STARTED.replace(attempt_id=B).encode())]).encode())

    assert (len(rows.attempts), len(rows.rejected)) == (1, 1)


def test_an_event_from_before_budgets_has_no_router() -> None:
    old = STARTED.replace(received_ms=None, router=None, held_usd=None)
    (row,) = read(old)
    assert (row["received_at"], row["router"], row["held_usd"]) == (None, None, None)


def test_an_alert_is_a_row_and_the_first_of_its_id_has_the_highest_rank() -> None:
    first = events.AlertRaised(
        alert_id="a",
        kind="budget-soft",
        tenant="acme",
        subject="s",
        detail="d",
        raised_by="r",
        raised_ms=10**12,
    )
    rows = Rows()
    rows.read(encode_all([first, first.replace(raised_ms=10**12 + 1)]))

    one, two = (dict(zip(ALERT_COLUMNS, row, strict=True)) for row in rows.alerts)
    assert one == {
        "alert_id": "a",
        "rank": -(10**12),
        "kind": "budget-soft",
        "tenant": "acme",
        "subject": "s",
        "detail": "d",
        "raised_by": "r",
        "raised_at": 10**12,
    }
    assert rows.alerts[0][1] > rows.alerts[1][1]  # pyright: ignore[reportOperatorIssue]
    assert two["raised_at"] == 10**12 + 1
    assert pa.ipc.open_stream(blocks.encode("alerts", rows.alerts)).read_all().num_rows == 2


@given(st.decimals(min_value=-999_999, max_value=999_999, allow_nan=False, allow_infinity=False))
def test_a_cost_keeps_its_value_to_twelve_places(cost: Decimal) -> None:
    price = usage.Price(cost_usd=cost)
    (row,) = read(
        AttemptSettled(
            started=STARTED, status="ok", price=price, duration_ms=1, settled_ms=STARTED.started_ms
        )
    )

    kept = row["cost_usd"]
    assert isinstance(kept, Decimal)
    assert kept.as_tuple().exponent == -12
    assert abs(kept - cost) <= Decimal("0.5e-12")


def test_raw_usage_that_is_no_text_is_rejected() -> None:
    settled = AttemptSettled(
        started=STARTED,
        status="ok",
        duration_ms=1,
        settled_ms=STARTED.started_ms,
        usage=usage.Usage(raw={"note": "text"}),
    )
    data = encode_all([settled, STARTED]).replace(b'"text"', b'"\xff"')
    rows = Rows()
    rows.read(data)

    assert ([row[2] for row in rows.attempts], len(rows.rejected)) == ([0], 1)
    assert b'"note":"\xff"' in rows.rejected[0].data


def test_rows_of_one_attempt_merge_to_the_highest_rank_in_any_order() -> None:
    rank = ATTEMPT_COLUMNS.index("rank")
    settled = AttemptSettled(started=STARTED, status="ok", duration_ms=1, settled_ms=STARTED.started_ms)
    other = STARTED.replace(attempt_id=B)
    for order in ([STARTED, settled, other], [settled, other, STARTED], [settled, settled, STARTED, other]):
        rows = Rows()
        rows.read(encode_all(order))
        assert sorted((row[0], row[rank]) for row in rows.attempts) == [
            (UUID(A).bytes, 2),
            (UUID(B).bytes, 0),
        ]


@settings(deadline=None)  # making the first datetime of a column loads time zones
@given(st.integers(10**12, 10**13 - 1), st.text(max_size=20))
def test_a_block_has_the_rows_values_by_column(millis: int, detail: str) -> None:
    settled = AttemptSettled(
        started=STARTED.replace(started_ms=millis),
        status="ok",
        detail=detail,
        price=usage.Price(cost_usd=Decimal("0.1")),
        duration_ms=1,
        settled_ms=millis,
    )
    rows = Rows()
    rows.read(encode_all([settled, STARTED.replace(attempt_id=B)]))
    block = blocks.encode("attempts", rows.attempts)

    one, two = pa.ipc.open_stream(block).read_all().to_pylist()

    assert (one["attempt_id"], one["detail"], one["cost_usd"]) == (UUID(A).bytes, detail, Decimal("0.1"))
    assert one["started_at"] == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=millis)
    assert (two["attempt_id"], two["settled_at"], two["cost_usd"]) == (UUID(B).bytes, None, None)
    assert tuple(one) == ATTEMPT_COLUMNS


def test_a_text_that_utf8_cannot_hold_never_reaches_a_block() -> None:
    data = encode_all([STARTED]).replace(b'"acme"', b'"\\ud800"')
    rows = Rows()
    rows.read(data)
    assert (rows.attempts, len(rows.rejected)) == ([], 1)
