"""The one door to ClickHouse: a server over HTTP, or chDB, the same engine in this process. Calls block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import clickhouse_connect
import msgspec
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from keyrail.contracts.base import Json

Parameter = str | int | list[str]

ENGINE_OPTIONS = {
    # one machine, one tenant of the engine: small caches and few threads instead of a server's
    "mark_cache_size": 16 << 20,
    "background_pool_size": 1,
    "background_schedule_pool_size": 1,
    "background_common_pool_size": 1,
    "background_fetches_pool_size": 1,
    "background_move_pool_size": 1,
}
QUERY_SETTINGS = {
    "max_threads": 2,
    "output_format_json_quote_64bit_integers": 0,
    # rows of one key are in one partition, as it is a function of the key
    "do_not_merge_across_partitions_select_final": 1,
}
INSERT_SETTINGS = {
    # the batch is made here; one block, so that its deduplication token names exactly these rows
    "async_insert": 0,
    "input_format_parallel_parsing": 0,
    "max_threads": 1,
    # a batch has at most one row for each key already; merges and FINAL do the rest
    "optimize_on_insert": 0,
}


class LedgerUnavailable(Exception):
    """The engine did not do it; trying the same again may help."""


class Ledger(Protocol):
    """What the rest of this service asks of the database."""

    def insert(self, table: str, columns: Sequence[str], rows: bytes, token: str) -> None:
        """Insert rows (JSONCompactEachRow), once for each token. Raises LedgerUnavailable."""
        ...

    def ask(self, sql: str, parameters: Mapping[str, Parameter]) -> list[dict[str, Json]]:
        """Rows of a SELECT, by column name. Raises LedgerUnavailable."""
        ...

    def command(self, sql: str, parameters: Mapping[str, Parameter] | None = None) -> None:
        """Run a statement without an answer. Raises LedgerUnavailable."""
        ...


class ClickHouse:
    """`Ledger` on clickhouse-connect. Writing and reading have a client each, as calls on one take turns."""

    def __init__(self, writer: Client, reader: Client, *, embedded: bool) -> None:
        self._writer = writer
        self._reader = reader
        self.embedded = embedded

    def insert(self, table: str, columns: Sequence[str], rows: bytes, token: str) -> None:
        try:
            self._writer.raw_insert(
                table,
                column_names=columns,
                insert_block=rows,
                settings={**INSERT_SETTINGS, "insert_deduplication_token": token},
                fmt="JSONCompactEachRow",
            )
        except (ClickHouseError, OSError) as error:
            raise LedgerUnavailable(str(error)) from error

    def ask(self, sql: str, parameters: Mapping[str, Parameter]) -> list[dict[str, Json]]:
        try:
            answer = self._reader.raw_query(sql, parameters=dict(parameters), fmt="JSONEachRow")
        except (ClickHouseError, OSError) as error:
            raise LedgerUnavailable(str(error)) from error
        return [_ROW.decode(line) for line in answer.splitlines()]

    def command(self, sql: str, parameters: Mapping[str, Parameter] | None = None) -> None:
        try:
            self._writer.command(sql, parameters=dict(parameters or {}))
        except (ClickHouseError, OSError) as error:
            raise LedgerUnavailable(str(error)) from error

    def close(self) -> None:
        """Release the engine: another process may own the directory then."""
        self._reader.close()
        self._writer.close()


_ROW: msgspec.json.Decoder[dict[str, Json]] = msgspec.json.Decoder(dict[str, object])  # pyright: ignore[reportAssignmentType]


def open_ledger(where: str, *, user: str | None = None, password: str = "") -> ClickHouse:
    """Open an http(s) URL, or the directory of an embedded ledger. Raises LedgerUnavailable.

    A directory has one owner at a time: a second process is refused.
    """
    try:
        if where.startswith(("http://", "https://")):
            return ClickHouse(_server(where, user, password), _server(where, user, password), embedded=False)
        return ClickHouse(_engine(where), _engine(where), embedded=True)
    except (ClickHouseError, OSError) as error:
        raise LedgerUnavailable(str(error)) from error


def _server(url: str, user: str | None, password: str) -> Client:
    return clickhouse_connect.get_client(
        dsn=url,
        username=user,
        password=password,
        settings=QUERY_SETTINGS,
        connect_timeout=5,
        send_receive_timeout=60,
        autogenerate_session_id=False,
    )


def _engine(directory: str) -> Client:
    return clickhouse_connect.get_client(
        interface="chdb", path=directory, settings=QUERY_SETTINGS, chdb_options=ENGINE_OPTIONS
    )
