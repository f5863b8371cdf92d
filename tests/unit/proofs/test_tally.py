"""What compares the provider, the ledger and the clients in the kill rounds: each lie must be noticed."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from support import tally
from support.load import Answer

PRICES = {"m": (15, 10, Decimal("0.000045"))}
CALL: dict[str, Any] = {"request_id": "req_1", "model": "m", "state": "done"}
ROW: dict[str, Any] = {
    "attempt_id": "a",
    "request_id": "r",
    "status": "ok",
    "model": "m",
    "http_status": 200,
    "upstream_id": "req_1",
    "input_tokens": 15,
    "output_tokens": 10,
    "cost_usd": "0.000045",
    "price_source": "configured",
    "estimated": False,
}
UNKNOWN = {"http_status": None, "upstream_id": None, "input_tokens": None, "output_tokens": None}
LOST = ROW | UNKNOWN | {"status": "lost", "cost_usd": None, "estimated": True}
TOLD = {"request_id": "r", "status": "ok", "http_status": 200}


def compare(call: dict[str, Any] | None, row: dict[str, Any] | None, told: list[dict[str, Any]]) -> None:
    calls = {} if call is None else {"a": call}
    rows = {} if row is None else {"a": row}
    tally.matched(calls, rows)
    tally.priced(rows.values(), PRICES)
    tally.answered([Answer(200, 0.1, "", "r")], calls, rows, told)


@pytest.mark.parametrize("row", [ROW, LOST])
def test_a_call_with_its_row_is_right_as_is_one_whose_worker_died_before_it_could_say_so(
    row: dict[str, Any],
) -> None:
    compare(CALL, row, [TOLD])


@pytest.mark.parametrize(
    ("call", "row", "told"),
    [
        pytest.param(CALL, None, [TOLD], id="a call that is not on the ledger"),
        pytest.param(None, ROW, [TOLD], id="a row of a call that never was"),
        pytest.param(None, LOST, [TOLD], id="an answer that nobody gave"),
        pytest.param(None, LOST | {"cost_usd": "0.1"}, [TOLD], id="a cost without a call"),
        pytest.param(CALL, ROW | {"upstream_id": "req_2"}, [TOLD], id="a row of another call"),
        pytest.param(CALL, ROW | {"cost_usd": "0.00009"}, [TOLD], id="a cost that is counted twice"),
        pytest.param(CALL, ROW | {"cost_usd": None}, [TOLD], id="a cost that was forgotten"),
        pytest.param(CALL, LOST | {"cost_usd": "0"}, [TOLD], id="a lost attempt that cost nothing"),
        pytest.param(CALL | {"state": "running"}, ROW, [TOLD], id="an end before the end"),
        pytest.param(CALL, ROW, [], id="a request that is not on the ledger"),
        pytest.param(CALL, ROW, [TOLD, TOLD], id="a request that is there twice"),
        pytest.param(CALL, ROW, [TOLD | {"http_status": 502}], id="another status than the client's"),
    ],
)
def test_a_lie_is_noticed(
    call: dict[str, Any] | None, row: dict[str, Any] | None, told: list[dict[str, Any]]
) -> None:
    with pytest.raises(AssertionError):
        compare(call, row, told)
