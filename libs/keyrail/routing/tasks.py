"""What kind of work a request is: verdicts about one task say something of all its requests."""

from __future__ import annotations

from keyrail.contracts.slips import Facts

ANY = "any"
"""Of requests that carry no feature."""


def task_of(facts: Facts, feature: str | None) -> str:
    """`<feature>` and what the request needs, such as `support+tools+json`."""
    parts = [feature or ANY]
    if facts.tools:
        parts.append("tools")
    if facts.images:
        parts.append("vision")
    if facts.json_schema or facts.json_mode:
        parts.append("json")
    return "+".join(parts)
