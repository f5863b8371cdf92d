"""What the admin API says of itself."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from keyrail_control.api.routing import Route
from scripts import export_admin_api

DOCUMENT: dict[str, Any] = json.loads(export_admin_api.FILE.read_text())
ROUTES = export_admin_api.routes()


def test_the_committed_document_is_what_the_table_says() -> None:
    assert export_admin_api.FILE.read_text() == export_admin_api.text(), "run `make schemas`"


def test_it_is_valid_openapi() -> None:
    assert DOCUMENT["openapi"].startswith("3.1.")
    assert [str(error) for error in OpenAPIV31SpecValidator(DOCUMENT).iter_errors()] == []


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_every_route_is_described_with_its_summary_body_and_answer(route: Route[Any]) -> None:
    operation = DOCUMENT["paths"][route.path][route.method.lower()]
    assert operation["summary"] == route.summary
    assert operation["responses"][str(route.status)]["content"]
    assert ("requestBody" in operation) == (route.body is not None)
    assert ("401" in operation["responses"]) != route.open
    assert {each["name"] for each in operation.get("parameters", ())} == {
        *route.parameters,
        *(route.query or {}),
    }


def test_two_routes_are_open_and_no_others() -> None:
    assert {route.path for route in ROUTES if route.open} == {"/healthz", "/metrics"}
    assert len(ROUTES) == 43


def test_nothing_else_is_described() -> None:
    described = {(method.upper(), path) for path, of in DOCUMENT["paths"].items() for method in of}
    assert described == {(route.method, route.path) for route in ROUTES}


def test_the_values_of_keys_are_only_ever_written() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    for name in ("AddKey", "RotateKey"):
        assert schemas[name]["properties"]["value"]["writeOnly"] is True
    with_value = {name for name, schema in schemas.items() if "value" in schema.get("properties", ())}
    assert with_value == {"AddKey", "RotateKey"}
    assert {name for name, schema in schemas.items() if "key" in schema.get("properties", ())} == {
        "IssuedToken",
        "RotatedToken",
    }
