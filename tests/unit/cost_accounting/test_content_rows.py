from __future__ import annotations

import typing
from uuid import UUID

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyrail.contracts import contents
from keyrail_cost_accounting import blocks, content_rows
from keyrail_cost_accounting.content_rows import CONTENT_COLUMNS, UNREADABLE, Content
from keyrail_cost_accounting.migrate import shipped
from keyrail_cost_accounting.rows import Rejected

A, B = "0190a000-0000-7000-8000-00000000000a", "0190a000-0000-7000-8000-00000000000b"
KEPT = contents.ContentKept(
    attempt_id=A,
    request_id=B,
    tenant="acme",
    team="search",
    feature="answers",
    route="chat",
    provider="openai",
    model="m",
    dialect="openai-chat",
    recipient="age1x",
    request=b"\x00\xff",
    request_bytes=3,
    answer=b"",
    answer_bytes=0,
    started_ms=1_767_323_045_007,
    expires_ms=1_767_323_046_001,
)
ROW = {
    "tenant": "acme",
    "started_at": 1_767_323_045_007,
    "attempt_id": UUID(A).bytes,
    "request_id": UUID(B).bytes,
    "team": "search",
    "feature": "answers",
    "route": "chat",
    "provider": "openai",
    "model": "m",
    "dialect": "openai-chat",
    "recipient": "age1x",
    "request": b"\x00\xff",
    "request_bytes": 3,
    "answer": b"",
    "answer_bytes": 0,
    "expires_at": 1_767_323_047,
}


def row(kept: contents.ContentKept) -> dict[str, object]:
    read = content_rows.read(kept.encode())
    assert isinstance(read, Content)
    return dict(zip(CONTENT_COLUMNS, read.row, strict=True))


def test_a_content_becomes_its_row() -> None:
    assert row(KEPT) == ROW


def test_what_was_left_out_is_null() -> None:
    assert row(KEPT.replace(request=None, answer=None)) == ROW | {"request": None, "answer": None}


def test_the_columns_are_those_of_the_table() -> None:
    (migration,) = [each for each in shipped() if each.name == "0008_contents.sql"]
    statement = migration.statements[0]
    names = [line.split()[0] for line in statement.splitlines() if line.startswith("    ")]
    assert tuple(name for name in names if name != "INDEX") == CONTENT_COLUMNS


def test_rows_become_a_block_of_bytes_that_are_no_text() -> None:
    read = content_rows.read(KEPT.encode())
    assert isinstance(read, Content)
    table = pa.ipc.open_stream(blocks.encode("contents", [read.row, read.row])).read_all()
    assert tuple(table.column_names) == CONTENT_COLUMNS
    assert table.column("request").to_pylist() == [b"\x00\xff"] * 2


def test_the_fields_are_the_contracts() -> None:
    mine = {field.name: field.required for field in msgspec.structs.fields(content_rows.ContentKept)}
    theirs = {field.name: field.required for field in msgspec.structs.fields(contents.ContentKept)}
    assert mine == theirs
    assert typing.get_type_hints(content_rows.ContentKept)["request"] == bytes | None


@pytest.mark.parametrize(
    "change",
    [
        {"attempt_id": "canary"},
        {"tenant": None},
        {"request": "canary, not base64"},
        {"request_bytes": -1},
        {"started_ms": 1},
        {"expires_ms": 10**14},
        {"event": "canary"},
    ],
    ids=str,
)
def test_what_no_column_holds_is_rejected_without_its_body(change: dict[str, object]) -> None:
    data = msgspec.json.encode(msgspec.json.decode(KEPT.encode()) | change)
    assert content_rows.read(data) == Rejected(UNREADABLE, b"", size=len(data))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_content_or_rejected(data: bytes) -> None:
    assert content_rows.read(data) == Rejected(UNREADABLE, b"", size=len(data))
