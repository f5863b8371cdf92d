"""The table as OpenAPI 3.1. Pure."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from keyrail.keys.secret import Secret
from keyrail_control.api.routing import JSON, Route, Routes

VERSION: Final = "1"
_REFUSALS: Final = {
    400: "Not understood: the message names what is wrong, and repeats no value",
    401: "The admin token is missing or wrong",
    404: "There is no such thing",
    409: "Not in the state that this asks for",
    502: "The ledger can't answer this",
    503: "Somebody who is needed does not answer; try again",
}


class ErrorMessage(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong, in a sentence."""

    message: str


class ErrorProblem(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to correct. `line` counts from 1."""

    line: int
    message: str


class Error(msgspec.Struct, frozen=True, kw_only=True):
    """Every answer that is not 2xx. `problems` are there when a configuration was refused."""

    error: ErrorMessage
    problems: list[ErrorProblem] = []


_FOREIGN: Final[dict[type, dict[str, Any]]] = {
    Secret: {"type": "string", "format": "password", "writeOnly": True}
}
"""Types that msgspec does not describe by itself."""


def document(routes: Routes) -> dict[str, Any]:
    """The description of these routes."""
    kinds: list[Any] = [Error]
    for route in routes:
        kinds += [kind for kind in (route.body, route.answer) if kind is not None and kind not in kinds]
    schemas, components = msgspec.json.schema_components(
        kinds, schema_hook=_FOREIGN.__getitem__, ref_template="#/components/schemas/{name}"
    )
    by_kind = list(zip(kinds, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, by_kind)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Keyrail admin API",
            "version": VERSION,
            "description": "For the holder of the admin token, on control's own port.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"admin": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "responses": _refusals(_schema(Error, by_kind)),
            "securitySchemes": {
                "admin": {"type": "http", "scheme": "bearer", "description": "The content of admin.token"}
            },
        },
    }


def _operation(route: Route[Any], schemas: list[tuple[Any, dict[str, Any]]]) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": route.summary}
    if route.answer is not None:
        answer["content"] = {JSON: {"schema": _schema(route.answer, schemas)}}
    else:
        answer["content"] = {"text/plain": {"schema": {"type": "string"}}}
    operation: dict[str, Any] = {
        "operationId": _operation_id(route),
        "summary": route.summary,
        "tags": [route.path.split("/")[2] if route.path.startswith("/v1/") else "system"],
        "responses": {str(route.status): answer} | _errors(route),
    }
    if parameters := _parameters(route):
        operation["parameters"] = parameters
    if route.body is not None:
        fields = msgspec.structs.fields(route.body)
        operation["requestBody"] = {
            "required": any(field.required for field in fields),
            "content": {JSON: {"schema": _schema(route.body, schemas)}},
        }
    if route.open:
        operation["security"] = []
    return operation


def _refusals(schema: dict[str, Any]) -> dict[str, Any]:
    content = {JSON: {"schema": schema}}
    return {f"E{status}": {"description": said, "content": content} for status, said in _REFUSALS.items()}


def _errors(route: Route[Any]) -> dict[str, Any]:
    statuses = {400, 503, *route.errors} | (set[int]() if route.open else {401})
    return {str(each): {"$ref": f"#/components/responses/E{each}"} for each in sorted(statuses)}


def _parameters(route: Route[Any]) -> list[dict[str, Any]]:
    text = {"type": "string"}
    in_path = [{"name": n, "in": "path", "required": True, "schema": text} for n in route.parameters]
    in_query = [
        {"name": name, "in": "query", "description": description, "schema": text}
        for name, description in (route.query or {}).items()
    ]
    return [*in_path, *in_query]


def _operation_id(route: Route[Any]) -> str:
    words = [word.strip("{}") for word in route.path.replace(".", "_").split("/") if word and word != "v1"]
    return "_".join([route.method.lower(), *words])


def _schema(kind: Any, schemas: list[tuple[Any, dict[str, Any]]]) -> dict[str, Any]:
    return next(schema for known, schema in schemas if known == kind)
