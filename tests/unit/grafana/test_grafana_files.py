"""What is shipped for Grafana and Prometheus hangs together, and is what the script writes."""

from __future__ import annotations

import json
import re
from itertools import combinations
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY, CollectorRegistry
from support import grafana
from support.grafana import FOLDER, ROOT, Unexpanded, View, expand

from keyrail.telemetry import metrics
from keyrail_cost_accounting.metrics import Metrics
from scripts import dashboards

BOARDS = grafana.boards()
PANELS = [
    pytest.param(board, panel, id=f"{uid}/{panel['id']}")
    for uid, board in BOARDS.items()
    for panel in grafana.panels(board)
]
VIEW = View(1_767_225_600_000, 1_767_312_000_000, 60_000)
ALERTS = [
    pytest.param(rule, id=rule["uid"])
    for group in yaml.safe_load((FOLDER / "provisioning/alerting/keyrail.yaml").read_text())["groups"]
    for rule in group["rules"]
]
RULES = [
    pytest.param(rule, id=rule["alert"])
    for group in yaml.safe_load((FOLDER / "prometheus/keyrail-rules.yaml").read_text())["groups"]
    for rule in group["rules"]
]
TIME_FILTERS = r"\$__timeFilter(_ms)?\((c\.)?\w+\)|bucket >= .+ AND bucket <= \$__toTime"


def test_the_committed_dashboards_are_what_the_script_writes() -> None:
    committed = {file.name: file.read_text() for file in dashboards.FOLDER.glob("*")}
    assert committed == dashboards.files(), "run `make dashboards`"


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_a_dashboard_is_laid_out_without_overlaps(board: dict[str, Any]) -> None:
    assert 39 <= board["schemaVersion"] <= 41
    panels = list(grafana.panels(board))
    assert panels
    for key in ("id", "title"):
        assert len({panel[key] for panel in panels}) == len(panels), key
    for one, other in combinations([panel["gridPos"] for panel in panels], 2):
        apart = (
            one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        )  # fmt: skip
        assert apart, (one, other)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)


def test_dashboards_have_names_of_their_own() -> None:
    files = [json.loads(file.read_text()) for file in (FOLDER / "dashboards").glob("*.json")]
    for key in ("uid", "title"):
        assert len({board[key] for board in files}) == len(files) == 6


@pytest.mark.parametrize(("board", "panel"), PANELS)
def test_a_panel_asks_the_datasource_that_is_chosen_within_the_range(
    board: dict[str, Any], panel: dict[str, Any]
) -> None:
    assert panel["datasource"]["uid"] == "${DS_CLICKHOUSE}"
    assert panel["fieldConfig"]["defaults"]["unit"]
    known = tuple(each["name"] for each in board["templating"]["list"])
    for target in panel["targets"]:
        assert target["datasource"] == {"type": "grafana-clickhouse-datasource", "uid": "${DS_CLICKHOUSE}"}
        reads = re.findall(
            r"FROM (costs_\w+|attempts|requests|alerts|decisions) FINAL WHERE ([^\n]*)", target["rawSql"]
        )
        assert reads
        for _, where in reads:
            assert re.search(TIME_FILTERS, where), where
        assert len(reads) == len(
            re.findall(r"FROM (?:costs_|attempts|requests|alerts|decisions)", target["rawSql"])
        )
        expand(target["rawSql"], VIEW, known)


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_variables_take_several_values_or_all(board: dict[str, Any]) -> None:
    source, *queries = board["templating"]["list"]
    assert (source["name"], source["type"]) == ("DS_CLICKHOUSE", "datasource")
    assert [each["name"] for each in queries] == ["tenant", "team", "feature", "provider", "model"]
    for each in queries:
        assert each["datasource"]["uid"] == "${DS_CLICKHOUSE}"
        assert each["multi"]
        assert each["includeAll"]
        assert "allValue" not in each
        assert "$__timeFilter(" in each["query"]["rawSql"]


def test_no_uid_is_written_down_in_a_dashboard() -> None:
    uids = set(re.findall(r'"uid": "([^"]+)"', "".join(dashboards.files().values())))
    assert uids - set(BOARDS) == {"${DS_CLICKHOUSE}"}


