"""Errors: Google's refusals, whole or in a stream, become Failures."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, cast

from keyrail.contracts.base import now_ms
from keyrail.contracts.failures import Failure
from keyrail.dialects import json_text
from keyrail.dialects.failures import BODY_BYTES, Told, failure_of, text_of, word
from keyrail.dialects.taxonomy import DAILY_QUOTA, status_of_words

_NO_HEADERS: Mapping[str, str] = {}
_DELAY = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)s")
_DAY_S = 86_400
_RESET_S = 8 * 3_600  # quotas of a day begin anew at midnight in California; in summer an hour earlier
_OWN_CODES = frozenset({"INVALID_ARGUMENT", "FAILED_PRECONDITION", "OUT_OF_RANGE", "UNIMPLEMENTED"})


def classify(provider: str, status: int, headers: Mapping[str, str], body: bytes) -> Failure:
    """The Failure behind an answer that is not a 200. Header names are lower case.

    Of a quota that counts days the code is `daily_quota`, and the time to wait ends with that day: the delay
    that the provider itself names then is the one of its quota of a minute.
    """
    return _failure(provider, status, headers, json_text.parse_or_none(body[:BODY_BYTES]))


def classify_error(provider: str, value: object) -> Failure:
    """The Failure behind an error that came inside a 200: `value` is the whole body or event, decoded."""
    return _failure(provider, 200, _NO_HEADERS, value)


def _failure(provider: str, upstream: int, headers: Mapping[str, str], value: object) -> Failure:
    if type(value) is list and value:  # a stream that was not asked for as events answers a list
        value = cast("list[object]", value)[0]
    outer = cast("dict[str, Any]", value) if type(value) is dict else {}
    error: object = outer.get("error")
    fields = cast("dict[str, Any]", error) if type(error) is dict else outer
    own = fields is not outer and type(fields.get("message")) is str
    details = list(_details(fields))
    told = _told(fields, details, own=own)
    daily = any("perday" in quota.lower() for quota in _quotas(details))
    wait = seconds_to_reset(now_ms()) if daily else _delay(details)
    if daily:
        told = replace(told, words=told.words | {DAILY_QUOTA})
    if wait is not None and (daily or not headers.keys() & {"retry-after", "retry-after-ms"}):
        headers = {"retry-after": str(wait)}
    return failure_of(
        provider, told, upstream=upstream, status=_status(upstream, fields, told), headers=headers
    )


def _told(fields: dict[str, Any], details: list[dict[str, Any]], *, own: bool) -> Told:
    status = fields.get("status")
    name = status if type(status) is str else None
    reasons = (word(detail.get("reason")) for detail in details)
    words = frozenset(found.lower() for found in (name, *reasons) if found)
    return Told(
        text=text_of(fields),
        code=name.lower() if name in _OWN_CODES else None,
        param=next(_fields(details), None),
        words=words,
        error=fields if own else None,
        dialect="gemini-generate",
    )


def _status(upstream: int, fields: dict[str, Any], told: Told) -> int:
    if upstream >= 300:
        return upstream
    code = fields.get("code")
    if type(code) is int and 400 <= code < 600:
        return code
    return status_of_words(told.signals())


def _details(fields: dict[str, Any]) -> Iterator[dict[str, Any]]:
    details = fields.get("details")
    for detail in cast("list[object]", details)[:32] if type(details) is list else ():
        if type(detail) is dict:
            yield cast("dict[str, Any]", detail)


def _inner(details: list[dict[str, Any]], holder: str, name: str) -> Iterator[str]:
    for detail in details:
        entries = detail.get(holder)
        for entry in cast("list[object]", entries)[:32] if type(entries) is list else ():
            value: object = cast("dict[str, Any]", entry).get(name) if type(entry) is dict else None
            if type(value) is str and value:
                yield value


def _quotas(details: list[dict[str, Any]]) -> Iterator[str]:
    return _inner(details, "violations", "quotaId")


def _fields(details: list[dict[str, Any]]) -> Iterator[str]:
    return _inner(details, "fieldViolations", "field")


def _delay(details: list[dict[str, Any]]) -> float | None:
    for detail in details:
        value = detail.get("retryDelay")
        if type(value) is str and (match := _DELAY.fullmatch(value)):
            return float(match[1])
    return None


def seconds_to_reset(at_ms: int) -> float:
    """Until the next day of the quotas begins, at most an hour too much."""
    return _DAY_S - (at_ms / 1000 - _RESET_S) % _DAY_S
