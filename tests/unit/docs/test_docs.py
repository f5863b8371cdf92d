"""What the documents name is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from keyrail.config import document
from keyrail.contracts.config import RaceRule
from keyrail.providers import registry
from keyrail_embedded.settings import EmbeddedSettings

ROOT = Path(__file__).parents[3]
DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "services/*/README.md", "bench/README.md")
    for path in ROOT.glob(pattern)
)
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)(?:#([^)]+))?\)")
CARD = ("consumes", "publishes", "may reach", "state", "scales on", "on failure")


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_every_link_leads_somewhere(path: Path) -> None:
    for target, anchor in LINK.findall(path.read_text()):
        there = path.parent / target
        assert there.exists(), target
        assert not anchor or anchor in anchors(there), f"{target}#{anchor}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_every_target_of_make_that_is_named_exists(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    blocks = re.findall(r"`make ([a-z ]+)`|^    make ([a-z]+)", path.read_text(), re.MULTILINE)
    for inline, block in blocks:
        assert set((inline or block).split()) <= targets


def test_every_service_has_a_card_of_at_most_thirty_lines() -> None:
    cards = sorted(ROOT.glob("services/*/README.md"))
    assert [card.parent.name for card in cards] == sorted(p.name for p in (ROOT / "services").iterdir())
    for card in cards:
        lines = card.read_text().splitlines()
        assert len(lines) <= 30, card
        rows = [line.split("|")[1].strip() for line in lines if line.startswith("| ")]
        assert tuple(row for row in rows if row in CARD) == CARD, card


def test_the_readmes_configuration_is_valid() -> None:
    text = (ROOT / "README.md").read_text()
    (block,) = re.findall(
        r"(?:^    (?:providers|routes|aliases|tenants):\n(?:(?:     .*)?\n)+)+", text, re.MULTILINE
    )
    builtins = registry.configs()
    view = document.parse(block.replace("\n    ", "\n").removeprefix("    "), "README.md", builtins)
    assert {"chat", "trial"} == set(view.routes)
    assert view.aliases == {"gpt-4o": "openai/gpt-5.4-mini"}
    assert "local-vllm" in view.providers
    assert "search" in view.tenants["default"].teams


def test_the_configuration_in_the_document_on_budgets_is_valid() -> None:
    text = (ROOT / "docs/budgets.md").read_text()
    lines = [line[4:] for line in text.splitlines() if line.startswith("    ")]
    lines.append("providers: {local-vllm: {base_url: http://127.0.0.1:8000/v1}}")
    view = document.parse("\n".join(lines), "budgets.md", registry.configs())
    assert view.routes["experimental"].unknown_price == "allow"
    assert view.tenants["default"].teams["search"].limits.rpm == 600


def test_the_configuration_in_the_document_on_routes_is_valid() -> None:
    text = (ROOT / "docs/routing.md").read_text()
    lines = [line[4:] for line in text.splitlines() if line.startswith("    ")]
    view = document.parse("\n".join(lines), "routing.md", registry.configs())
    assert [route.strategy for route in view.routes.values()] == [
        "fallback",
        "weighted",
        "cheapest",
        "fastest",
        "smart",
        "race",
    ]
    assert view.routes["clever"].race == RaceRule(mode="hedge")
    assert view.tenants["europe"].providers == ("mistral",)


def test_the_readme_lists_every_setting() -> None:
    text = (ROOT / "README.md").read_text()
    for name in EmbeddedSettings.model_fields:
        assert f"`KEYRAIL_{name.upper()}`" in text


def test_the_configuration_in_the_document_on_contents_is_valid() -> None:
    text = (ROOT / "docs/contents.md").read_text()
    (block,) = re.findall(r"^    tenants:\n(?:     .*\n)+", text, re.MULTILINE)
    view = document.parse(block.replace("\n    ", "\n").removeprefix("    "), "contents.md", {})
    kept = view.tenants["default"].contents
    assert kept is not None
    assert kept.keep_days == 30


@pytest.mark.parametrize("name", ["caching", "mid-stream", "racing"])
def test_the_examples_of_routes_are_good(name: str) -> None:
    text = (ROOT / f"docs/{name}.md").read_text()
    examples = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert examples
    for example in examples:
        whole = example if re.match(r"\w", example) else f"routes:\n{example}"
        document.parse(whole, f"{name}.md", registry.configs())
