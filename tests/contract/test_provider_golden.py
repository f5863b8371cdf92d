"""Each provider in one file: where and how it is asked, what a chat request becomes, what an answer costs."""

from __future__ import annotations

import json

import pytest

from keyrail.providers import registry
from scripts import provider_goldens


@pytest.mark.parametrize("name", registry.load())
def test_a_provider_is_asked_and_priced_as_written_down(name: str) -> None:
    path = provider_goldens.FOLDER / f"{name}.json"
    assert path.exists(), "a provider needs a golden: run make golden, and read it"
    written, found = json.loads(path.read_text()), provider_goldens.golden(name)
    assert found == written, "run make golden, and look at the diff"
    assert list(found["body"]) == list(written["body"])


def test_there_is_no_golden_of_nobody() -> None:
    assert {path.stem for path in provider_goldens.FOLDER.iterdir()} == set(registry.load())


@pytest.mark.parametrize("name", registry.load())
def test_every_answer_with_usage_has_a_price(name: str) -> None:
    paid = json.loads((provider_goldens.FOLDER / f"{name}.json").read_text())["price"]
    assert paid["cost_usd"] is not None
    assert (paid["cost_usd"] == "0") == (name == "sandbox")
