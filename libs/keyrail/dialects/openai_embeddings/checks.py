"""What is wrong with a request for embeddings."""

from __future__ import annotations

from typing import Any, cast

from keyrail.contracts.failures import Failure

_MAX_MODEL = 256
_MAX_TEXTS = 16_384
_MAX_DIMENSIONS = 1_000_000
_MAX_USER = 65_536
_ENCODINGS = ("float", "base64")


def problem_of(body: dict[str, Any]) -> Failure | None:
    """The first thing that is wrong, None when nothing is. Unknown parameters and nulls are fine."""
    for name in ("model", "input"):
        if body.get(name) is None:
            return _wrong(name, f"Missing required parameter: '{name}'.", "missing_required_parameter")
    return _model(body["model"]) or _input(body["input"]) or _options(body)


def _wrong(param: str, message: str, code: str) -> Failure:
    return Failure(kind="bad_request", message=message, status=400, code=code, param=param)


def _type(param: str, expected: str) -> Failure:
    return _wrong(param, f"Invalid type for '{param}': expected {expected}.", "invalid_type")


def _range(param: str, rule: str) -> Failure:
    return _wrong(param, f"Invalid value for '{param}': {rule}.", "invalid_value")


def _model(value: object) -> Failure | None:
    if type(value) is not str:
        return _type("model", "a string")
    if not value or len(value) > _MAX_MODEL:
        return _range("model", f"expected 1 to {_MAX_MODEL} characters")
    return None if value.isprintable() else _range("model", "control characters are not allowed")


def _input(value: object) -> Failure | None:
    if type(value) is str:
        return None
    if type(value) is not list:
        return _type("input", "a string or an array")
    items = cast("list[Any]", value)
    if not items:
        return _range("input", "expected at least one item")
    kind: Any = type(items[0])
    if kind is not int and len(items) > _MAX_TEXTS:
        return _range("input", f"expected at most {_MAX_TEXTS} items")
    if kind not in (str, int, list):
        return _type("input[0]", "a string, an integer or an array of integers")
    for index, item in enumerate(items):
        if type(item) is not kind:
            return _type(f"input[{index}]", "all items to be of one type")
        if kind is list and not _tokens(cast("list[Any]", item)):
            return _type(f"input[{index}]", "an array of one or more integers")
    return None


def _tokens(value: list[Any]) -> bool:
    return bool(value) and all(type(item) is int for item in value)


def _options(body: dict[str, Any]) -> Failure | None:
    dimensions: object = body.get("dimensions")
    if dimensions is not None:
        if type(dimensions) is not int:
            return _type("dimensions", "an integer")
        if not 1 <= dimensions <= _MAX_DIMENSIONS:
            return _range("dimensions", f"expected an integer from 1 to {_MAX_DIMENSIONS}")
    encoding: object = body.get("encoding_format")
    if encoding is not None and encoding not in _ENCODINGS:
        return _range("encoding_format", f"expected one of {', '.join(_ENCODINGS)}")
    user: object = body.get("user")
    if user is not None and type(user) is not str:
        return _type("user", "a string")
    if type(user) is str and len(user) > _MAX_USER:
        return _range("user", f"expected at most {_MAX_USER} characters")
    return None
