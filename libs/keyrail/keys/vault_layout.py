"""Where keys are in Vault and what is stored there. Pure.

A KV v2 mount holds one secret for one key at `tenants/<tenant>/providers/<provider>/<id>`: {api_key, weight}.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final, NamedTuple

from keyrail.keys.base import NAME, InvalidKey, KeyName, ProviderKey, check_value
from keyrail.keys.secret import Secret

TENANTS: Final = "tenants"


def providers(tenant: str) -> str:
    """The folder that has a folder for each provider."""
    return f"{TENANTS}/{tenant}/providers"


def folder(tenant: str, provider: str) -> str:
    """The folder of a tenant's keys at a provider."""
    return f"{providers(tenant)}/{provider}"


def path(name: KeyName) -> str:
    """The secret."""
    return f"{folder(name.tenant, name.provider)}/{name.id}"


def folders(listing: Iterable[object]) -> list[str]:
    """The names of the folders of a listing, sorted. What no name of ours could be is left out."""
    return sorted(
        name
        for entry in listing
        for name in [str(entry)[:-1]]
        if f"{name}/" == entry and NAME.fullmatch(name)
    )


def ids(listing: Iterable[object]) -> list[str]:
    """The ids of the keys of a listing, sorted. What no name of ours could be is left out."""
    return sorted(entry for entry in listing if isinstance(entry, str) and NAME.fullmatch(entry))


class Version(NamedTuple):
    """Of a secret. The number alone would not do: what is removed and put again begins at 1 again.

    Servers that cut times to the second still show the same for what was put twice within one, once removed.
    """

    number: int
    created: str


def current(metadata: dict[str, Any], now: datetime) -> Version | None:
    """The version that a read gives. None: it is deleted or destroyed, which leaves it the current one."""
    number = int(metadata["current_version"])
    version = metadata["versions"].get(str(number))
    if version is None or version["destroyed"]:
        return None
    deleted: str = version["deletion_time"]
    if deleted and datetime.fromisoformat(deleted) <= now:
        return None
    return Version(number, version["created_time"])


def content(value: Secret, weight: int) -> dict[str, object]:
    """What is stored."""
    return {"api_key": value.reveal(), "weight": weight}


def key(name: KeyName, stored: dict[str, Any]) -> tuple[ProviderKey, Secret] | str:
    """What was stored, or a sentence on what is wrong with it, without contents.

    `vault kv put` stores each field as a string, so that the weight may be one; without it, it is 1.
    """
    where = path(name)
    api_key = stored.get("api_key")
    weight = _number(stored.get("weight", 1))
    if type(api_key) is not str:
        return f"{where}: has no api_key"
    value = Secret(api_key)
    try:
        check_value(value, weight)
    except InvalidKey as error:
        return f"{where}: holds what is not a key: {error}"
    return ProviderKey(name.tenant, name.provider, name.id, weight), value


def _number(stored: Any) -> Any:
    """A weight that is text as a number; all else as it is."""
    if isinstance(stored, str) and stored.isascii() and stored.isdigit() and len(stored) < 10:
        return int(stored)
    return stored
