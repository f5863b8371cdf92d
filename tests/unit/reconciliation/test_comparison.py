"""A report beside the ledger: where each difference is put, and that its parts add up to it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyrail.contracts.reports import KeySum, ReportLine
from keyrail.reconciliation import comparison, names, split, totals
from keyrail.reconciliation.comparison import Bucket, Comparison
from keyrail.reconciliation.split import Evidence, Reported

D = Decimal
DAY, NEXT, DAY_BEFORE = "2026-11-02", "2026-11-03", "2026-11-01"


def line(cost: str | None, tokens: tuple[int, int] | None = None, **changes: Any) -> ReportLine:
    values: dict[str, Any] = {"day": DAY, "account_key": "main", "model": "m", "source": "openai-usage"}
    values["kind"] = "both" if cost and tokens else "cost" if cost else "usage"
    if cost:
        values["cost_usd"] = D(cost)
    if tokens:
        values |= {"input_tokens": tokens[0], "output_tokens": tokens[1]}
    return ReportLine(**values | changes)


def row(cost: str, tokens: tuple[int, int] = (0, 0), **changes: Any) -> KeySum:
    values: dict[str, Any] = {"day": DAY, "key_id": "main", "model": "m", "requests": 1}
    values |= {"cost_usd": D(cost), "input_tokens": tokens[0], "output_tokens": tokens[1]}
    return KeySum(**values | changes)


def compared(
    lines: list[ReportLine], sums: list[KeySum], provider: str = "openai", **told: str
) -> Comparison:
    return comparison.compare(provider, lines, sums, told, DAY)


def only(found: Comparison) -> Bucket:
    (bucket,) = found.buckets
    return bucket


def test_what_agrees_has_no_parts() -> None:
    found = compared([line("1.5", (100, 10))], [row("1.5", (100, 10))])
    assert (only(found).difference, only(found).parts, only(found).tokens) == (0, {}, "agree")
    total = totals.total(found)
    assert (total.tied_share, total.explained_share, total.unexplained_usd) == (1, 1, 0)


def test_tokens_and_money_of_one_bucket_are_put_together() -> None:
    lines = [line(None, (100, 10)), line("1", line="m, input"), line("0.5", line="m, output")]
    assert only(compared(lines, [row("1.5", (100, 10))])).parts == {}


def test_a_key_that_is_not_ours_called_outside_the_gateway() -> None:
    lines = [line("1", (100, 10)), line("2", (100, 10), account_key="laptop")]
    found = compared(lines, [row("1", (100, 10))])
    assert [bucket.parts for bucket in found.buckets] == [{"outside": D(2)}, {}]
    assert [bucket.place.ours for bucket in found.buckets] == [False, True]
    assert found.outside_keys == ["laptop"]
    assert totals.total(found).explained_share == 1


def test_a_model_that_the_ledger_never_saw_was_called_outside() -> None:
    lines = [line("1", (100, 10)), line("2", (100, 10), model="other")]
    found = compared(lines, [row("1", (100, 10))])
    assert [bucket.parts for bucket in found.buckets] == [{}, {"outside": D(2)}]


def test_money_for_no_model_is_not_taken_for_calls_outside() -> None:
    lines = [line("1", (100, 10)), line("0.3", model="", line="web search tool calls")]
    found = compared(lines, [row("1", (100, 10))])
    assert [bucket.parts for bucket in found.buckets] == [{"unexplained": D("0.3")}, {}]


def test_more_requests_and_tokens_on_our_own_key_are_calls_outside() -> None:
    found = compared([line("1.5", (150, 15), requests=3)], [row("1", (100, 10), requests=2)])
    assert only(found).parts == {"outside": D("0.5")}
    assert only(found).tokens == "more"


def test_tokens_that_account_for_a_part_explain_no_more_than_that() -> None:
    """One token in a hundred more cannot cost the half of the invoice."""
    found = only(compared([line("2", (101, 10), requests=2)], [row("1", (100, 10))]))
    assert found.parts["outside"] == (D(2) / 101).quantize(D("1e-12"))
    assert found.parts["price"] == 1 - found.parts["outside"]


def test_the_same_tokens_at_another_price_are_a_price_mismatch_with_its_ratio() -> None:
    found = only(compared([line("0.85", (100, 10))], [row("1", (100, 10))]))
    assert found.parts == {"price": D("-0.15")}
    assert found.ratio == D("0.85")


def test_a_price_seen_elsewhere_is_told_apart_from_calls_outside() -> None:
    lines = [line("0.8", (100, 10)), line("1.2", (150, 15), day=NEXT)]
    found = compared(lines, [row("1", (100, 10)), row("1", (100, 10), day=NEXT)])
    assert found.buckets[1].parts == {"price": D("-0.2"), "outside": D("0.4")}
    lines = [line("1.1", (100, 10)), line("1.65", (150, 15), day=NEXT)]
    found = compared(lines, [row("1", (100, 10)), row("1", (100, 10), day=NEXT)])
    assert found.buckets[1].parts == {"price": D("0.1"), "outside": D("0.55")}
    assert found.buckets[1].ratio == D("1.1")


@pytest.mark.parametrize(("invoice", "tokens"), [("0.7", (70, 7)), ("1.3", (130, 13))])
def test_what_was_estimated_explains_as_much_as_it_cost(invoice: str, tokens: tuple[int, int]) -> None:
    sums = [row("1", (100, 10), estimated_attempts=1, estimated_usd=D("0.3"))]
    found = only(compared([line(invoice, tokens, requests=1)], sums))
    assert found.parts == {"estimated": D(invoice) - 1}
    found = only(compared([line("0.5", (50, 5), requests=1)], sums))
    assert found.parts == {"estimated": D("-0.3"), "unexplained": D("-0.2")}


def test_attempts_without_a_cost_explain_what_the_invoice_has_more() -> None:
    sums = [row("1", (150, 15), requests=2, unknown_cost_attempts=1, unknown_input_tokens=50)]
    sums = [sums[0].replace(unknown_output_tokens=5)]
    found = only(compared([line("1.5", (150, 15), requests=2)], sums))
    assert found.parts == {"unknown": D("0.5")}


def test_what_ran_over_midnight_moves_to_the_next_day() -> None:
    late = {"late_attempts": 1, "late_usd": D("0.4"), "late_input_tokens": 40, "late_output_tokens": 4}
    sums = [row("1", (100, 10), requests=2, **late), row("1", (100, 10), day=NEXT)]
    lines = [line("0.6", (60, 6), requests=1), line("1.4", (140, 14), requests=2, day=NEXT)]
    found = compared(lines, sums)
    assert [bucket.parts for bucket in found.buckets] == [{"late": D("-0.4")}, {"late": D("0.4")}]
    assert totals.total(found).explained_share == 1


def test_what_ran_over_midnight_at_either_end_of_the_period_is_late_too() -> None:
    late = {"late_attempts": 1, "late_usd": D("0.4"), "late_input_tokens": 40, "late_output_tokens": 4}
    before = row("1", (100, 10), day=DAY_BEFORE, **late)
    found = compared([line("1.4", (140, 14))], [before, row("1", (100, 10))])
    assert only(found).parts == {"late": D("0.4")}
    found = compared([line("0.6", (60, 6))], [row("1", (100, 10), **late)])
    assert only(found).parts == {"late": D("-0.4")}


def test_days_that_are_each_others_opposite_in_money_and_tokens_are_late() -> None:
    sums = [row("1", (100, 10)), row("1", (100, 10), day=NEXT)]
    found = compared([line("0.7", (70, 7)), line("1.3", (130, 13), day=NEXT)], sums)
    assert [bucket.parts for bucket in found.buckets] == [{"late": D("-0.3")}, {"late": D("0.3")}]
    found = compared([line("0.7", (70, 7)), line("1.3", (190, 13), day=NEXT)], sums)
    assert all("late" not in bucket.parts for bucket in found.buckets)


def test_money_without_tokens_and_without_a_reason_is_unexplained() -> None:
    found = compared([line("1.2")], [row("1", (100, 10))])
    assert only(found).parts == {"unexplained": D("0.2")}
    total = totals.total(found)
    assert total.explained_share == (1 / D("1.2")).quantize(D("1e-6"))
    assert not totals.tolerated(total, D("0.1"))
    assert totals.tolerated(total, D("0.2"))


def test_more_tokens_in_as_many_requests_are_not_calls_outside() -> None:
    found = only(compared([line("1.5", (150, 15), requests=1)], [row("1", (100, 10))]))
    assert found.parts == {"unexplained": D("0.5")}


def test_a_ledger_that_has_what_nobody_billed_is_not_explained() -> None:
    found = compared([line("1", (100, 10))], [row("1", (100, 10)), row("0.5", (5, 5), model="ghost")])
    assert found.buckets[0].parts == {"unexplained": D("-0.5")}
    assert totals.total(found).explained_share == D("0.5")


def test_cents_are_rounded_and_only_reports_that_round_may_differ_by_that() -> None:
    def console(cost: str) -> ReportLine:
        return line(cost, source="anthropic-console-costs", line=cost)

    sums = [row("0.226", (100, 10))]
    assert only(compared([console("0.19"), console("0.03")], sums)).parts == {"rounding": D("-0.006")}
    assert only(compared([line("0.22")], sums)).parts == {"unexplained": D("-0.006")}


def test_money_without_keys_is_compared_over_all_keys() -> None:
    lines = [line("3", account_key=""), line(None, (100, 10)), line(None, (200, 20), account_key="second")]
    sums = [row("1", (100, 10)), row("2", (200, 20), key_id="second")]
    found = compared(lines, sums)
    assert (only(found).place.key, only(found).parts, found.by_key) == ("*", {}, False)


def test_money_without_models_is_compared_by_day() -> None:
    lines = [line("3", account_key="", model=""), line(None, (100, 10)), line(None, (5, 5), model="n")]
    found = compared(lines, [row("1", (100, 10)), row("2", (5, 5), model="n")])
    assert (only(found).place.model, only(found).parts) == ("*", {})


def test_a_report_of_tokens_alone_ties_out_in_tokens() -> None:
    found = compared([line(None, (100, 10))], [row("1", (100, 10))])
    assert totals.total(found).invoice_usd is None
    assert totals.tolerated(totals.total(found), D(0))
    found = compared([line(None, (101, 10))], [row("1", (100, 10))])
    assert only(found).parts == {}
    assert not totals.tolerated(totals.total(found), D(0))


def test_keys_are_matched_as_told_then_by_name_then_when_there_is_one_of_each() -> None:
    assert names.keys(["a", "b"], ["b", "c"], {"a": "c"}) == {"a": "c", "b": "b"}
    assert names.keys(["a"], ["c"], {}) == {"a": "c"}
    assert names.keys(["a", "b"], ["c"], {}) == {}
    assert names.keys(["a"], ["c", "d"], {}) == {}
    assert names.keys([""], ["c"], {}) == {}


@pytest.mark.parametrize(
    ("provider", "reported", "ours"),
    [
        ("openai", "gpt-4o-mini-2024-07-18", "gpt-4o-mini"),
        ("openai", "gpt-4-0613", "gpt-4"),
        ("anthropic", "claude-haiku-4-5-20251001", "claude-haiku-4-5"),
        ("anthropic", "Claude Haiku 4.5", "claude-haiku-4-5"),
        ("anthropic", "Claude Haiku 3.5", "claude-3-5-haiku-latest"),
        ("openrouter", "openai/gpt-4.1-2025-04-14", "openai/gpt-4.1:nitro"),
        ("mistral", "mistral-large-2411", "mistral-large-latest"),
        ("gemini", "models/gemini-2.5-pro", "gemini-2.5-pro"),
    ],
)
def test_a_model_has_one_name(provider: str, reported: str, ours: str) -> None:
    assert names.model(provider, reported) == names.model(provider, ours)


@pytest.mark.parametrize(
    ("provider", "one", "other"),
    [
        ("openai", "gpt-4o", "gpt-4o-mini"),
        ("openai", "gpt-5.4", "gpt-5"),
        ("anthropic", "claude-opus-4-1", "claude-opus-4-5"),
        ("openrouter", "x/y:free", "x/y"),
    ],
)
def test_models_that_are_not_the_same_stay_apart(provider: str, one: str, other: str) -> None:
    assert names.model(provider, one) != names.model(provider, other)


USD = st.decimals(min_value=-100, max_value=10_000, places=12)
PAID = st.decimals(min_value=0, max_value=10_000, places=12)
COUNT = st.integers(0, 10**9)
SUMS = st.builds(
    KeySum,
    day=st.just(DAY),
    key_id=st.just("k"),
    model=st.just("m"),
    cost_usd=PAID,
    estimated_usd=PAID,
    late_usd=PAID,
    requests=st.integers(0, 5),
    **{
        name: COUNT
        for name in KeySum.__struct_fields__
        if name.endswith("_tokens")
        or name in ("estimated_attempts", "unknown_cost_attempts", "late_attempts")
    },
)  # fmt: skip
REPORTED = st.builds(
    Reported,
    requests=st.none() | st.integers(0, 5),
    input_tokens=st.none() | COUNT,
    output_tokens=st.none() | COUNT,
    cost_usd=st.none() | USD,
    rounding_usd=st.sampled_from([D(0), D("0.005"), D("0.1")]),
)


@given(
    st.builds(
        Evidence,
        reported=REPORTED,
        ledger=SUMS,
        ours=st.booleans(),
        late_usd=st.sampled_from([D(0), D("0.1"), D("-3")]),
        ratio=st.none() | st.decimals(min_value=0, max_value=5, places=4),
    )
)
def test_the_parts_add_up_to_the_difference(found: Evidence) -> None:
    parts = split.split(found)
    assert sum(parts.values(), D(0)) == found.difference
    assert all(parts.values())
    assert parts.keys() <= set(split.CLASSES)


LINES = st.lists(
    st.builds(
        line,
        st.none() | st.sampled_from(["0.1", "1", "2.5", "-1"]),
        st.none() | st.tuples(st.integers(0, 300), st.integers(0, 30)),
        day=st.sampled_from([DAY, NEXT]),
        account_key=st.sampled_from(["", "main", "other"]),
        model=st.sampled_from(["", "m", "n"]),
    ),
    max_size=8,
)
ROWS = st.lists(
    st.builds(
        row,
        st.sampled_from(["0", "0.1", "1", "2.5"]),
        st.tuples(st.integers(0, 300), st.integers(0, 30)),
        day=st.sampled_from([DAY_BEFORE, DAY, NEXT]),
        key_id=st.sampled_from(["main", "second"]),
        model=st.sampled_from(["m", "n"]),
        late_usd=st.sampled_from([D(0), D("0.1")]),
        late_attempts=st.integers(0, 1),
    ),
    max_size=8,
)


@given(LINES, ROWS)
def test_nothing_is_lost_between_the_report_the_ledger_and_the_buckets(
    lines: list[ReportLine], sums: list[KeySum]
) -> None:
    found = compared(lines, sums)
    total = totals.total(found)
    assert total.ledger_usd == sum((each.cost_usd for each in sums if each.day != DAY_BEFORE), D(0))
    if not found.has_money:
        return
    assert total.invoice_usd == sum((each.cost_usd or 0 for each in lines), D(0))
    for bucket in found.buckets:
        assert sum(bucket.parts.values(), D(0)) == bucket.difference
    assert total.difference_usd == sum((each.usd for each in total.by_class), D(0))