@pytest.mark.parametrize(
    ("text", "becomes"),
    [
        ("$__fromTime $__toTime", "toDateTime(1767225600) toDateTime(1767312000)"),
        ("$__fromTime_ms", "fromUnixTimestamp64Milli(1767225600000)"),
        ("$__toTime_ms", "fromUnixTimestamp64Milli(1767312000000)"),
        ("$__timeFilter(at)", "at >= toDateTime(1767225600) AND at <= toDateTime(1767312000)"),
        (
            "$__timeFilter_ms(at)",
            "at >= fromUnixTimestamp64Milli(1767225600000) AND at <= fromUnixTimestamp64Milli(1767312000000)",
        ),
        ("$__dateFilter(d)", "d >= toDate('2026-01-01') AND d <= toDate('2026-01-02')"),
        (
            "$__dateTimeFilter(d, t)",
            "(d >= toDate('2026-01-01') AND d <= toDate('2026-01-02')) AND"
            " (t >= toDateTime(1767225600) AND t <= toDateTime(1767312000))",
        ),
        (
            "$__dt(d, t)",
            "(d >= toDate('2026-01-01') AND d <= toDate('2026-01-02')) AND"
            " (t >= toDateTime(1767225600) AND t <= toDateTime(1767312000))",
        ),
        ("$__timeInterval(at)", "toStartOfInterval(toDateTime(at), INTERVAL 60 second)"),
        ("$__timeInterval_ms(at)", "toStartOfInterval(toDateTime64(at, 3), INTERVAL 60000 millisecond)"),
        ("$__interval_s", "60"),
        ("$__conditionalAll(ifNull(team, ',)') IN (${team:singlequote}), $team) x", "1=1 x"),
    ],
)  # fmt: skip
def test_macros_expand_as_in_the_plugin(text: str, becomes: str) -> None:
    assert expand(text, VIEW, ("team",)) == becomes


def test_what_is_chosen_is_quoted() -> None:
    view = View(0, 1, 1, {"team": ["O'Brien", "b"]})
    text = "$__conditionalAll(team IN (${team:singlequote}), $team)"
    assert expand(text, view, ("team",)) == r"team IN ('O\'Brien','b')"


@pytest.mark.parametrize(
    "text", ["$__timefilter(at)", "$team", "${team:csv}", "$__timeFilter(a, b)", "${x:singlequote}"]
)
def test_what_grafana_does_not_know_is_an_error(text: str) -> None:
    with pytest.raises(Unexpanded):
        expand(text, VIEW, ("team",))


def test_the_datasource_is_the_reader_and_its_password_comes_from_the_environment() -> None:
    (source,) = yaml.safe_load((FOLDER / "provisioning/datasources/keyrail.yaml").read_text())["datasources"]
    assert source["type"] == "grafana-clickhouse-datasource"
    assert source["editable"] is False
    assert source["secureJsonData"] == {"password": "$KEYRAIL_CLICKHOUSE_READER_PASSWORD"}
    assert source["jsonData"]["username"] == "$KEYRAIL_CLICKHOUSE_READER"
    (provider,) = yaml.safe_load((FOLDER / "provisioning/dashboards/keyrail.yaml").read_text())["providers"]
    assert provider["allowUiUpdates"] is False
    documented = (ROOT / "docs/grafana.md").read_text()
    for name in re.findall(r"\$(KEYRAIL_\w+)", json.dumps(source)):
        assert f"`{name}`" in documented
    assert provider["options"]["path"] in documented


@pytest.mark.parametrize("rule", ALERTS)
def test_an_alert_on_money_asks_the_datasource_within_a_time(rule: dict[str, Any]) -> None:
    query, threshold = rule["data"]
    (source,) = yaml.safe_load((FOLDER / "provisioning/datasources/keyrail.yaml").read_text())["datasources"]
    assert query["datasourceUid"] == source["uid"]
    assert threshold["datasourceUid"] == "__expr__"
    assert rule["condition"] == threshold["refId"] == threshold["model"]["refId"]
    assert threshold["model"]["expression"] == query["refId"] == query["model"]["refId"]
    assert "$" not in json.dumps(rule), "Grafana would take it for a variable of the environment"
    assert re.search(r"(bucket|_at) (>=|IN) ", query["model"]["rawSql"])
    assert rule["annotations"]["summary"].endswith(".")


@pytest.mark.parametrize("rule", RULES)
def test_an_alert_on_operation_names_metrics_and_labels_that_there_are(rule: dict[str, Any]) -> None:
    Metrics(ledger := CollectorRegistry())
    found = {
        f"{family.name}_total" if family.type == "counter" else family.name
        for registry in (REGISTRY, ledger)
        for family in registry.collect()
    }
    used = set(re.findall(r"keyrail_\w+", rule["expr"]))
    assert used
    assert used <= found
    labels = {"service", "instance"}
    for each in vars(metrics).values():
        if name := getattr(each, "name", None):
            full = f"{name}_total" if isinstance(each, metrics.Counter) else name
            labels |= set(vars(each)["_names"]) if full in used else set()
    assert set(re.findall(r'(\w+)(?:=~|!~|!=|=)"', rule["expr"])) <= labels
    for grouped in re.findall(r"by \(([^)]*)\)", rule["expr"]):
        assert set(grouped.split(", ")) <= labels
    assert set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"])) <= labels
    assert rule["labels"]["severity"] in ("warning", "critical")
