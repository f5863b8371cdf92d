"""The `tenants` section: what tenants and their teams may spend, how fast, and what is kept of it."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any, Final

from keyrail.config import budgets, recipients
from keyrail.config.problems import quoted
from keyrail.config.reader import Entry, Reader
from keyrail.config.tree import Scalar
from keyrail.contracts.budgets import Budget, Limits
from keyrail.contracts.config import Contents, TeamConfig, TenantConfig, UnknownPrice

HIGHEST_LIMIT: Final = 1_000_000_000
MOST_BUDGETS: Final = 16
LONGEST_NAME: Final = 64
KEPT: Final = 30
LONGEST_KEPT: Final = 400
_DAYS: Final = re.compile(r"([1-9][0-9]{0,2})d")
_LIMITS: Final = ("rpm", "tpm", "concurrent")
_NAME_EXTRA: Final = frozenset("._-:/@ ")
_UNKNOWN_PRICE: Final[dict[str, UnknownPrice]] = {"refuse": "refuse", "allow": "allow"}


def tenants_of(
    reader: Reader, section: dict[str, Entry], providers: Collection[str]
) -> dict[str, TenantConfig]:
    """The tenants by name, without those that are wrong. `providers`: names of those that there are."""
    found: dict[str, TenantConfig] = {}
    for name, entry in section.items():
        _check_name(reader, entry, name, "tenant")
        fields = reader.fields(entry, ("budgets", "teams", "contents", "providers", "cache"))
        if fields is None:
            continue
        teams = (reader.fields(fields["teams"]) or {}) if "teams" in fields else {}
        found[name] = TenantConfig(
            budgets=_budgets(reader, fields.get("budgets")),
            teams={name: team for name, each in teams.items() if (team := _team(reader, name, each))},
            contents=_contents(reader, fields["contents"]) if "contents" in fields else None,
            providers=_providers(reader, fields["providers"], providers) if "providers" in fields else (),
            cache=reader.switch(fields["cache"]) is not False if "cache" in fields else True,
        )
    return found


def _providers(reader: Reader, entry: Entry, known: Collection[str]) -> tuple[str, ...]:
    """Where a tenant's requests may go. Never empty by mistake: that would mean everywhere."""
    items = reader.items(entry)
    if items is not None and not items:
        reader.bad(entry, "is empty: name the providers, or leave it out for all")
    found: dict[str, None] = {}
    for item in items or ():
        name = reader.text(item)
        if name is None:
            continue
        if name not in known:
            hint = reader.report.hint(name, sorted(known))
            reader.bad(item, f"unknown provider {quoted(name)}{hint}")
        elif name in found:
            reader.bad(item, f"{quoted(name)} is here already")
        found[name] = None
    return tuple(found)


def unknown_price(reader: Reader, entry: Entry | None) -> UnknownPrice:
    """`refuse` or `allow`; `refuse` where nothing is said."""
    text = reader.text(entry) if entry is not None else "refuse"
    if entry is not None and text is not None and text not in _UNKNOWN_PRICE:
        reader.bad(entry, f"must be refuse or allow, not {quoted(text)}")
    return _UNKNOWN_PRICE.get(text or "", "refuse")


def _team(reader: Reader, name: str, entry: Entry) -> TeamConfig | None:
    _check_name(reader, entry, name, "team")
    fields = reader.fields(entry, (*_LIMITS, "budgets"))
    if fields is None:
        return None
    limits: dict[str, Any] = {
        limit: reader.whole(fields[limit], 1, HIGHEST_LIMIT) for limit in _LIMITS if limit in fields
    }
    return TeamConfig(limits=Limits(**limits), budgets=_budgets(reader, fields.get("budgets")))


def _contents(reader: Reader, entry: Entry) -> Contents | None:
    """Where there is anything wrong, nothing is kept."""
    fields = reader.fields(entry, ("recipient", "keep"))
    if fields is None:
        return None
    if "recipient" not in fields:
        reader.bad(entry, "needs a recipient: the public key (age1...) that contents are encrypted to")
        return None
    recipient = reader.text(fields["recipient"])
    if recipient is not None and (wrong := recipients.wrong(recipient)):
        reader.bad(fields["recipient"], wrong)  # never the text: it may be the private half
        return None
    days = _days(reader, fields["keep"]) if "keep" in fields else KEPT
    return Contents(recipient=recipient, keep_days=days) if recipient and days else None


def _days(reader: Reader, entry: Entry) -> int | None:
    text = reader.text(entry)
    if text is None:
        return None
    found = _DAYS.fullmatch(text)
    if found is None or int(found[1]) > LONGEST_KEPT:
        reader.bad(entry, f"must be days, from 1d to {LONGEST_KEPT}d, not {quoted(text)}")
        return None
    return int(found[1])


def _budgets(reader: Reader, entry: Entry | None) -> tuple[Budget, ...]:
    items = (reader.items(entry) or ()) if entry is not None else ()
    if entry is not None and len(items) > MOST_BUDGETS:
        reader.bad(entry, f"has more than {MOST_BUDGETS} budgets")
        return ()
    found: dict[Budget, None] = {}
    for item in items:
        budget = _budget(reader, item)
        if budget in found:
            reader.bad(item, f"{quoted(budgets.written(budget))} is here already")
        elif budget is not None:
            found[budget] = None
    return tuple(found)


def _budget(reader: Reader, entry: Entry) -> Budget | None:
    """From what was written, so that 0.1 is exactly that."""
    node = entry.node
    numeric = isinstance(node, Scalar) and type(node.value) in (int, float)
    text = node.text if isinstance(node, Scalar) and numeric else reader.text(entry)
    if text is None:
        return None
    parsed = budgets.parse(text)
    if isinstance(parsed, Budget):
        return parsed
    reader.bad(entry, f"{quoted(text)}: {parsed}")
    return None


def _check_name(reader: Reader, entry: Entry, name: str, what: str) -> None:
    if not 0 < len(name) <= LONGEST_NAME or not all(c.isalnum() or c in _NAME_EXTRA for c in name):
        reader.bad(entry, f"a {what}'s name is 1 to {LONGEST_NAME} letters, digits or '._-:/@ '")
