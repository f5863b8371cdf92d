"""Migrations as they are rendered for a server, for a cluster, and for Cloud."""

from __future__ import annotations

import re

import pytest

from keyrail_cost_accounting.layout import Layout, UnknownStatement
from keyrail_cost_accounting.lock import holder
from keyrail_cost_accounting.migrate import TABLE, Migration, access, compared, shipped

REPLICAS = Layout("main", replicated=True)
FILES = [*shipped(), access(), Migration("migrations", TABLE)]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_for_one_server_a_statement_is_as_shipped(file: Migration) -> None:
    for statement in file.statements:
        assert Layout().render(statement) == statement


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_for_a_cluster_every_statement_runs_on_it_and_every_table_is_replicated(file: Migration) -> None:
    for statement in file.statements:
        rendered = REPLICAS.render(statement)
        assert rendered.count(" ON CLUSTER 'main'") == 1
        assert rendered.count("MergeTree") == rendered.count("Replicated")
        assert (
            rendered.replace(" ON CLUSTER 'main'", "")
            .replace("Replicated", "")
            .replace("'/clickhouse/tables/{uuid}/{shard}', '{replica}', ", "")
            .replace("('/clickhouse/tables/{uuid}/{shard}', '{replica}')", "")
            == statement
        )


def test_an_engine_keeps_its_own_arguments() -> None:
    assert REPLICAS.render("CREATE TABLE t (a UInt8) ENGINE = ReplacingMergeTree(a) ORDER BY a") == (
        "CREATE TABLE t ON CLUSTER 'main' (a UInt8) ENGINE = ReplicatedReplacingMergeTree("
        "'/clickhouse/tables/{uuid}/{shard}', '{replica}', a) ORDER BY a"
    )
    assert Layout(None, replicated=True).render("CREATE TABLE t (a UInt8) ENGINE = MergeTree") == (
        "CREATE TABLE t (a UInt8)"
        " ENGINE = ReplicatedMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}')"
    )


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE MATERIALIZED VIEW v TO t AS SELECT 1",
        "CREATE VIEW v AS SELECT 1",
        "CREATE TABLE other.t (a UInt8) ENGINE = MergeTree ORDER BY a",
        "CREATE TABLE t (a UInt8) ENGINE = Log",
        "CREATE TABLE t (a UInt8) ORDER BY a",
        "CREATE TABLE t (a UInt8) ENGINE = ReplicatedMergeTree('/x', 'y') ORDER BY a",
        "CREATE TABLE t AS u ENGINE = MergeTree ORDER BY a",
        "ALTER TABLE a.b DROP COLUMN c",
        "OPTIMIZE TABLE t FINAL",
        "INSERT INTO t SELECT 1",
        "DROP DATABASE d",
        "",
    ],
)
def test_a_statement_of_another_form_is_refused_for_every_layout(statement: str) -> None:
    for layout in (Layout(), REPLICAS):
        with pytest.raises(UnknownStatement):
            layout.render(statement)


def test_a_clusters_name_can_not_be_sql() -> None:
    assert Layout("{cluster}").render("DROP TABLE t") == "DROP TABLE t ON CLUSTER '{cluster}'"
    with pytest.raises(ValueError, match="cluster"):
        Layout("a' SYNC --")


def test_a_ledger_is_compared_with_what_is_shipped() -> None:
    one, two = Migration("0001_a.sql", "SELECT 1"), Migration("0002_b.sql", "SELECT 2")

    state = compared([one, two], {one.name: "other", "0003_c.sql": "x"})

    assert (state.pending, state.changed, state.later) == (("0002_b.sql",), ("0001_a.sql",), ("0003_c.sql",))
    assert not state.current
    assert compared([one], {one.name: one.sha256, "0003_c.sql": "x"}).current


def test_a_lock_says_who_and_until_when() -> None:
    held = holder("who=me@host:7 token=0a until=1767225600", 1767225599)
    dead = holder("who=me@host:7 token=0a until=1767225600", 1767225600)
    strange = holder("somebody's own table", 1767225600)

    assert "me@host:7" in str(held)
    assert "2026-01-01T00:00:00Z" in str(held)
    assert (held.expired, dead.expired, strange.expired) == (False, True, False)
    assert "--take-over" in str(dead)
    assert "by hand" in str(strange)


def test_every_table_of_a_migration_is_replicated_by_deduplicating_what_is_inserted_twice() -> None:
    """An insert that is retried with its token is dropped only where a window is kept."""
    for migration in shipped():
        for statement in migration.statements:
            if statement.startswith("CREATE TABLE"):
                assert re.search(r"non_replicated_deduplication_window = \d+", statement), statement[:60]
