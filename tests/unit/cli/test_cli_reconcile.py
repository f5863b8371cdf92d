"""`keyrail reconcile` and `keyrail report-keys`, with an admin API and providers of the test's own."""

from __future__ import annotations

import csv
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from support.admin import Admin

from keyrail.http import reports as http_reports
from keyrail_cli import main

REPORTS = Path(__file__).parents[1] / "reconciliation" / "reports"
CANARY = "sk-admin-canary-of-reconcile-4410"
DAYS = ("--from", "2026-11-01", "--to", "2026-11-02")
SUM: dict[str, object] = {
    "day": "2026-11-01",
    "key_id": "main",
    "requests": 2,
    "input_tokens": 100,
    "output_tokens": 10,
}


def serve(admin: Admin, provider: str, sums: list[dict[str, object]], lines: list[dict[str, object]]) -> None:
    at = f"/v1/reports/{provider}"
    admin.on(f"POST {at}", {"stored": 1})
    admin.rows(f"{at}?from=2026-11-01&to=2026-11-02", *lines)
    admin.rows(f"{at}/ledger?from=2026-10-31&to=2026-11-02", *sums)


def sent(admin: Admin) -> list[dict[str, Any]]:
    return [line for what, body in admin.asked if what.startswith("POST") for line in body["lines"]]


def plain(cost: str, key: str = "main", **more: object) -> dict[str, object]:
    return {"day": "2026-11-01", "kind": "cost", "account_key": key, "model": "m", "cost_usd": cost} | {
        "source": "openai-costs",
        **more,
    }


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "usage.csv"
    path.write_text(
        "day,key,model,requests,input_tokens,output_tokens,cost_usd\n2026-11-01,main,m,2,100,10,1.5\n"
    )
    return path


