"""The events as files: what was ever sent can still be read, and a change of a contract is in the diff."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import msgspec
import pytest

from keyrail.contracts.base import Contract
from keyrail.contracts.events import Event
from keyrail_cost_accounting.rows import (
    ALERT_COLUMNS,
    ATTEMPT_COLUMNS,
    DECISION_COLUMNS,
    REQUEST_COLUMNS,
    VERDICT_COLUMNS,
    Rows,
)
from scripts import export_schemas

EXAMPLES = Path(__file__).parent / "examples"
EVENTS = export_schemas.contracts()
FILES = sorted(EXAMPLES.glob("*/*.json"))


def named(path: Path) -> str:
    return f"{path.parent.name}-{path.stem}"


def parsed(path: Path) -> Contract:
    return msgspec.json.decode(path.read_bytes(), type=Event)


def empty(contract: type[Contract], value: dict[str, Any], where: str = "") -> list[str]:
    """Fields of the contract, and of those in it, that `value` says nothing of."""
    missing: list[str] = []
    for field in msgspec.structs.fields(contract):
        if field.name not in value:
            missing.append(where + field.name)
        elif isinstance(field.type, type) and issubclass(field.type, Contract):
            missing += empty(field.type, value[field.name], f"{where}{field.name}.")
    return missing


def test_every_event_has_a_minimal_and_a_full_example() -> None:
    assert set(EVENTS) == {
        "attempt.started",
        "attempt.settled",
        "request.finished",
        "alert.raised",
        "request.routed",
        "verdict.given",
    }
    for name in EVENTS:
        assert {path.stem for path in (EXAMPLES / name).iterdir()} >= {"minimal", "full"}


@pytest.mark.parametrize("path", FILES, ids=named)
def test_an_example_can_be_read_by_todays_contract(path: Path) -> None:
    event = parsed(path)
    assert type(event) is EVENTS[path.parent.name]
    for name, value in json.loads(path.read_text()).items():
        if name != "event" and not isinstance(value, dict):
            found = getattr(event, name)
            if isinstance(found, tuple):
                found = json.loads(event.encode())[name]
            assert found == (Decimal(value) if isinstance(found, Decimal) else value)


@pytest.mark.parametrize("name", EVENTS)
def test_the_full_example_is_all_that_its_producer_can_say(name: str) -> None:
    path = EXAMPLES / name / "full.json"
    assert empty(EVENTS[name], json.loads(path.read_text())) == []
    assert json.loads(parsed(path).encode()) == json.loads(path.read_text())


@pytest.mark.parametrize("name", EVENTS)
def test_the_minimal_example_has_what_is_required_and_no_more(name: str) -> None:
    written = json.loads((EXAMPLES / name / "minimal.json").read_text())
    required = {field.name for field in msgspec.structs.fields(EVENTS[name]) if field.required}
    assert set(written) == required | {"event"}


@pytest.mark.parametrize("path", FILES, ids=named)
def test_an_example_becomes_a_row_of_the_ledger(path: Path) -> None:
    rows = Rows()
    rows.read(b"[" + path.read_bytes() + b"]")
    assert rows.rejected == []
    ((row, columns),) = [
        *((row, ATTEMPT_COLUMNS) for row in rows.attempts),
        *((row, REQUEST_COLUMNS) for row in rows.requests),
        *((row, ALERT_COLUMNS) for row in rows.alerts),
        *((row, DECISION_COLUMNS) for row in rows.decisions),
        *((row, VERDICT_COLUMNS) for row in rows.verdicts),
    ]
    shown = dict(zip(columns, row, strict=True))
    event = json.loads(path.read_text())
    if path.parent.name in ("alert.raised", "verdict.given"):
        id = path.parent.name.split(".")[0] + "_id"
        assert shown[id] == event[id]
    else:
        id = UUID(bytes=cast("bytes", shown["request_id"]))
        assert str(id) == event.get("started", event)["request_id"]
    if path.stem == "full" and path.parent.name != "attempt.started":
        assert None not in row, "the full example leaves no column empty"


def test_the_committed_schemas_are_those_of_the_contracts() -> None:
    committed = {path.name: path.read_text() for path in export_schemas.FOLDER.iterdir()}
    assert committed == export_schemas.schemas(), "run make schemas, and look at the diff"
