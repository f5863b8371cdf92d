"""JSON bodies, read strictly. What is wrong is said by the field's name; a value is never repeated."""

from __future__ import annotations

import re
from functools import cache
from typing import Any, Final, TypeVar

import msgspec

from keyrail.keys.secret import Secret
from keyrail_control.api.routing import JSON
from keyrail_control.errors import Invalid

T = TypeVar("T")
_AT = re.compile(r" - at `\$\.?([^`]*)`$")
_EXPECTED = re.compile(
    r"Expected `([a-z |]+)`(?:, got `([a-z]+)`| of length ([<>]=? ?[0-9]+)| ([<>]=? ?[0-9]+))?"
)
_MISSING = re.compile(r"Object missing required field `(\w+)`")
_HARMLESS = re.compile(r"[a-z_]{1,24}")
"""A field's name that is repeated even if it is none of ours: keys look different."""


class Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all bodies."""


def decode(kind: type[T], data: bytes, content_type: str) -> T:
    """The body; an empty one counts as an object without fields. Raises Invalid."""
    if data and content_type.partition(";")[0].strip().lower() != JSON:
        raise Invalid(f"the body must be JSON, with content-type: {JSON}")
    wrong = "the body nests too deeply"
    try:
        return _decoder(kind).decode(data or b"{}")
    except msgspec.ValidationError as error:
        wrong = _explained(str(error))
    except (msgspec.DecodeError, UnicodeDecodeError):
        wrong = "the body is not valid JSON in UTF-8"
    except RecursionError:
        pass
    raise Invalid(wrong)  # outside: the errors above hold what was sent


def nothing(data: bytes) -> None:
    """Raise Invalid unless there is no body."""
    if data.strip() not in (b"", b"{}"):
        raise Invalid("this takes no body")


def _explained(said: str) -> str:
    at = _AT.search(said)
    field = at[1] if at else ""
    what = said[: at.start()] if at else said
    where = field or "the body"
    if missing := _MISSING.fullmatch(what):
        return f"{field}.{missing[1]} is missing" if field else f"{missing[1]} is missing"
    if what.startswith("Object contains unknown field"):
        name = what.removeprefix("Object contains unknown field `").removesuffix("`")
        shown = f": {name}" if _HARMLESS.fullmatch(name) else ""
        return f"{where} has an unknown field{shown}"
    if expected := _EXPECTED.fullmatch(what):
        kind, got, length, bound = expected.groups()
        wanted = kind.replace(" | ", " or ")
        if length or bound:
            return f"{where}: must be {wanted}{' of length' if length else ''} {length or bound}"
        return f"{where}: must be {wanted}" + (f", not {got}" if got else "")
    if what == _NO_TEXT:
        return f"{where}: must be str"
    return f"{where}: is not one of the values that are known"


_NO_TEXT: Final = "a secret is made from a str"


@cache
def _decoder(kind: type[T]) -> msgspec.json.Decoder[T]:
    return msgspec.json.Decoder(kind, dec_hook=_hook)


def _hook(kind: type, value: Any) -> Any:
    assert kind is Secret
    return Secret(value)
