"""What re-pricing plans, what another model is asked to price, and which versions of prices there are."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from keyrail.contracts.config import ConfigView, ModelPrice, ProviderConfig
from keyrail.contracts.slips import Target
from keyrail.contracts.usage import Price, Usage
from keyrail_cost_accounting import repricing, vectors, versions, what_if
from keyrail_cost_accounting.queries import BadCursor
from keyrail_cost_accounting.vectors import Attempt, Position
from keyrail_cost_accounting.versions import Source


def priced(*prices: ModelPrice, revision: int = 1) -> ConfigView:
    first, *later = prices
    mine = ProviderConfig(name="mine", base_url="http://x", prices={"m": first.replace(later=tuple(later))})
    return ConfigView(revision=revision, providers={"mine": mine})


def usd(amount: int, since_ms: int = 0) -> ModelPrice:
    return ModelPrice(input=Decimal(amount), output=Decimal(amount), since_ms=since_ms)


def attempt(cost: str | None = "0.00011", rank: int = 2, **usage: Any) -> Attempt:
    counts = Usage(input_tokens=100, output_tokens=10).replace(**usage)
    price = Price(cost_usd=None if cost is None else Decimal(cost), source="configured", version="1")
    return Attempt("id", 5, rank, "mine", "m", None, counts, price)


def bare(found: repricing.Plan) -> dict[str, Any]:
    (row,) = found.rows()
    return {name: value for name, value in row.items() if name not in ("provider", "model") and value}


def test_a_revision_that_says_the_same_changes_nothing() -> None:
    view = priced(usd(1), revision=9)
    at = [attempt()]
    at[0] = Attempt(
        "id", 5, 2, "mine", "m", None, at[0].usage, repricing.price(at[0], view).replace(version="1")
    )
    found = repricing.plan(at, view)
    assert (found.changes, found.digest) == ([], "")


def test_the_digest_tells_plans_apart_by_what_they_change() -> None:
    one = repricing.plan([attempt()], priced(usd(2), revision=2))
    assert one.digest == repricing.plan([attempt()], priced(usd(2), revision=3)).digest
    others = [
        repricing.plan([attempt()], priced(usd(3))),
        repricing.plan([attempt(rank=3)], priced(usd(2))),
        repricing.plan([attempt(), attempt()], priced(usd(2))),
    ]
    assert one.digest not in {other.digest for other in others}


def test_a_row_that_holds_no_more_is_counted_and_left() -> None:
    found = repricing.plan([attempt(rank=255)], priced(usd(2)))
    assert found.changes == []
    assert bare(found) == {"attempts": 1, "stuck": 1, "old_usd": "0.00011", "new_usd": "0.00011"}
    dear = repricing.plan([attempt(input_tokens=10**12)], priced(usd(1_000_000)))
    assert bare(dear)["stuck"] == 1


def test_the_next_version_of_a_row_has_a_rank_of_three_or_one_more() -> None:
    record: dict[str, Any] = dict.fromkeys(vectors.ATTEMPT_COLUMNS)
    record |= {"attempt_id": f"{1:032x}", "request_id": f"{2:032x}", "held_usd": "0.5", "status": "ok"}
    for rank, following in ((2, 3), (3, 4), (254, 255)):
        row = vectors.priced(record | {"rank": rank}, Price(cost_usd=Decimal(1), source="catalogue"))
        by_name = dict(zip(vectors.ATTEMPT_COLUMNS, row, strict=True))
        assert (by_name["rank"], by_name["cost_usd"], by_name["held_usd"]) == (following, 1, Decimal("0.5"))
        assert (by_name["attempt_id"], by_name["status"]) == ((1).to_bytes(16), "ok")


@pytest.mark.parametrize("cursor", ["", "x", "5 x", "5 1", "1e3 "])
def test_a_cursor_that_is_none_is_refused(cursor: str) -> None:
    with pytest.raises(BadCursor):
        vectors.position(cursor)


def test_a_cursor_is_read_as_it_was_written() -> None:
    for each in (Position(5), Position(5, "0190a000-0000-7000-8000-00000000000a")):
        assert vectors.position(str(each)) == each


def test_what_a_provider_says_in_its_own_words_stays_with_it() -> None:
    used = attempt(raw={"cost": 1}, served_tier="flex", region="us", searches=2, cache_read_tokens=7)
    other = what_if.carried(used, Target(provider="groq", model="m"))
    assert other == Usage(input_tokens=100, output_tokens=10, cache_read_tokens=7)
    sibling = what_if.carried(used, Target(provider="mine", model="n"))
    assert sibling == used.usage.replace(raw=None)
    assert what_if.carried(used, Target(provider="mine", model="m")) == used.usage


def test_a_figure_that_a_provider_reported_is_not_asked_of_no_cache() -> None:
    used = attempt(raw={"cost": 1}, cache_read_tokens=7)
    assert what_if.uncached(used.usage) == Usage(input_tokens=100, output_tokens=10)


def test_every_dated_price_is_a_version_and_a_discount_alone_is_one_of_all_models() -> None:
    dated = versions.versions(priced(usd(1), usd(2, since_ms=7)))
    assert {key: version.rates[0] for key, version in dated.items()} == {
        ("mine", "m", 0): 1,
        ("mine", "m", 7): 2,
    }
    discounted = ProviderConfig(name="p", base_url="http://x", discount=Decimal("0.1"))
    (only,) = versions.versions(ConfigView(providers={"p": discounted})).items()
    assert (only[0], only[1].discount, set(only[1].rates)) == (("p", "*", 0), Decimal("0.1"), {None})


def test_the_past_is_the_chain_of_what_was_in_force() -> None:
    """5 and 3 are; 4 was claimed in vain, 2 is known already, 1 is forgotten."""
    sources = {n: Source(applied_ms=n * 10, previous=p) for n, p in ((5, 3), (4, 3), (3, 2), (2, 1))}
    prices = {n: versions.versions(priced(usd(n))) for n in (5, 4, 3, 2)}
    found = versions.chain(sources, prices, 5, 20)
    assert [(number, at) for number, _, at in found] == [(3, 30), (5, 50)]
    assert [number for number, _, _ in versions.chain(sources, prices, 5, 0)] == [2, 3, 5]


def test_a_price_that_comes_and_goes_is_a_row_each_time() -> None:
    nothing: dict[versions.Key, versions.Version] = {}
    there = versions.versions(priced(usd(1)))
    (came,) = versions.changes(nothing, there, 4, 40)
    (went,) = versions.changes(there, nothing, 5, 50)
    assert came[:6] == ("mine", "m", 0, 4, 40, False)
    assert went[:7] == ("mine", "m", 0, 5, 50, True, None)
    assert versions.changes(there, there, 6, 60) == []
