"""How rows get into ClickHouse: over HTTP, or straight into the engine in this process. Calls block."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol

from clickhouse_connect.driver.client import Client

if TYPE_CHECKING:
    from chdb.state.sqlitelike import Connection

FORMAT = "ArrowStream"
SETTINGS = {
    # the batch is made here; one block, so that its deduplication token names exactly these rows
    "async_insert": 0,
    "max_threads": 1,
    # a batch has at most one row for each key already; merges and FINAL do the rest
    "optimize_on_insert": 0,
}
WHOLE = {
    # the engine need not work out what an omitted column would be, at a quarter of an insert's cost; should
    # there be one after all, the insert fails
    "input_format_defaults_for_omitted_fields": 0,
    "input_format_arrow_allow_missing_columns": 0,
}


class Writer(Protocol):
    """Inserts a block (Arrow's stream format) once for each token. `whole`: it has all of the columns."""

    def write(self, table: str, block: bytes, token: str, *, whole: bool) -> None:
        """Raises what its client raises."""
        ...

    def close(self) -> None:
        """Let go of the connection."""
        ...


class ServerWriter:
    """To a ClickHouse server."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def write(self, table: str, block: bytes, token: str, *, whole: bool) -> None:
        settings = SETTINGS | {"insert_deduplication_token": token} | (WHOLE if whole else {})
        self._client.raw_insert(table, insert_block=block, settings=settings, fmt=FORMAT)

    def close(self) -> None:
        self._client.close()


class EngineWriter:
    """To chDB. clickhouse-connect would go by a temporary file, at half as much again of the insert's CPU."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._one_at_a_time = threading.Lock()
        for name, value in SETTINGS.items():
            connection.query(f"SET {name} = {value}")

    def write(self, table: str, block: bytes, token: str, *, whole: bool) -> None:
        settings = {"insert_deduplication_token": f"'{token}'"} | (WHOLE if whole else {})
        clause = ", ".join(f"{name} = {value}" for name, value in settings.items())
        statement = f"INSERT INTO {table} SETTINGS {clause}"
        with self._one_at_a_time, self._connection.send_insert(statement, FORMAT) as insert:
            insert.append(block)
            insert.finish()

    def close(self) -> None:
        self._connection.close()
