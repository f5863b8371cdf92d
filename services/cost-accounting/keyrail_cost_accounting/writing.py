"""How rows get into ClickHouse: over HTTP, or straight into the engine in this process. Calls block."""

from __future__ import annotations

import threading
from tempfile import NamedTemporaryFile
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
    # events whose clocks were wrong can be of any month: parts of a month each, rather than refused for ever
    "throw_on_max_partitions_per_insert_block": 0,
}
WHOLE = {
    # the engine need not work out what an omitted column would be, at a quarter of an insert's cost; should
    # there be one after all, the insert fails
    "input_format_defaults_for_omitted_fields": 0,
    "input_format_arrow_allow_missing_columns": 0,
}
PREFIX = "insert-"
"""Of the names of files that hold a block on its way into the engine."""


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
    """To chDB, by a file: its streaming insert says that rows are in a table when writing them had failed."""

    def __init__(self, connection: Connection, directory: str) -> None:
        self._connection = connection
        self._directory = directory
        self._turns = threading.Lock()
        for name, value in SETTINGS.items():
            connection.query(f"SET {name} = {value}")

    def write(self, table: str, block: bytes, token: str, *, whole: bool) -> None:
        settings = {"insert_deduplication_token": f"'{token}'"} | (WHOLE if whole else {})
        clause = ", ".join(f"{name} = {value}" for name, value in settings.items())
        with self._turns, NamedTemporaryFile(dir=self._directory, prefix=PREFIX) as file:
            file.write(block)
            file.flush()
            path = file.name.replace("\\", "\\\\").replace("'", "\\'")
            self._connection.query(
                f"INSERT INTO {table} FROM INFILE '{path}' SETTINGS {clause} FORMAT {FORMAT}"
            )

    def close(self) -> None:
        self._connection.close()
