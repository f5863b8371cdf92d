"""What a provider calls a model or a key, and what the ledger calls it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

_DATED: Final = re.compile(
    r"[-@](?:\d{4}-\d{2}-\d{2}|20\d{6}"  # 2024-07-18, 20241022
    r"|2[3-9](?:0[1-9]|1[0-2])"  # 2411: Mistral's year and month
    r"|(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])"  # 0613: OpenAI's month and day
    r"|latest)$"
)
_VARIANT: Final = re.compile(r":(?!free$)[a-z0-9-]+$")


def model(provider: str, name: str) -> str:
    """The name under which a model of a report and one of the ledger are the same.

    Lower case; without `models/`; without the date of a snapshot and without `-latest`, as reports name the
    snapshot that an alias stands for; without OpenRouter's variants, but for `:free`. Anthropic's display
    names (`Claude Haiku 4.5`) and its older word order (`claude-3-5-haiku`) become `claude-haiku-4-5`.
    """
    text = name.strip().lower().removeprefix("models/")
    if provider == "openrouter":
        text = _VARIANT.sub("", text)
    text = _DATED.sub("", text)
    if provider == "anthropic":
        parts = re.split(r"[\s.-]+", text)
        text = "-".join([*(p for p in parts if not p.isdigit()), *(p for p in parts if p.isdigit())])
    return text


def keys(account_keys: Iterable[str], ours: Iterable[str], told: Mapping[str, str]) -> dict[str, str]:
    """The id here of each account key that has one.

    `told` by the operator comes first, then a key whose name is an id of ours. If the report has one key and
    the ledger one too, they are each other. All else is not a key of this gateway.
    """
    found, known = {each for each in account_keys if each}, set(ours)
    matched = {key: told.get(key, key) for key in found if key in told or key in known}
    if not matched and len(found) == 1 and len(known) == 1:
        return {found.pop(): known.pop()}
    return matched
