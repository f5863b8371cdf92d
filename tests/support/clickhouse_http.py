"""ClickHouse's HTTP interface in front of chDB: `python -m support.clickhouse_http DIRECTORY PORT`.

It speaks as much of the interface as clickhouse-connect uses. `POST /faults` with a JSON list of `Fault`
says what goes wrong from then on, `GET /seen` what was asked. It proves nothing of grants and replication.
"""

from __future__ import annotations

import gzip
import json
import re
import socket
import struct
import sys
import threading
import time
from base64 import b64decode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from tempfile import NamedTemporaryFile
from typing import Literal
from urllib.parse import parse_qsl, urlencode, urlsplit

import chdb
import lz4.frame
import msgspec
from backports import zstd
from chdb.state.sqlitelike import Connection

from keyrail_cost_accounting.ledger import ENGINE_OPTIONS

PASSWORD = "right"
"""Of the user `writer`; `default` has none."""

HTTP_ONLY = frozenset(
    {"query", "database", "default_format", "session_id", "query_id", "wait_end_of_query", "role"}
    | {"client_protocol_version", "compress", "decompress", "enable_http_compression", "session_timeout"}
    | {"send_progress_in_http_headers", "http_headers_progress_interval_ms", "quota_key"}
    | {"cancel_http_readonly_queries_on_client_close"}
)
INSERT = re.compile(rb"\s*(INSERT\s+INTO\s.*?)\s+FORMAT\s+(\w+)[ ;]*(?:\r?\n|$)", re.DOTALL | re.IGNORECASE)
STATUS_OF = {62: 400, 47: 400, 60: 404, 81: 404, 497: 403, 516: 403, 241: 500, 252: 500, 159: 408}
"""Of exceptions; others are 500."""


class Fault(msgspec.Struct, kw_only=True):
    """What happens to the next `times` requests whose query has `match` in it (`times` below 0: to all).

    `when`: before the engine has done it, or after. `error` answers with `status` and, unless 0, an
    exception `code`; `hang` never answers, `slow` after `seconds`; `cut` closes the connection: before, when
    half of the request is read, after, when half of the answer is written.
    """

    kind: Literal["error", "hang", "slow", "cut"]
    when: Literal["before", "after"] = "before"
    match: str = ""
    times: int = 1
    status: int = 500
    code: int = 0
    message: str = "injected"
    seconds: float = 0.0


class Seen(msgspec.Struct):
    """Tokens of the inserts that came, in order, and in `applied` of those that the engine did."""

    tokens: list[str]
    applied: list[str]
    queries: int


class Refused(Exception):
    """What ClickHouse answers instead of a result."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Engine:
    """One chDB connection; statements take turns."""

    def __init__(self, directory: str) -> None:
        options = {**ENGINE_OPTIONS, "background_schedule_pool_size": 2}
        self._connection: Connection = chdb.connect(f"{directory}?{urlencode(options)}")
        self._lock = threading.Lock()
        self._changed: set[str] = set()

    def run(self, query: bytes, parameters: dict[str, str], form: str) -> bytes:
        """The result in the format that the query, else `form`, names. Raises Refused."""
        with self._lock:
            try:
                self._set(parameters)
                if insert := INSERT.match(query):
                    self._insert(insert, query[insert.end() :])
                    return b""
                return self._connection.query(query.decode(), form).bytes() or b""
            except Exception as error:
                found = re.search(r"Code: (\d+)\.", str(error))
                raise Refused(int(found[1]) if found else 1002, str(error)) from error

    def _insert(self, insert: re.Match[bytes], body: bytes) -> None:
        """By a file: chDB's streaming insert does not tell of an error after it has read all."""
        with NamedTemporaryFile() as file:
            file.write(body)
            file.flush()
            text = f"{insert[1].decode()} FROM INFILE '{file.name}' FORMAT {insert[2].decode()}"
            self._connection.query(text)

    def _set(self, parameters: dict[str, str]) -> None:
        run = self._connection.query
        run(f"USE `{parameters.get('database', 'default')}`")
        wanted = {name: value for name, value in parameters.items() if name not in HTTP_ONLY}
        for name in self._changed - wanted.keys():
            if not name.startswith("param_"):
                run(f"SET {name} = DEFAULT")
        for name, value in wanted.items():
            text = value.replace("\\", "\\\\").replace("'", "\\'")
            run(f"SET {name} = '{text}'")
        self._changed = set(wanted)


