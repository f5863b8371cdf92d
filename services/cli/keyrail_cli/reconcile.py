"""`keyrail reconcile`: what a provider says it billed, beside the ledger."""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import msgspec

from keyrail.contracts.base import now_ms
from keyrail.contracts.reports import MOST_LINES, KeySum, ReportLine
from keyrail.http.admin import AdminClient, Row, path
from keyrail.reconciliation import comparison, shown, totals
from keyrail.reconciliation.comparison import Comparison
from keyrail.reconciliation.parsed import MOST_BYTES, NotAReport, Parsed, summary
from keyrail.reconciliation.reader import read
from keyrail.reconciliation.split import CLASSES
from keyrail_cli import client, render
from keyrail_cli.commands import CommandError, name

if TYPE_CHECKING:
    from keyrail_cli.commands import Commands

TOLERANCE: Final = Decimal("0.001")
SHOWN: Final = ("day", "key", "model", "invoice_usd", "ledger_usd", "difference_usd", "why")
SHOWN_PROBLEMS: Final = 10
ABOUT: Final = """\
Compares a provider's report with the ledger, by day (UTC), key and model, and says where each difference
comes from. Reports are files that you download (OpenAI: usage and costs; Anthropic: usage and cost;
OpenRouter: activity; any other: a CSV with day, key, model, requests, input_tokens, output_tokens,
cost_usd), or fetched with an admin key. Without --file and --fetch, what was imported before is compared
again.

  keyrail reconcile openai --from 2026-11-01 --to 2026-11-30 --file usage.csv --file costs.csv
  keyrail reconcile anthropic --from 2026-11-01 --to 2026-11-30 --fetch

The exit status is 1 when more than --tolerance of the invoice is unexplained, or a line of a report was not
understood."""


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "reconcile",
        help="tie the ledger out to a provider's invoice",
        description=ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("provider", metavar="PROVIDER", type=name)
    parser.add_argument(
        "--from", dest="since", metavar="DAY", type=_day, required=True, help="YYYY-MM-DD, UTC"
    )
    parser.add_argument("--to", dest="until", metavar="DAY", type=_day, required=True, help="included")
    parser.add_argument(
        "--file", dest="files", metavar="FILE", type=Path, action="append", default=[], help="CSV or JSON"
    )
    parser.add_argument("--fetch", action="store_true", help="ask the provider, with `keyrail report-keys`")
    parser.add_argument(
        "--key",
        dest="keys",
        metavar="ACCOUNT_KEY=KEY_ID",
        action="append",
        default=[],
        type=_mapping,
        help="which key of the report is which of `keyrail keys`",
    )
    parser.add_argument(
        "--tolerance",
        type=_share,
        default=TOLERANCE,
        metavar="SHARE",
        help="the share of the invoice that may be unexplained (default 0.001)",
    )
    parser.add_argument("--format", choices=("table", "csv"), default="table")
    parser.add_json("buckets and total")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Import, compare, print. Raises AdminError, CommandError, KeyStoreError and NotRunning."""
    if options.until < options.since:
        raise CommandError("--to is before --from")
    told = dict(cast("list[tuple[str, str]]", options.keys))
    with client.connect() as admin:
        reports = [_opened(file) for file in options.files]
        if options.fetch:
            from keyrail_cli import fetching  # costs every other command 0.2 s

            reports += fetching.fetched(options.provider, options.since, options.until)
        _import(admin, options, reports, told)
        found = _compared(admin, options, told)
    total = totals.total(found)
    if options.json:
        print(render.as_json(_facts(options, found, total, reports)))
    elif options.format == "csv":
        print(_csv(found), end="")
    else:
        print("\n".join(_lines(found, total)))
    _judge(found, total, reports, options.tolerance)


def _opened(file: Path) -> Parsed:
    try:
        with file.open("rb") as opened:
            return read(opened.read(MOST_BYTES + 1))
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror or error}") from None
    except NotAReport as error:
        raise CommandError(f"{file}: {error}") from None


def _import(
    admin: AdminClient, options: argparse.Namespace, reports: Sequence[Parsed], told: dict[str, str]
) -> None:
    """Have the lines of these days kept, as one import."""
    since, until = options.since.isoformat(), options.until.isoformat()
    lines = [
        line.replace(key_id=told.get(line.account_key))
        for report in reports
        for line in report.lines
        if since <= line.day <= until
    ]
    if reports and not lines and not any(report.misread for report in reports):
        raise CommandError("none of the lines is of these days")
    _once(lines)
    head: Row = {"import_id": shown.import_id(options.provider, lines), "imported_ms": now_ms()}
    for first in range(0, len(lines), MOST_LINES):
        page = [msgspec.to_builtins(line) for line in lines[first : first + MOST_LINES]]
        admin.post(path("/v1/reports", options.provider), {**head, "lines": page})


def _once(lines: Iterable[ReportLine]) -> None:
    """Two reports of the same day's money, or tokens, would count it twice."""
    seen: dict[tuple[str, str], str] = {}
    for line in lines:
        for what in ("tokens", "money") if line.kind == "both" else (_WHAT[line.kind],):
            if seen.setdefault((line.day, what), line.source) != line.source:
                raise CommandError(f"two of the reports have {what} of {line.day}: give one of them")


