"""docs/compatibility.md says what comes of every feature, through every face, at every provider."""

from __future__ import annotations

import difflib
from pathlib import Path

import pytest
from support.compatibility.matrix import BASES, tried
from support.compatibility.page import PAGE, render

from keyrail.providers import registry


def test_every_built_in_provider_has_a_column() -> None:
    assert set(BASES) == set(registry.load()) - {"sandbox"}


@pytest.mark.proof
@pytest.mark.timeout(180)  # 15 s on an idle machine
async def test_the_page_says_what_happens(tmp_path: Path, sandbox_url: str) -> None:
    matrix = await tried(tmp_path / "home", sandbox_url)
    assert not matrix.faults, "\n".join(["neither yes, nor dropped, nor refused:", *matrix.faults])
    told, found = PAGE.read_text().splitlines(), render(matrix.tables).splitlines()
    diff = "\n".join(difflib.unified_diff(told, found, str(PAGE), "what happens", lineterm="", n=0))
    assert told == found, f"Run `make compatibility` and look at the diff:\n{diff}"
