"""Migrations on a real engine: rendered for a cluster, one at a time, interrupted, and who may do what."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from support.attempts import ended, started
from support.clickhouse_process import ClickHouseProcess

import keyrail_cost_accounting
from keyrail.contracts.base import Json, encode_all, now_ms
from keyrail.contracts.ledger import CostsQuery
from keyrail_cost_accounting import blocks, costs, rollups, schema
from keyrail_cost_accounting import migrate as migrations
from keyrail_cost_accounting.layout import Layout
from keyrail_cost_accounting.ledger import ClickHouse, LedgerUnavailable, Parameter, open_ledger
from keyrail_cost_accounting.lock import NAME, Lock, Locked
from keyrail_cost_accounting.migrate import TABLE, Migration, MigrationChanged, access, shipped
from keyrail_cost_accounting.rows import Rows
from keyrail_embedded.home import Home

DAY_MS = 86_400_000
NOW_S = 1_800_000_000
ROOT = Path(__file__).parents[3]
REPLICAS = Layout("main", replicated=True)
DDL = [
    f"CREATE TABLE {NAME} (held UInt8) ENGINE = Null COMMENT 'x'",
    f"ALTER TABLE {NAME} MODIFY COMMENT 'x'",
    f"RENAME TABLE {NAME} TO {NAME}_0a",
    f"DROP TABLE IF EXISTS {NAME} SYNC",
]


def parses(ledger: ClickHouse, statement: str) -> bool:
    """Whether the engine's own parser takes it. Nothing is executed."""
    try:
        ledger.command(f"EXPLAIN AST {statement}")
    except LedgerUnavailable as error:
        if not str(error).startswith("Code: 62."):  # SYNTAX_ERROR
            raise
        return False
    return True


@pytest.mark.parametrize(
    "file",
    [*shipped(), access(), Migration("of the migrations", TABLE), Migration("lock", ";\n".join(DDL))],
    ids=lambda file: file.name,
)
def test_what_a_cluster_is_told_is_valid_to_the_engines_parser(engine: ClickHouse, file: Migration) -> None:
    for statement in file.statements:
        rendered = REPLICAS.render(statement)
        assert parses(engine, rendered), rendered
        broken = rendered.replace(" ON CLUSTER 'main'", " ON CLUSTER 'main' ON", 1)
        assert not parses(engine, broken), "the parser does refuse what is not valid"


def test_the_example_of_users_is_valid(engine: ClickHouse) -> None:
    text = (ROOT / "deploy/clickhouse/users.sql").read_text()
    statements = Migration("users.sql", text).statements
    assert len(statements) == 7
    for statement in statements:
        assert parses(engine, statement), statement


@dataclass
class Server:
    """The engine as if it were a server; it can be away, and each statement is noted."""

    inner: ClickHouse
    lives: int = 1 << 30
    embedded: bool = False
    said: list[str] = field(default_factory=list[str])

    def insert(self, table: str, columns: Sequence[str], block: bytes, token: str) -> None:
        raise AssertionError("no migration inserts rows")

    def ask(self, sql: str, parameters: Mapping[str, Parameter]) -> list[dict[str, Json]]:
        return self.inner.ask(sql, parameters)

    def command(self, sql: str, parameters: Mapping[str, Parameter] | None = None) -> None:
        self.lives -= 1
        if self.lives < 0:
            raise LedgerUnavailable("killed")
        self.said.append(sql)
        self.inner.command(sql, parameters)


@pytest.fixture
def fresh(engine: ClickHouse) -> Iterator[ClickHouse]:
    """A database of its own, without a table."""
    engine.command("CREATE DATABASE IF NOT EXISTS fresh")
    engine.command("USE fresh")
    for row in engine.ask("SELECT name FROM system.tables WHERE database = 'fresh'", {}):
        engine.command(f"DROP TABLE {row['name']} SYNC")
    yield engine
    engine.command("USE default")


def alone(server: Server, wait_s: float = 0, *, take_over: bool = False) -> list[str]:
    return schema.migrate_alone(server, Layout(), "tester", wait_s=wait_s, take_over=take_over)


