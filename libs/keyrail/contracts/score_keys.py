"""Where in the bucket of scores what is: names of documents, and what to watch for them.

`<tenant>.<route>.t.<task>` holds `TaskScores`, `<tenant>.<route>.e.<slot>` an `Exemplar`, and
`<tenant>.<route>.s.<task>.<shard>` the verdicts that a task has taken long ago. `<tenant>.<route>.w.worth`
holds `Tuned`.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

from keyrail.contracts.base import Contract
from keyrail.contracts.budgets import escaped, unescaped

TASKS: Final = "*.*.t.*"
EXEMPLARS: Final = "*.*.e.*"
TUNED: Final = "*.*.w.worth"
SLOTS: Final = 4_096
"""Most exemplars of a route."""


class Taken(Contract, frozen=True, kw_only=True):
    """Digests of verdicts that were folded in, oldest first, as in `TaskScores.seen`."""

    digests: tuple[str, ...] = ()


def task(tenant: str, route: str, name: str) -> str:
    """Of the scores of a task."""
    return f"{of_route(tenant, route)}.t.{escaped(name)}"


def tasks_of(tenant: str, route: str) -> str:
    """Of the scores of all tasks of a route."""
    return f"{of_route(tenant, route)}.t.*"


def exemplar(tenant: str, route: str, id: str) -> str:
    """Of the exemplar with this id. Another one may have the same place: the younger keeps it."""
    slot = int.from_bytes(blake2b(id.encode(), digest_size=4).digest()) % SLOTS
    return f"{of_route(tenant, route)}.e.{slot}"


def taken(tenant: str, route: str, name: str, digest: str) -> str:
    """Of the shard that a digest is in."""
    return f"{of_route(tenant, route)}.s.{escaped(name)}.{digest[0]}"


def tuned(tenant: str, route: str) -> str:
    """Of what was found out for a route that keeps a share of quality."""
    return f"{of_route(tenant, route)}.w.worth"


def tuned_of(route: str) -> str:
    """Of what was found out for this route, for all tenants."""
    return f"*.{escaped(route)}.w.worth"


def tenant_of(key: str) -> str:
    """Whose a document is. Raises ValueError."""
    return unescaped(key.partition(".")[0])


def of_route(tenant: str, route: str) -> str:
    """What all names of a route begin with."""
    return f"{escaped(tenant)}.{escaped(route)}"


def parsed(key: str) -> tuple[str, str] | None:
    """Tenant and route of a document of scores, an exemplar, or what was tuned; None for all others."""
    match key.split("."):
        case [tenant, route, "t" | "e" | "w", _]:
            try:
                return unescaped(tenant), unescaped(route)
            except ValueError:
                return None
        case _:
            return None
