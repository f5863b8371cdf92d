"""A provider's reports, fetched with its admin key. The key is in this process, and only while it asks."""

from __future__ import annotations

import asyncio
from datetime import date
from typing import Final

from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from keyrail.http.reports import ReportClient, ReportError
from keyrail.keys import report_keys
from keyrail.keys.report_settings import ReportKeySettings
from keyrail.keys.secret import Secret
from keyrail.reconciliation import asking
from keyrail.reconciliation.asking import Report
from keyrail.reconciliation.parsed import MOST_BYTES, NotAReport, Parsed
from keyrail.reconciliation.reader import read
from keyrail_cli.commands import CommandError

MOST_PAGES: Final = 1_000


class Addresses(BaseSettings):
    """Other addresses than the providers' own: `KEYRAIL_REPORTS_OPENAI_URL` and so on."""

    model_config = SettingsConfigDict(env_prefix="KEYRAIL_REPORTS_", frozen=True)

    openai_url: str | None = None
    anthropic_url: str | None = None
    openrouter_url: str | None = None


def settings() -> ReportKeySettings:
    """Where admin keys are kept. Raises CommandError."""
    try:
        return ReportKeySettings()
    except ValidationError as error:
        said = "; ".join(each["msg"].removeprefix("Value error, ") for each in error.errors())
        raise CommandError(said) from None


def fetched(provider: str, since: date, until: date) -> list[Parsed]:
    """The reports of these days. Raises CommandError and KeyStoreError."""
    try:
        wanted = asking.reports(provider, since, until)
        address = asking.base(provider, getattr(Addresses(), f"{provider}_url"))
    except ValueError as error:
        raise CommandError(str(error)) from None
    key = asyncio.run(_key(provider))
    with ReportClient(address, lambda: asking.headers(provider, key.reveal())) as client:
        found = [_report(client, provider, each) for each in wanted]
    return [report for report in found if report.rows]


async def _key(provider: str) -> Secret:
    async with report_keys.opened(settings()) as store:
        return await store.value(provider)


def _report(client: ReportClient, provider: str, wanted: Report) -> Parsed:
    """All pages of one report."""
    pages: list[bytes] = []
    cursor: str | None = None
    try:
        while len(pages) < MOST_PAGES and sum(map(len, pages)) < MOST_BYTES:
            pages.append(client.get(wanted.path, wanted.page(cursor)))
            cursor = asking.following(pages[-1])
            if cursor is None:
                return read(asking.joined(pages))
    except ReportError as error:
        raise CommandError(f"{provider}: {error}") from None
    except NotAReport as error:
        raise CommandError(f"{provider}: {wanted.path}: {error}") from None
    except ValueError:
        raise CommandError(f"{provider}: {wanted.path}: the answer is no page of a report") from None
    raise CommandError(f"{provider}: {wanted.path}: the report does not end; ask for fewer days")