def test_two_at_once_apply_every_migration_once(fresh: ClickHouse) -> None:
    servers = [Server(fresh) for _ in range(4)]
    refused: list[str] = []
    applied: list[list[str]] = []
    together = threading.Barrier(len(servers))

    def one(server: Server) -> None:
        together.wait()
        try:
            applied.append(alone(server, wait_s=30))
        except Locked as error:
            refused.append(str(error))

    threads = [threading.Thread(target=one, args=(server,)) for server in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert refused == []
    assert sorted(applied, key=len) == [[], [], [], [each.name for each in shipped()]]
    marks = fresh.ask("SELECT name, count() AS n FROM migrations GROUP BY name ORDER BY name", {})
    assert marks == [{"name": each.name, "n": 1} for each in shipped()]
    assert fresh.ask("SELECT name FROM system.tables WHERE name LIKE 'migration_lock%'", {}) == []


def test_who_waits_waits_no_longer_than_it_said(fresh: ClickHouse) -> None:
    first = Lock(fresh, Layout(), "ann@there:1")
    first.acquire(0)
    slept: list[float] = []

    with pytest.raises(Locked, match="ann@there:1"):
        Lock(fresh, Layout(), "bob", sleep=slept.append).acquire(1)
    with pytest.raises(Locked, match="ann@there:1"):
        alone(Server(fresh), take_over=True)
    assert slept
    first.release()

    assert alone(Server(fresh)) == [each.name for each in shipped()]


def test_a_migration_that_died_is_taken_over_once_its_lock_has_expired(fresh: ClickHouse) -> None:
    points = 0
    while True:
        server = Server(fresh, lives=points)
        try:
            alone(server, take_over=True)
            break
        except LedgerUnavailable:
            points += 1
        held = fresh.ask("SELECT comment FROM system.tables WHERE name = {n:String}", {"n": NAME})
        if held:
            with pytest.raises(Locked, match="tester"):
                alone(Server(fresh), take_over=True)
            expired = re.sub(r"until=\d+", "until=1", str(held[0]["comment"]))
            fresh.command(f"ALTER TABLE {NAME} MODIFY COMMENT '{expired}'")
            with pytest.raises(Locked, match="--take-over"):
                alone(Server(fresh))

    assert points > len(shipped()), "it died before each of its statements"
    assert migrations.state(fresh).current
    assert fresh.ask("SELECT name FROM system.tables WHERE name LIKE 'migration_lock%'", {}) == []


def test_a_lock_that_was_taken_over_stops_who_had_it(fresh: ClickHouse) -> None:
    slow = Lock(fresh, Layout(), "slow", lease_s=-1)
    slow.acquire(0)
    quick, other = Lock(fresh, Layout(), "quick"), Lock(fresh, Layout(), "other")
    quick.acquire(0, take_over=True)

    with pytest.raises(Locked, match="lost its lock"):
        slow.renew()
    slow.release()
    with pytest.raises(Locked, match="quick"):
        other.acquire(0, take_over=True)
    quick.renew()
    quick.release()
    other.acquire(0)
    other.release()


async def test_a_service_that_only_checks_waits_until_somebody_has_migrated(fresh: ClickHouse) -> None:
    waiting = asyncio.create_task(schema.awaited(fresh, look_s=0.01)())
    await asyncio.sleep(0)
    assert migrations.state(fresh).pending == tuple(each.name for each in shipped())
    assert not waiting.done()

    await asyncio.to_thread(alone, Server(fresh))

    async with asyncio.timeout(10):
        await waiting


async def test_a_service_does_not_start_on_a_schema_that_nobody_knows(fresh: ClickHouse) -> None:
    migrations.migrate(fresh)
    fresh.command("INSERT INTO migrations SELECT '0001_ledger.sql', 'other', now64(3) + 1")

    with pytest.raises(MigrationChanged, match="0001"):
        await schema.awaited(fresh)()


ACCESS = re.compile(r"GRANT ([A-Z, ]+) ON (\w+) TO (\w+)")
USES = re.compile(r"(INSERT INTO|FROM|JOIN|DELETE FROM) (\w+)\b")


def granted(role: str) -> set[tuple[str, str]]:
    """(verb, table) of a role."""
    found: set[tuple[str, str]] = set()
    for statement in access().statements:
        if match := ACCESS.fullmatch(statement):
            found |= {(verb, match[2]) for verb in match[1].split(", ") if match[3] == role}
    return found


def test_the_writer_may_do_what_the_services_statements_do_and_nothing_else() -> None:
    """From the source: each table that a statement of the service names, and what it does to it."""
    tables = {
        match[1]
        for file in shipped()
        for match in re.finditer(r"CREATE TABLE IF NOT EXISTS (\w+)", file.text)
    } | {"migrations"}
    package = Path(keyrail_cost_accounting.__file__).parent
    needed: set[tuple[str, str]] = set()
    texts = [each.read_text() for each in package.rglob("*.py") if each.name not in ("migrate.py", "lock.py")]
    texts += [each.sql for each in rollups.statements(rollups.plan([0, NOW_S], NOW_S))]
    texts.append(costs.costs(CostsQuery(by="team"), NOW_S * 1000).sql)
    for text in texts:
        for verb, table in USES.findall(text):
            if table in tables:
                needed.add(
                    ({"INSERT INTO": "INSERT", "DELETE FROM": "ALTER DELETE"}.get(verb, "SELECT"), table)
                )
    needed |= {("INSERT", table) for table in blocks.COLUMNS}

    may = granted("keyrail_writer")

    assert needed >= {("INSERT", "costs_day"), ("SELECT", "costs_minute"), ("SELECT", "rollups")}
    assert needed <= may
    assert {table for _, table in may} == tables, "no table is forgotten, none is made up"
    assert {verb for verb, _ in may} == {"SELECT", "INSERT", "ALTER DELETE"}, "no DDL"
    assert ("INSERT", "migrations") not in may
    assert {table for verb, table in may if verb == "ALTER DELETE"} == {"contents"}


def test_a_reader_reads_all_but_contents() -> None:
    may, secret = granted("keyrail_reader"), granted("keyrail_contents_reader")

    assert {verb for verb, _ in may | secret} == {"SELECT"}
    assert {table for _, table in secret} == {"contents"}
    assert {table for _, table in may} == {
        table
        for _, table in granted("keyrail_writer")
        if table not in ("contents", "contents_deleted", "migrations")
    }
    (profile,) = [each for each in access().statements if each.startswith("CREATE SETTINGS PROFILE")]
    assert "readonly = 1" in profile
    assert all("keyrail_reading" in each for each in access().statements if each.startswith("ALTER ROLE"))


def cli(home: Path, *arguments: str, ledger: str | None = None) -> subprocess.CompletedProcess[str]:
    """The command as a process: an engine has one directory a process."""
    place = {} if ledger is None else {"KEYRAIL_LEDGER": ledger}
    return subprocess.run(
        [str(Path(sys.executable).with_name("keyrail")), "migrate", *arguments],
        env={"PATH": os.environ["PATH"], "KEYRAIL_HOME": str(home), **place},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_migrates_a_home_that_is_not_running(tmp_path: Path) -> None:
    nothing = cli(tmp_path, "--check")
    assert (nothing.returncode, "`keyrail up` makes one" in nothing.stderr) == (1, True)
    (tmp_path / "ledger").mkdir()

    before = cli(tmp_path, "--check", "--json")
    done = cli(tmp_path)
    after = cli(tmp_path, "--check")

    assert before.returncode == 1
    assert json.loads(before.stdout)["pending"] == [each.name for each in shipped()]
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [f"applied {each.name}" for each in shipped()]
    assert (after.returncode, after.stdout) == (0, "up to date\n")


def test_the_command_leaves_a_home_alone_that_is_running(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.ledger.mkdir()
    home.lock()
    home.write_run({"pid": os.getpid(), "url": "http://127.0.0.1:1"})
    try:
        said = cli(tmp_path, "--json")
        rebuilt = cli(tmp_path, "--rebuild-sums")
    finally:
        home.release()

    assert said.returncode == 0, said.stderr
    assert json.loads(said.stdout)["running"] is True
    assert (rebuilt.returncode, "Stop it to rebuild its sums" in rebuilt.stderr) == (1, True)
    assert not list(home.ledger.iterdir())


@pytest.fixture
def clickhouse(tmp_path: Path) -> Iterator[ClickHouseProcess]:
    process = ClickHouseProcess(tmp_path / "clickhouse")
    process.start()
    yield process
    process.kill()


def test_the_command_computes_sums_again_from_the_rows(clickhouse: ClickHouseProcess, tmp_path: Path) -> None:
    assert cli(tmp_path, ledger=clickhouse.url).returncode == 0
    ledger = open_ledger(clickhouse.url)
    today_ms = now_ms() // DAY_MS * DAY_MS
    rows = Rows()
    for days in (20, 30):
        start = started(started_ms=today_ms - days * DAY_MS)
        rows.read(encode_all([ended(start, cost="0.5")]))
    ledger.insert("attempts", blocks.COLUMNS["attempts"], blocks.encode("attempts", rows.attempts), "rows")
    since = datetime.fromtimestamp((today_ms - 25 * DAY_MS) / 1000, UTC).date().isoformat()

    def sums() -> str:
        (row,) = ledger.ask("SELECT toString(sum(cost_usd)) AS usd FROM costs_day FINAL", {})
        return f"{Decimal(str(row['usd'])).normalize():f}"

    later = cli(tmp_path, "--rebuild-sums", "--since", since, ledger=clickhouse.url)
    assert later.stdout == "computed the sums of 1 minutes again, and of their hours and days\n", later.stderr
    assert sums() == "0.5"
    everything = cli(tmp_path, "--rebuild-sums", "--json", ledger=clickhouse.url)
    assert json.loads(everything.stdout)["rebuilt_minutes"] == 2, everything.stderr
    assert sums() == "1"
    ledger.close()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--rebuild-sums", "--since", "yesterday"), "must be a day, such as"),
        (("--since", "2026-07-01"), "--since is for --rebuild-sums"),
        (("--check", "--rebuild-sums"), "--check changes nothing"),
    ],
)
def test_the_command_refuses_what_it_would_not_do(
    tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    refused = cli(tmp_path, *arguments)
    assert refused.returncode != 0
    assert said in refused.stderr
