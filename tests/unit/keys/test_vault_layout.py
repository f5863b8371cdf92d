"""What counts as a key in Vault. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from keyrail.keys import vault_layout
from keyrail.keys.base import KeyName, ProviderKey
from keyrail.keys.secret import Secret

NAME = KeyName("acme", "openai", "one")
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
CANARY = "sk-canary-91"


def test_a_secret_is_filed_under_tenant_provider_and_id() -> None:
    assert vault_layout.path(NAME) == "tenants/acme/providers/openai/one"


@pytest.mark.parametrize(
    ("stored", "weight"), [({}, 1), ({"weight": 7}, 7), ({"weight": "7", "org": "x"}, 7)]
)
def test_a_weight_is_a_number_or_its_text_or_one(stored: dict[str, Any], weight: int) -> None:
    key = vault_layout.key(NAME, {"api_key": CANARY, **stored})
    assert key == (ProviderKey("acme", "openai", "one", weight), Secret(CANARY))


@pytest.mark.parametrize(
    "stored",
    [
        {},
        {"value": CANARY},
        {"api_key": [CANARY]},
        {"api_key": f"{CANARY}\n"},
        {"api_key": CANARY, "weight": "-1"},
        {"api_key": CANARY, "weight": "\u0661"},
        {"api_key": CANARY, "weight": "9" * 5000},
        {"api_key": CANARY, "weight": None},
        {"api_key": CANARY, "weight": 1.0},
        {"api_key": CANARY, "weight": True},
    ],
)
def test_what_is_no_key_is_named_and_not_shown(stored: dict[str, Any]) -> None:
    problem = vault_layout.key(NAME, stored)
    assert isinstance(problem, str)
    assert problem.startswith("tenants/acme/providers/openai/one: ")
    assert "canary" not in problem


def test_only_names_of_ours_are_taken_from_a_listing() -> None:
    listing = ["b", "a", "c/", "A", "x.y", "../", "/", "", "d/", 7]
    assert vault_layout.ids(listing) == ["a", "b"]
    assert vault_layout.folders(listing) == ["c", "d"]


@pytest.mark.parametrize(
    ("deletion", "destroyed", "number"),
    [
        ("", False, 2),
        ("2026-11-23T11:59:59.123456789Z", False, None),
        ("2026-11-23T12:00:01Z", False, 2),
        ("", True, None),
    ],
)
def test_a_version_that_is_deleted_or_destroyed_is_none(
    deletion: str, destroyed: bool, number: int | None
) -> None:
    newest = {"created_time": "then", "deletion_time": deletion, "destroyed": destroyed}
    oldest = {"created_time": "before", "deletion_time": "", "destroyed": False}
    metadata = {"current_version": 2, "versions": {"1": oldest, "2": newest}}
    expected = None if number is None else vault_layout.Version(number, "then")
    assert vault_layout.current(metadata, NOW) == expected
