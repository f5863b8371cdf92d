"""Which requests mean the same: a SHA-256 over what is asked, of whom, and for whom.

A body goes through the canonical form of all dialects and back. Where nothing is lost on the way, the
canonical form is what is hashed, and the same request by another dialect has the same key. Otherwise the body
itself is: no field that means something to a provider can be forgotten, only kept apart from other dialects.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import msgspec

from keyrail.caching import tidy
from keyrail.contracts.failures import Failure
from keyrail.contracts.slips import Dialect, Target
from keyrail.dialects import json_text, loose, registry
from keyrail.dialects.base import Quirks
from keyrail.dialects.canonical.request import Request

VERSION = 1
"""Raised when what is hashed, or what is kept, changes its meaning."""

_ENCODE = msgspec.json.Encoder(order="sorted").encode
_QUIRKS = Quirks()
_UNHEARD = frozenset({"stream", "include_usage", "user", "metadata", "cache", "cache_key", "dropped"})
"""Of the canonical form: who asks, how the answer travels, and what steers the provider's own cache."""
_USUAL_HEADERS = {"anthropic-version": "2023-06-01"}


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, read for the cache. `request` None: only its own dialect can say what it asks.

    `problem`: why no other dialect could.
    """

    dialect: Dialect
    body: dict[str, Any]
    tidied: dict[str, Any]
    request: Request | None
    problem: Failure | None = None


def read(body: bytes, dialect: Dialect) -> Asked:
    """What a body asks that its dialect has checked. Raises ValueError for one that is no JSON object."""
    value = json_text.parse(body)
    if type(value) is not dict:
        raise ValueError("it is not an object")
    fields = cast("dict[str, Any]", value)
    tidied = tidy.tidied(fields, dialect)
    if dialect == "openai-embeddings":
        return Asked(dialect, fields, tidied, None)
    request = registry.face(dialect).read_request({"model": "m", **tidied})
    if isinstance(request, Failure):
        return Asked(dialect, fields, tidied, None, request)
    return Asked(dialect, fields, tidied, request)


def key(
    asked: Asked, tenant: str, target: Target, spoken: Dialect, passed: Mapping[str, str] | None = None
) -> str:
    """64 hexadecimal digits. `spoken`: the dialect that the target is asked in.

    `passed`: headers of the client that reach a target of its own dialect.
    """
    material = {
        "version": VERSION,
        "tenant": tenant,
        "provider": target.provider,
        "model": target.model,
        "asked": _meaning(asked),
        "sealed": spoken == "openai-responses" and _sealed(asked),
        "headers": _headers(passed) if passed and spoken == asked.dialect else {},
    }
    return hashlib.sha256(_ENCODE(material)).hexdigest()


def _meaning(asked: Asked) -> Any:
    if asked.dialect == "openai-embeddings":
        return ["embeddings", _ordered(asked.tidied)]
    if asked.request is not None and _whole(asked, asked.request):
        return ["request", _plain(asked.request)]
    return [asked.dialect, _ordered(asked.tidied)]


def _whole(asked: Asked, request: Request) -> bool:
    """Whether the canonical form says all that the body did."""
    written = registry.outbound(asked.dialect).write_request(request, model="m", quirks=_QUIRKS)
    if isinstance(written, Failure):
        return False
    back = tidy.tidied(written.body, asked.dialect)
    return _ENCODE(_ordered(back)) == _ENCODE(_ordered(asked.tidied))


def _sealed(asked: Asked) -> bool:
    """Whether a provider of the Responses API is asked for thoughts that can be given back to it."""
    if asked.dialect == "openai-responses":
        return tidy.ENCRYPTED in loose.items(asked.body.get("include"))
    return asked.request is not None and asked.request.reasoning is not None


def _headers(passed: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in passed.items():
        if _USUAL_HEADERS.get(name) != value:
            found[name] = sorted({each.strip() for each in value.split(",")})
    return found


def _plain(value: Any) -> Any:
    """Structs as their name and what they say; what is the same unsaid goes missing."""
    if isinstance(value, msgspec.Struct):
        fields: dict[str, Any] = {}
        for name in value.__struct_fields__:
            each = getattr(value, name)
            if each is None or name in _UNHEARD or (name == "strict" and each is False):
                continue
            fields[name] = _plain(each)
        return [type(value).__name__, fields]
    if type(value) is list or type(value) is tuple:
        return [_plain(each) for each in cast("list[Any]", value)]
    return _ordered(value)


def _ordered(value: Any) -> Any:
    """The order of a schema's properties counts: models answer in that order. All other names are sorted."""
    if type(value) is dict:
        fields = cast("dict[str, Any]", value)
        return {
            name: [[inner, _ordered(each)] for inner, each in inside.items()]
            if name == "properties" and type(inside) is dict
            else _ordered(inside)
            for name, inside in fields.items()
        }
    if type(value) is list:
        return [_ordered(each) for each in cast("list[Any]", value)]
    return tidy.number(value) if type(value) is float else value