def test_a_file_is_kept_and_compared(admin: Admin, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    serve(admin, "groq", [SUM | {"model": "m", "cost_usd": "1.5"}], [plain("1.5")])
    assert main.main(["reconcile", "groq", *DAYS, "--file", str(file)]) == 0
    (line,) = sent(admin)
    assert (line["account_key"], line["cost_usd"], line["source"]) == ("main", "1.500000000000", "csv")
    said = capsys.readouterr().out
    assert "ties out" in said
    assert "tied out 100 %, explained 100 %, unexplained 0 USD" in said


def test_json_has_buckets_total_and_what_was_read(
    admin: Admin, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    serve(admin, "groq", [SUM | {"model": "m", "cost_usd": "1"}], [plain("1.5")])
    assert main.main(["reconcile", "groq", *DAYS, "--file", str(file), "--json"]) == 1
    out, err = capsys.readouterr()
    said = json.loads(out)
    assert said["buckets"][0]["unexplained"] == said["total"]["unexplained_usd"] == "0.5"
    assert said["total"]["explained_share"] == "0.666667"
    assert said["reports"] == [
        {"source": "csv", "rows": 1, "lines": 1, "empty": 0, "not_understood": 0, "problems": []}
    ]
    assert err == "keyrail: 0.5 USD are unexplained, more than 0.001 of the invoice\n"


@pytest.mark.parametrize(("tolerance", "code"), [("0.34", 0), ("0.33", 1)])
def test_the_tolerance_is_a_share_of_the_invoice(admin: Admin, tolerance: str, code: int) -> None:
    serve(admin, "groq", [SUM | {"model": "m", "cost_usd": "1"}], [plain("1.5")])
    assert main.main(["reconcile", "groq", *DAYS, "--tolerance", tolerance]) == code


def test_csv_is_safe_to_open(admin: Admin, capsys: pytest.CaptureFixture[str]) -> None:
    serve(admin, "groq", [SUM | {"model": "m", "cost_usd": "1"}], [plain("1"), plain("2", "=cmd()")])
    assert main.main(["reconcile", "groq", *DAYS, "--format", "csv"]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [(row["key"], row["outside"]) for row in rows] == [("'=cmd()", "2"), ("main", "")]


def test_a_line_that_is_not_understood_is_said_and_fails(
    admin: Admin, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    serve(admin, "groq", [SUM | {"model": "m", "cost_usd": "1.5"}], [plain("1.5")])
    file.write_text(file.read_text() + "2026-11-01,main,m,x,,,\n")
    assert main.main(["reconcile", "groq", *DAYS, "--file", str(file)]) == 1
    err = capsys.readouterr().err
    assert "csv, line 3: requests is not a number" in err
    assert "1 of 2 lines were not understood" in err


def test_keys_are_mapped_as_told(admin: Admin, file: Path) -> None:
    serve(
        admin, "groq", [SUM | {"model": "m", "cost_usd": "1.5"}], [plain("1.5", "key_a"), plain("9", "key_b")]
    )
    options = ["--file", str(file), "--key", "main=other", "--key", "key_a=main"]
    assert main.main(["reconcile", "groq", *DAYS, *options]) == 0
    assert sent(admin)[0]["key_id"] == "other"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("--from 2026-11-02 --to 2026-11-01", "--to is before --from"),
        ("--from 2026-11-01 --to 2026-11-02 --file none.csv", "none.csv: No such file"),
    ],
)
def test_what_cannot_be_done_is_a_sentence(
    admin: Admin, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    assert main.main(["reconcile", "groq", *text.split()]) == 1
    assert message in capsys.readouterr().err


def test_the_same_money_twice_is_refused(
    admin: Admin, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    serve(admin, "openai", [], [])
    files = ["--file", str(file), "--file", str(REPORTS / "openai-costs.json")]
    assert main.main(["reconcile", "openai", *DAYS, *files]) == 1
    assert "two of the reports have money of 2026-11-01" in capsys.readouterr().err
    assert sent(admin) == []


def test_days_without_a_report_are_not_tied_out(admin: Admin, capsys: pytest.CaptureFixture[str]) -> None:
    serve(admin, "groq", [], [])
    assert main.main(["reconcile", "groq", *DAYS]) == 1
    assert "no report of these days was imported" in capsys.readouterr().err


# fetching


@dataclass
class Provider:
    """Serves pages on this machine, by path and cursor, after some failures."""

    pages: dict[tuple[str, str | None], bytes] = field(default_factory=dict[tuple[str, str | None], bytes])
    failures: list[int] = field(default_factory=list[int])
    asked: list[tuple[str, list[tuple[str, str]], dict[str, str]]] = field(
        default_factory=list[tuple[str, list[tuple[str, str]], dict[str, str]]]
    )
    url: str = ""


@pytest.fixture
def provider() -> Iterator[Provider]:
    behind = Provider()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = parse_qsl(parts.query)
            headers = {name.lower(): value for name, value in self.headers.items()}
            behind.asked.append((parts.path, query, headers))
            status, body = 200, behind.pages.get((parts.path, dict(query).get("page")))
            if behind.failures:
                status, body = behind.failures.pop(0), f"no: {CANARY}".encode()
            self.send_response(status if body is not None else 404)
            self.send_header("retry-after", "0")
            self.send_header("content-length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    behind.url = f"http://127.0.0.1:{server.server_port}"
    yield behind
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, provider: Provider) -> Path:
    monkeypatch.setenv("KEYRAIL_HOME", str(tmp_path / "home"))
    for name in ("OPENAI", "ANTHROPIC", "OPENROUTER"):
        monkeypatch.setenv(f"KEYRAIL_REPORTS_{name}_URL", provider.url)
    return tmp_path / "home"


@pytest.fixture
def key(home: Path, piped: Callable[[bytes], None]) -> None:
    for name in ("openai", "anthropic", "openrouter"):
        piped(f"{CANARY}\n".encode())
        assert main.main(["report-keys", "add", name]) == 0


def empty(**more: object) -> bytes:
    return json.dumps({"object": "page", "data": [], "has_more": False, **more}).encode()


USAGE = "/v1/organization/usage/completions"


def openai(provider: Provider) -> None:
    provider.pages |= {
        (USAGE, None): empty(has_more=True, next_page="p2"),
        (USAGE, "p2"): (REPORTS / "openai-usage.json").read_bytes(),
        ("/v1/organization/usage/embeddings", None): empty(),
        ("/v1/organization/costs", None): (REPORTS / "openai-costs.json").read_bytes(),
    }


@pytest.mark.usefixtures("key")
def test_openai_is_asked_page_by_page(admin: Admin, provider: Provider) -> None:
    openai(provider)
    serve(admin, "openai", [SUM | {"model": "m", "cost_usd": "1"}], [plain("1")])
    assert main.main(["reconcile", "openai", *DAYS, "--fetch"]) == 0
    assert len(sent(admin)) == 5
    path, query, headers = provider.asked[1]
    assert (path, headers["authorization"]) == (USAGE, f"Bearer {CANARY}")
    assert ("start_time", "1793491200") in query
    assert ("end_time", "1793664000") in query
    assert [value for name, value in query if name == "group_by[]"] == ["model", "api_key_id"]
    assert ("page", "p2") in query


@pytest.mark.usefixtures("key")
def test_anthropic_and_openrouter_are_asked_in_their_own_way(admin: Admin, provider: Provider) -> None:
    usage = json.loads((REPORTS / "anthropic-usage.json").read_text())
    costs = json.loads((REPORTS / "anthropic-costs.json").read_text())
    costs["data"][0]["results"].pop()
    provider.pages |= {
        ("/v1/organizations/usage_report/messages", None): json.dumps(usage).encode(),
        ("/v1/organizations/usage_report/messages", "page_MjAy"): empty(),
        ("/v1/organizations/cost_report", None): json.dumps(costs).encode(),
        ("/api/v1/activity", None): (REPORTS / "openrouter-activity.json").read_bytes(),
    }
    for name, lines in (("anthropic", 4), ("openrouter", 2)):
        serve(admin, name, [SUM | {"model": "m", "cost_usd": "1"}], [plain("1")])
        before = len(sent(admin))
        assert main.main(["reconcile", name, *DAYS, "--fetch"]) == 0
        assert len(sent(admin)) - before == lines
    headers = [headers for _, _, headers in provider.asked]
    assert {headers[0]["x-api-key"], headers[-1]["authorization"]} == {CANARY, f"Bearer {CANARY}"}
    assert ("ending_at", "2026-11-03T00:00:00Z") in provider.asked[0][1]


@pytest.mark.usefixtures("key")
def test_a_provider_that_is_busy_is_asked_again_so_often_and_no_more(
    admin: Admin, provider: Provider, capsys: pytest.CaptureFixture[str]
) -> None:
    openai(provider)
    serve(admin, "openai", [SUM | {"model": "m", "cost_usd": "1"}], [plain("1")])
    provider.failures = [429, 500, 503, 529]
    assert main.main(["reconcile", "openai", *DAYS, "--fetch"]) == 0
    provider.asked.clear()
    provider.failures = [429] * 50
    assert main.main(["reconcile", "openai", *DAYS, "--fetch"]) == 1
    assert len(provider.asked) == http_reports.TRIES
    assert "status 429 after 5 tries" in capsys.readouterr().err


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize("status", [401, 403, 302])
def test_a_key_that_is_refused_is_not_shown(
    admin: Admin, provider: Provider, capsys: pytest.CaptureFixture[str], status: int
) -> None:
    provider.failures = [status] * 50
    assert main.main(["reconcile", "openai", *DAYS, "--fetch"]) == 1
    out, err = capsys.readouterr()
    assert f"status {status}" in err
    assert CANARY not in out + err
    assert len(provider.asked) == 1


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize("page", [b"<html>", b'{"has_more": true}', b'{"has_more": 3}'])
def test_an_answer_that_is_no_page_is_refused(
    admin: Admin, provider: Provider, capsys: pytest.CaptureFixture[str], page: bytes
) -> None:
    provider.pages[USAGE, None] = page
    assert main.main(["reconcile", "openai", *DAYS, "--fetch"]) == 1
    assert "no page of a report" in capsys.readouterr().err


@pytest.mark.usefixtures("home")
def test_without_an_admin_key_it_says_how_to_store_one(
    admin: Admin, provider: Provider, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["reconcile", "openai", *DAYS, "--fetch"]) == 1
    assert "keyrail report-keys add openai" in capsys.readouterr().err
    assert provider.asked == []


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize(
    "url", ["http://example.com", "ftp://x", "https://u:p@x", "http://127.0.0.1.example.com"]
)
def test_the_key_goes_to_https_or_to_this_machine_alone(
    admin: Admin, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], url: str
) -> None:
    monkeypatch.setenv("KEYRAIL_REPORTS_OPENAI_URL", url)
    assert main.main(["reconcile", "openai", *DAYS, "--fetch"]) == 1
    assert "must be https, or on this machine" in capsys.readouterr().err


def test_a_provider_without_reports_is_not_fetched(admin: Admin, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["reconcile", "groq", *DAYS, "--fetch"]) == 1
    assert "of others, give --file" in capsys.readouterr().err


@pytest.mark.usefixtures("key")
def test_admin_keys_are_listed_and_removed_and_never_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["report-keys", "list", "--json"]) == 0
    out = capsys.readouterr().out
    assert [row["provider"] for row in json.loads(out[out.index("[") :])] == [
        "anthropic",
        "openai",
        "openrouter",
    ]
    assert main.main(["report-keys", "remove", "openai"]) == 0
    assert main.main(["report-keys", "remove", "openai"]) == 1
    out, err = capsys.readouterr()
    assert "there is no admin key of openai" in err
    assert CANARY not in out + err


def test_a_value_is_no_argument(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main.main(["report-keys", "add", "openai", CANARY])
    assert CANARY not in capsys.readouterr().err
