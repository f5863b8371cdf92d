"""How rows get into ClickHouse: over HTTP, or straight into the engine in this process. Calls block."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from clickhouse_connect.driver.client import Client

if TYPE_CHECKING:
    from chdb.state.sqlitelike import Connection

FORMAT = "JSONCompactEachRow"
SETTINGS = {
    # the batch is made here; one block, so that its deduplication token names exactly these rows
    "async_insert": 0,
    "input_format_parallel_parsing": 0,
    "max_threads": 1,
    # a batch has at most one row for each key already; merges and FINAL do the rest
    "optimize_on_insert": 0,
}
WHOLE = {"input_format_defaults_for_omitted_fields": 0}
"""For rows that have all columns: the engine need not work out what an omitted one would be."""


class Writer(Protocol):
    """Inserts a block of rows once for each token. `columns` None: all of the table's, in its order."""

    def write(self, table: str, columns: Sequence[str] | None, rows: bytes, token: str) -> None:
        """Raises what its client raises."""
        ...

    def close(self) -> None:
        """Let go of the connection."""
        ...


class ServerWriter:
    """To a ClickHouse server."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def write(self, table: str, columns: Sequence[str] | None, rows: bytes, token: str) -> None:
        settings = SETTINGS | {"insert_deduplication_token": token} | ({} if columns else WHOLE)
        self._client.raw_insert(table, columns, rows, settings=settings, fmt=FORMAT)

    def close(self) -> None:
        self._client.close()


class EngineWriter:
    """To chDB. clickhouse-connect would go by a temporary file, at half as much again of the insert's CPU."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        for name, value in SETTINGS.items():
            connection.query(f"SET {name} = {value}")

    def write(self, table: str, columns: Sequence[str] | None, rows: bytes, token: str) -> None:
        settings = {"insert_deduplication_token": f"'{token}'"} | ({} if columns else WHOLE)
        clause = ", ".join(f"{name} = {value}" for name, value in settings.items())
        names = f"({', '.join(columns)})" if columns else ""
        with self._connection.send_insert(f"INSERT INTO {table} {names} SETTINGS {clause}", FORMAT) as insert:
            insert.append(rows)
            insert.finish()

    def close(self) -> None:
        self._connection.close()
