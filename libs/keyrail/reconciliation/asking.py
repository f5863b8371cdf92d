"""Which requests bring a provider's report, and where to send them. Pure.

OpenAI and Anthropic as their official clients and references ask (pages by `page`/`next_page`), with money by
line item; OpenRouter gives its last 30 days in one answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final, Literal
from urllib.parse import urlsplit

import msgspec

ReportProvider = Literal["openai", "anthropic", "openrouter"]
BASES: Final[Mapping[str, str]] = {
    "openai": "https://api.openai.com",
    "anthropic": "https://api.anthropic.com",
    "openrouter": "https://openrouter.ai",
}
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
Parameters = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Report:
    """A report to ask for, page after page."""

    path: str
    parameters: Parameters

    def page(self, cursor: str | None) -> Parameters:
        """The parameters of the first page, or of one that an earlier page named."""
        return self.parameters if cursor is None else (*self.parameters, ("page", cursor))


class _Page(msgspec.Struct):
    has_more: bool = False
    next_page: str | None = None


def reports(provider: str, since: date, until: date) -> list[Report]:
    """The reports that cover these days (UTC), both included. Raises ValueError: this provider has none."""
    after = until + timedelta(days=1)
    match provider:
        case "openai":
            times = (("start_time", _seconds(since)), ("end_time", _seconds(after)), ("bucket_width", "1d"))
            by_key = ("group_by[]", "api_key_id")
            usage = (*times, ("group_by[]", "model"), by_key, ("limit", "31"))
            costs = (*times, ("group_by[]", "line_item"), by_key, ("limit", "180"))
            usages = ("completions", "embeddings")
            return [
                *(Report(f"/v1/organization/usage/{kind}", usage) for kind in usages),
                Report("/v1/organization/costs", costs),
            ]
        case "anthropic":
            times = (
                ("starting_at", f"{since.isoformat()}T00:00:00Z"),
                ("ending_at", f"{after.isoformat()}T00:00:00Z"),
                ("bucket_width", "1d"),
            )
            usage = (*times, ("group_by[]", "api_key_id"), ("group_by[]", "model"), ("limit", "31"))
            costs = (*times, ("group_by[]", "description"), ("limit", "31"))
            return [
                Report("/v1/organizations/usage_report/messages", usage),
                Report("/v1/organizations/cost_report", costs),
            ]
        case "openrouter":
            return [Report("/api/v1/activity", ())]
        case _:
            raise ValueError(f"a report can be fetched from {', '.join(BASES)}; of others, give --file")


def headers(provider: str, key: str) -> dict[str, str]:
    """What carries the admin key."""
    if provider == "anthropic":
        return {"x-api-key": key, "anthropic-version": "2023-06-01"}
    return {"authorization": f"Bearer {key}"}


def base(provider: str, instead: str | None) -> str:
    """The provider's address, or the operator's own in its place. Raises ValueError for one that the key
    must not be sent to: it has to be https, or this machine."""
    if instead is None:
        return BASES[provider]
    parts = urlsplit(instead)
    safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
    if safe and parts.hostname and not (parts.username or parts.query or parts.fragment):
        return instead.rstrip("/")
    raise ValueError("the address of the reports must be https, or on this machine")


def following(page: bytes) -> str | None:
    """The cursor of the page after this one. Raises ValueError for what is no page."""
    found = msgspec.json.decode(page, type=_Page)
    if not found.has_more:
        return None
    if not found.next_page:
        raise ValueError("has_more without next_page")
    return found.next_page


def joined(pages: list[bytes]) -> bytes:
    """Pages as one file."""
    return b"[" + b",".join(pages) + b"]"


def _seconds(day: date) -> str:
    return str(int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()))