class State:
    """What all connections share."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.seen = Seen([], [], 0)
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self.released = threading.Event()

    def replace(self, faults: list[Fault]) -> None:
        """From now on; what hangs is let go."""
        with self._lock:
            self._faults = faults
            self.released.set()
            self.released = threading.Event()

    def fault(self, query: bytes, when: str) -> Fault | None:
        """The fault that this request meets, which is used up by one."""
        with self._lock:
            for fault in self._faults:
                if fault.times and fault.when == when and fault.match.encode() in query:
                    fault.times -= 1
                    return fault
        return None


def _unpacked(data: bytes, encoding: str | None) -> bytes:
    match encoding:
        case "gzip":
            return gzip.decompress(data)
        case "lz4":
            return lz4.frame.decompress(data)
        case "zstd":
            return zstd.decompress(data)
        case _:
            return data


def _packed(data: bytes, accepted: str) -> tuple[bytes, str | None]:
    for name in (each.strip() for each in accepted.split(",")):
        match name:
            case "gzip":
                return gzip.compress(data, 1), name
            case "lz4":
                return lz4.frame.compress(data), name
            case "zstd":
                return zstd.compress(data, 1), name
            case _:
                continue
    return data, None


class Cut(Exception):
    """The connection is closed now."""


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    state: State

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path == "/ping":
            self._answer(200, b"Ok.\n")
        elif path == "/seen":
            self._answer(200, msgspec.json.encode(self.state.seen))
        else:
            self._query(b"")

    def do_POST(self) -> None:
        try:
            if urlsplit(self.path).path == "/faults":
                self.state.replace(msgspec.json.decode(self._body(), type=list[Fault]))
                self._answer(200, b"")
            elif (body := self._body_or_fault()) is not None:
                self._query(body)
        except Cut:
            self._reset()
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def _parameters(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "") == "chunked":
            parts: list[bytes] = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _body_or_fault(self) -> bytes | None:
        """The body; None when a fault of before was the answer. Raises Cut."""
        size = int(self.headers.get("Content-Length", 0))
        head = self.rfile.peek(min(size, 200))[:200] if size else b""  # pyright: ignore[reportAttributeAccessIssue]
        query = self._parameters().get("query", "").encode() + b" " + head
        if INSERT.match(query.lstrip()):
            self.state.seen.tokens.append(self._parameters().get("insert_deduplication_token", ""))
        fault = self.state.fault(query, "before")
        if fault is not None and fault.kind == "cut":
            self.rfile.read(size // 2)
            raise Cut
        body = self._body()
        return None if fault is not None and self._inflict(fault) else body

    def _query(self, body: bytes) -> None:
        parameters = self._parameters()
        body = _unpacked(body, self.headers.get("Content-Encoding"))
        first = parameters.get("query", "").encode()
        query = b"\n".join(part for part in (first, body) if part)
        insert = INSERT.match(query) is not None
        token = parameters.get("insert_deduplication_token", "")
        self.state.seen.queries += 1
        try:
            self._authenticate(parameters)
            result = self.state.engine.run(
                query, parameters, parameters.get("default_format", "TabSeparated")
            )
        except Refused as refused:
            self._exception(STATUS_OF.get(refused.code, 500), refused.code, str(refused))
            return
        if insert:
            self.state.seen.applied.append(token)
        fault = self.state.fault(query, "after")
        if fault is not None and self._inflict(fault, result):
            return
        self._answer(200, result, "Summary", json.dumps({"written_rows": "0", "read_rows": "0"}))

    def _authenticate(self, parameters: dict[str, str]) -> None:
        given = self.headers.get("Authorization", "")
        user, _, password = b64decode(given.removeprefix("Basic ")).decode().partition(":")
        if (user or "default", password) not in {("default", ""), ("writer", PASSWORD)}:
            raise Refused(
                516, f"Code: 516. DB::Exception: {user}: Authentication failed. (AUTHENTICATION_FAILED)"
            )

    def _inflict(self, fault: Fault, result: bytes = b"") -> bool:
        """Do what the fault says. False: the answer is given as it is nevertheless. Raises Cut."""
        match fault.kind:
            case "error" if fault.code:
                self._exception(fault.status, fault.code, fault.message)
            case "error":
                self._answer(fault.status, b"injected")
            case "hang":
                self.state.released.wait()
                raise Cut
            case "slow":
                time.sleep(fault.seconds)
                return False
            case "cut":
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n" % (len(result) + 2))
                if result:
                    self.wfile.write(b"\r\n" + result[: len(result) // 2])
                self.wfile.flush()
                raise Cut
        return True

    def _exception(self, status: int, code: int, text: str) -> None:
        self._answer(status, text.encode(), "Exception-Code", str(code))

    def _answer(self, status: int, data: bytes, more: str = "", value: str = "") -> None:
        wants = self._parameters().get("enable_http_compression") == "1" and bool(data)
        data, encoding = _packed(data, self.headers.get("Accept-Encoding", "")) if wants else (data, None)
        self.send_response(status)
        if encoding is not None:
            self.send_header("Content-Encoding", encoding)
        if more:
            self.send_header(f"X-ClickHouse-{more}", value)
        self.send_header("X-ClickHouse-Timezone", "UTC")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        self.close_connection = self.close_connection or status == 503

    def _reset(self) -> None:
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.shutdown(socket.SHUT_RDWR)


class Server(ThreadingHTTPServer):
    """A thread a connection, none of which is waited for."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no news."""


def main(directory: str, port: str) -> None:
    Handler.state = State(Engine(directory))
    with Server(("127.0.0.1", int(port)), Handler) as server:
        sys.stdout.write(f"{server.server_address[1]}\n")
        sys.stdout.flush()
        server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
