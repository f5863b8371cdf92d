"""GET /v1/models in the shape of OpenAI or of Anthropic. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import parse_qsl

from keyrail.contracts.base import Json
from keyrail.contracts.failures import Failure

MOST = 1_000
USUAL = 20
EPOCH = "1970-01-01T00:00:00Z"  # nobody here knows when a model was made


def listing(names: Sequence[str]) -> dict[str, Json]:
    """All models, as OpenAI lists them."""
    return {"object": "list", "data": [model(name) for name in names]}


def model(name: str) -> dict[str, Json]:
    """One model, as OpenAI describes it."""
    owner = name.partition("/")[0] if "/" in name else "keyrail"
    return {"id": name, "object": "model", "created": 0, "owned_by": owner}


def page(names: Sequence[str], query: str) -> dict[str, Json] | Failure:
    """The page of models that Anthropic's `limit`, `after_id` and `before_id` ask for."""
    asked = dict(parse_qsl(query))
    limit = _limit(asked)
    if isinstance(limit, Failure):
        return limit
    begin, end = 0, len(names)
    for name, value in asked.items():
        if name in ("after_id", "before_id") and value not in names:
            return _bad(name, "is not the id of a model here")
    if "after_id" in asked:
        begin = names.index(asked["after_id"]) + 1
    if "before_id" in asked:
        end = names.index(asked["before_id"])
        begin = max(begin, end - limit)
    found = list(names[begin:end][:limit])
    more = begin > 0 if "before_id" in asked else begin + len(found) < end
    data: list[Json] = [described(name) for name in found]
    return {
        "data": data,
        "has_more": more,
        "first_id": found[0] if found else None,
        "last_id": found[-1] if found else None,
    }


def described(name: str) -> dict[str, Json]:
    """One model, as Anthropic describes it."""
    return {"type": "model", "id": name, "display_name": name, "created_at": EPOCH}


def _limit(asked: Mapping[str, str]) -> int | Failure:
    text = asked.get("limit", str(USUAL))
    if not (text.isascii() and text.isdecimal()) or not 1 <= int(text[:9]) <= MOST:
        return _bad("limit", f"must be a number from 1 to {MOST}")
    return int(text)


def _bad(name: str, what: str) -> Failure:
    return Failure(kind="bad_request", message=f"{name} {what}.", status=400, param=name)
