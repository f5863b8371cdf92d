"""The one door to ClickHouse: a server over HTTP, or chDB, the same engine in this process. Calls block."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Protocol
from urllib.parse import urlencode

import clickhouse_connect
import msgspec
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from keyrail.contracts.base import Json
from keyrail_cost_accounting.writing import EngineWriter, ServerWriter, Writer

Parameter = str | int | list[str] | list[int]

ENGINE_OPTIONS = {
    # one machine, one tenant of the engine: small caches and few threads instead of a server's
    "mark_cache_size": 16 << 20,
    "background_pool_size": 1,
    "background_schedule_pool_size": 1,
    "background_common_pool_size": 1,
    "background_fetches_pool_size": 1,
    "background_move_pool_size": 1,
    "background_streaming_schedule_pool_size": 1,
    # idle threads that look 20 times a second at memory that nobody limits, and twice a second for work of
    # which every insert tells them: seconds are often enough
    "memory_worker_period_ms": 1_000,
    "background_processing_pool_thread_sleep_seconds_if_nothing_to_do": 5,
    "background_streaming_processing_pool_thread_sleep_seconds_if_nothing_to_do": 60,
}
QUERY_SETTINGS = {
    "max_threads": 2,
    "output_format_json_quote_64bit_integers": 0,
    # rows of one key are in one partition, as it is a function of the key
    "do_not_merge_across_partitions_select_final": 1,
}


class LedgerUnavailable(Exception):
    """The engine did not do it; trying the same again may help."""


class Ledger(Protocol):
    """What the rest of this service asks of the database."""

    def insert(self, table: str, columns: Sequence[str], block: bytes, token: str) -> None:
        """Insert a block (Arrow's stream format) once for each token. Raises LedgerUnavailable."""
        ...

    def ask(self, sql: str, parameters: Mapping[str, Parameter]) -> list[dict[str, Json]]:
        """Rows of a SELECT, by column name. Raises LedgerUnavailable."""
        ...

    def command(self, sql: str, parameters: Mapping[str, Parameter] | None = None) -> None:
        """Run a statement without an answer. Raises LedgerUnavailable."""
        ...


COLUMNS = """
SELECT name FROM system.columns
WHERE database = currentDatabase() AND table = {table:String} AND default_kind != 'MATERIALIZED' ORDER BY
position
"""


class ClickHouse:
    """`Ledger` on ClickHouse. Writing and the rest have a connection each, as calls on one take turns."""

    def __init__(self, client: Client, writer: Writer, *, embedded: bool) -> None:
        self._client = client
        self._writer = writer
        self._whole: dict[str, bool] = {}
        self.embedded = embedded

    def insert(self, table: str, columns: Sequence[str], block: bytes, token: str) -> None:
        if table not in self._whole:
            known = [row["name"] for row in self.ask(COLUMNS, {"table": table})]
            self._whole[table] = known == list(columns)
        try:
            self._writer.write(table, block, token, whole=self._whole[table])
        except (ClickHouseError, RuntimeError, OSError) as error:
            self._whole.pop(table)  # another release may have added a column
            raise LedgerUnavailable(str(error)) from error

    def ask(self, sql: str, parameters: Mapping[str, Parameter]) -> list[dict[str, Json]]:
        try:
            answer = self._client.raw_query(sql, parameters=dict(parameters), fmt="JSONEachRow")
        except (ClickHouseError, OSError) as error:
            raise LedgerUnavailable(str(error)) from error
        return [_ROW.decode(line) for line in answer.splitlines()]

    def command(self, sql: str, parameters: Mapping[str, Parameter] | None = None) -> None:
        try:
            self._client.command(sql, parameters=dict(parameters or {}))
        except (ClickHouseError, OSError) as error:
            raise LedgerUnavailable(str(error)) from error

    def close(self) -> None:
        """Release the engine: another process may own the directory then."""
        self._writer.close()
        self._client.close()


_ROW: msgspec.json.Decoder[dict[str, Json]] = msgspec.json.Decoder(dict[str, object])  # pyright: ignore[reportAssignmentType]


def open_ledger(where: str, *, user: str | None = None, password: str = "") -> ClickHouse:
    """Open an http(s) URL, or the directory of an embedded ledger. Raises LedgerUnavailable.

    A directory has one owner at a time: a second process is refused.
    """
    try:
        if where.startswith(("http://", "https://")):
            writer = ServerWriter(_server(where, user, password))
            return ClickHouse(_server(where, user, password), writer, embedded=False)
        return ClickHouse(_engine(where), _engine_writer(where), embedded=True)
    except (ClickHouseError, RuntimeError, OSError) as error:
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


def _engine_writer(directory: str) -> EngineWriter:
    """On the engine that `_engine` has opened: it wants the same directory and options again."""
    import chdb  # 555 MB, for those alone who keep their ledger in it

    return EngineWriter(chdb.connect(f"{os.path.realpath(directory)}?{urlencode(ENGINE_OPTIONS)}"))
