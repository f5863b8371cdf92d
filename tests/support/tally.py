"""What must be true of a provider's record of calls, the ledger and clients' answers, whatever was killed.

An attempt's id travels to the provider (`x-client-request-id`), and the provider's own id of the call comes
back and is kept (`upstream_id`): calls and rows are matched by both, one to one, not by counting.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from support.load import Answer

Row = Mapping[str, Any]
Calls = Mapping[str, Row]
ESTIMATED_MOST = 2
"""A stream that its client left is counted by its text: never by more than so many times the whole."""
Cost = tuple[int, int, Decimal]
"""Tokens in, tokens out, and what they cost."""


def matched(calls: Calls, rows: Mapping[str, Row]) -> Counter[str]:
    """Fail unless calls and attempts, each by its attempt's id, tell the same story. Returns what was seen.

    A call without a row was paid for by nobody. A row without a call may only say that nobody was reached, or
    that nobody knows: it must not say that a provider answered.
    """
    assert not calls.keys() - rows.keys(), "calls that are not on the ledger"
    seen: Counter[str] = Counter()
    for attempt_id, row in rows.items():
        call = calls.get(attempt_id)
        seen[f"{row['status']}, {'called' if call else 'not called'}"] += 1
        if call is None:
            _not_called(row)
        else:
            assert row["model"] == call["model"] or call["model"] is None, (row, call)
            if row["http_status"] is not None:
                assert row["upstream_id"] == call["request_id"], (row, call)
            if row["status"] == "ok":
                assert call["state"] == "done", (row, call)
    return seen


def _not_called(row: Row) -> None:
    assert row["status"] in ("lost", "failed", "cancelled"), row
    assert row["http_status"] is None, row
    assert row["upstream_id"] is None, row
    assert row["output_tokens"] is None, row
    assert row["cost_usd"] is None or Decimal(row["cost_usd"]) == 0, row


def priced(rows: Iterable[Row], by_model: Mapping[str, Cost]) -> Decimal:
    """Fail unless every attempt has the cost that it must have. Returns the sum of all that are known."""
    total = Decimal(0)
    for row in rows:
        cost = None if row["cost_usd"] is None else Decimal(row["cost_usd"])
        total += cost or 0
        if row["status"] == "ok":
            assert (row["input_tokens"], row["output_tokens"], cost) == by_model[row["model"]], row
            assert not row["estimated"], row
        elif row["status"] == "lost":
            assert cost is None, row
            assert row["estimated"], row
        elif row["http_status"] is not None and row["http_status"] >= 400:
            assert (cost, row["price_source"]) == (0, "not-billed"), row
        elif cost:
            assert row["estimated"], row
            assert cost <= ESTIMATED_MOST * by_model[row["model"]][2], row
    return total


def answered(
    answers: Iterable[Answer], calls: Calls, attempts: Mapping[str, Row], requests: Iterable[Row]
) -> None:
    """Fail unless each request is on the ledger once, with what its client was told."""
    listed = list(requests)
    told = {row["request_id"]: row for row in listed}
    assert len(told) == len(listed), "a request is on the ledger twice"
    of_request: dict[str, list[str]] = defaultdict(list)
    for attempt_id, row in attempts.items():
        of_request[row["request_id"]].append(attempt_id)
    for answer in answers:
        if answer.request_id is None:
            continue
        assert answer.request_id in told, answer
        row = told[answer.request_id]
        if answer.status is None:
            continue
        assert row["http_status"] == answer.status, (answer, row)
        if answer.status == 200:
            assert row["status"] == "ok", (answer, row)
            assert [
                each for each in of_request[answer.request_id] if _answers(attempts[each], calls.get(each))
            ], answer


def _answers(row: Row, call: Row | None) -> bool:
    """Whether a whole answer can be this attempt's: it says so, or its worker died before it could."""
    return row["status"] == "ok" or (row["status"] == "lost" and call is not None and call["state"] == "done")