_WHAT: Final = {"usage": "tokens", "cost": "money"}


def _compared(admin: AdminClient, options: argparse.Namespace, told: dict[str, str]) -> Comparison:
    at = path("/v1/reports", options.provider)
    days = {"from": options.since.isoformat(), "to": options.until.isoformat()}
    before = {"from": (options.since - timedelta(days=1)).isoformat(), "to": options.until.isoformat()}
    lines = msgspec.convert(list(admin.rows(at, days)), list[ReportLine], strict=False)
    if not lines:
        raise CommandError("no report of these days was imported: give --file or --fetch")
    sums = msgspec.convert(list(admin.rows(f"{at}/ledger", before)), list[KeySum], strict=False)
    return comparison.compare(options.provider, lines, sums, told, days["from"])


def _facts(
    options: argparse.Namespace, found: Comparison, total: totals.Total, reports: Sequence[Parsed]
) -> Row:
    return {
        "provider": options.provider,
        "from": options.since.isoformat(),
        "to": options.until.isoformat(),
        "by_key": found.by_key,
        "by_model": found.by_model,
        "outside_keys": found.outside_keys,
        "total": shown.total(total),
        "buckets": [shown.bucket(each, has_money=found.has_money) for each in found.buckets],
        "reports": [summary(report) for report in reports],
    }


def _csv(found: Comparison) -> str:
    text = io.StringIO()
    columns: list[str] = [*shown.BUCKET]
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for each in found.buckets:
        row = shown.bucket(each, has_money=found.has_money)
        writer.writerow({column: _plain(value) for column, value in row.items()})
    return text.getvalue()


def _plain(value: object) -> object:
    """A spreadsheet must not take a name for a formula."""
    if isinstance(value, str) and value[:1] in ("=", "+", "@", "\t", "\r"):
        return f"'{value}"
    return value


def _lines(found: Comparison, total: totals.Total) -> list[str]:
    rows: list[render.Row] = []
    for each in found.buckets:
        row = shown.bucket(each, has_money=found.has_money)
        rows.append(
            row | {"key": row["key"] if each.place.ours else f"{row['key']} (not ours)", "why": _why(row)}
        )
    said = [render.table(SHOWN, rows), ""]
    if not found.has_money:
        return [
            *said,
            f"the report has no money: {total.token_differences} of {total.buckets} differ in tokens",
        ]
    said.append(
        f"invoice {shown.usd(total.invoice_usd)} USD, ledger {shown.usd(total.ledger_usd)} USD,"
        f" difference {shown.usd(total.difference_usd)} USD"
    )
    said.append(
        f"tied out {shown.percent(total.tied_share)}, explained {shown.percent(total.explained_share)},"
        f" unexplained {shown.usd(total.unexplained_usd)} USD"
    )
    said += [
        f"  {shown.MEANING[part.name]}: {shown.usd(part.usd)} USD in {part.buckets} of {total.buckets}"
        for part in total.by_class
    ]
    if found.outside_keys:
        said.append(f"keys of the report that are none of yours here: {', '.join(found.outside_keys)}")
    said.append(f"({totals.DEFINITION})")
    return [said[0], *(render.cell(line) for line in said[1:])]


def _why(row: Row) -> str:
    why = [f"{each} {row[each]}" for each in CLASSES if row[each] is not None]
    if row["ratio"] is not None:
        why.append(f"(x{row['ratio']})")
    if row["tokens"] not in (None, "agree"):
        why.append(f"tokens: {row['tokens']}")
    return ", ".join(why) or "ties out"


def _judge(found: Comparison, total: totals.Total, reports: Sequence[Parsed], tolerance: Decimal) -> None:
    """Raise CommandError unless all is explained, with what is not understood on standard error."""
    for report in reports:
        for problem in report.problems[:SHOWN_PROBLEMS]:
            print(render.cell(f"{report.source}, {problem.where}: {problem.message}"), file=sys.stderr)
    if misread := sum(report.misread for report in reports):
        rows = sum(report.rows for report in reports)
        raise CommandError(f"{misread} of {rows} lines were not understood and do not count")
    if totals.tolerated(total, tolerance):
        return
    if not found.has_money:
        raise CommandError(f"tokens differ in {total.token_differences} of {total.buckets} buckets")
    raise CommandError(
        f"{shown.usd(total.unexplained_usd)} USD are unexplained, more than {shown.usd(tolerance)}"
        " of the invoice"
    )


def _day(text: str) -> date:
    try:
        if len(text) == 10:
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError("must be a day, such as 2026-11-30")


def _mapping(text: str) -> tuple[str, str]:
    account, equals, ours = text.rpartition("=")
    if not (account and equals and ours):
        raise argparse.ArgumentTypeError("must be ACCOUNT_KEY=KEY_ID")
    return account, ours


def _share(text: str) -> Decimal:
    try:
        share = Decimal(text)
    except InvalidOperation:
        share = Decimal(-1)
    if not share.is_finite() or not 0 <= share <= 1:
        raise argparse.ArgumentTypeError("must be a share from 0 to 1, such as 0.001")
    return share
