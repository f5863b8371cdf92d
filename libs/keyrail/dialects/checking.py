"""What the checks of all dialects share: rules for one parameter, and how a broken one is worded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from keyrail.contracts.failures import Failure

MAX_MODEL = 256
MAX_MESSAGES = 100_000
MAX_TOKENS = 2**31 - 1
MAX_TOOLS = 1_024
MAX_TEXT = 65_536
"""Characters of a short text such as a user's id."""

_NAMES: dict[type, str] = {
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a decimal number",
    list: "an array",
    dict: "an object",
    type(None): "null",
}

Check = Callable[[str, Any], Failure | None]
"""What is wrong with the value of the parameter of this name."""


def first_problem(
    body: dict[str, Any], rules: dict[str, Check], *, needed: tuple[str, ...]
) -> Failure | None:
    """The first thing that is wrong, None when nothing is. Unknown parameters and nulls are fine."""
    for name in needed:
        if body.get(name) is None:
            return missing(name)
    for name, value in body.items():
        rule = rules.get(name)
        if rule is not None and value is not None and (problem := rule(name, value)) is not None:
            return problem
    return None


def wrong(param: str, message: str, code: str) -> Failure:
    """A parameter that the caller has to change."""
    return Failure(kind="bad_request", message=message, status=400, code=code, param=param)


def missing(param: str) -> Failure:
    """A parameter that has to be there."""
    return wrong(param, f"Missing required parameter: '{param}'.", "missing_required_parameter")


def wrong_type(param: str, value: object, expected: str) -> Failure:
    """A value of another type; `expected` with its article."""
    got = _NAMES.get(type(value), "something else")
    message = f"Invalid type for '{param}': expected {expected}, but got {got} instead."
    return wrong(param, message, "invalid_type")


def out_of_range(param: str, rule: str) -> Failure:
    """A value that breaks the rule."""
    return wrong(param, f"Invalid value for '{param}': {rule}.", "invalid_value")


def model(param: str, value: Any) -> Failure | None:
    """A model's name."""
    if type(value) is not str:
        return wrong_type(param, value, "a string")
    if not value or len(value) > MAX_MODEL:
        return out_of_range(param, f"expected 1 to {MAX_MODEL} characters")
    if not value.isprintable():
        return out_of_range(param, "control characters are not allowed")
    return None


def integer(low: int, high: int) -> Check:
    """An integer in a range."""

    def rule(param: str, value: Any) -> Failure | None:
        # Some clients write 100 as 100.0, and some providers take it.
        if type(value) is not int and not (type(value) is float and value.is_integer()):
            return wrong_type(param, value, "an integer")
        if low <= value <= high:
            return None
        return out_of_range(param, f"expected an integer from {low} to {high}")

    return rule


def number(low: float, high: float) -> Check:
    """A number in a range."""

    def rule(param: str, value: Any) -> Failure | None:
        if type(value) is not float and type(value) is not int:
            return wrong_type(param, value, "a decimal number")
        if low <= value <= high:
            return None
        return out_of_range(param, f"expected a number from {low:g} to {high:g}")

    return rule


def boolean(param: str, value: Any) -> Failure | None:
    """True or false."""
    return None if type(value) is bool else wrong_type(param, value, "a boolean")


def string(param: str, value: Any, longest: int = MAX_TEXT) -> Failure | None:
    """A short text."""
    if type(value) is not str:
        return wrong_type(param, value, "a string")
    return None if len(value) <= longest else out_of_range(param, f"expected at most {longest} characters")


def strings(param: str, value: Any, most: int) -> Failure | None:
    """A list of texts."""
    if type(value) is not list:
        return wrong_type(param, value, "an array of strings")
    items = cast("list[Any]", value)
    if len(items) > most:
        return out_of_range(param, f"expected at most {most} items")
    for index, item in enumerate(items):
        if type(item) is not str:
            return wrong_type(f"{param}[{index}]", item, "a string")
    return None


def an_object(param: str, value: Any) -> Failure | None:
    """A JSON object."""
    return None if type(value) is dict else wrong_type(param, value, "an object")


def objects(param: str, value: Any, most: int = MAX_TOOLS) -> Failure | None:
    """A list of JSON objects."""
    if type(value) is not list:
        return wrong_type(param, value, "an array of objects")
    items = cast("list[Any]", value)
    if len(items) > most:
        return out_of_range(param, f"expected at most {most} items")
    for index, item in enumerate(items):
        if type(item) is not dict:
            return wrong_type(f"{param}[{index}]", item, "an object")
    return None


def parts(param: str, value: list[Any]) -> Failure | None:
    """A list of content parts or blocks, each with its type."""
    for place, item in enumerate(value):
        if type(item) is not dict:
            return wrong_type(f"{param}[{place}]", item, "an object")
        kind = cast("dict[str, Any]", item).get("type")
        if type(kind) is not str:
            return wrong_type(f"{param}[{place}].type", kind, "a string")
    return None
