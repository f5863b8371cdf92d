"""Prices set in texts as people write them: everything else stays, to the character."""

from __future__ import annotations

from decimal import Decimal
from textwrap import dedent

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from keyrail_control.price_text import NotEditable, with_price

RATES = {"input": Decimal("2.5"), "output": Decimal("15")}
NEW = "{input: 2.5, output: 15}"


def edited(text: str, model: str = "m", since: str | None = None, **rates: str) -> str:
    more = {name: Decimal(value) for name, value in rates.items()}
    return with_price(dedent(text), "p", model, RATES | more, since)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "providers:\n  p:\n    prices:\n      m: NEW\n"),
        ("# mine\n", "# mine\nproviders:\n  p:\n    prices:\n      m: NEW\n"),
        ("# mine", "# mine\nproviders:\n  p:\n    prices:\n      m: NEW\n"),
        ("output_cap: 5\n", "output_cap: 5\nproviders:\n  p:\n    prices:\n      m: NEW\n"),
        ("output_cap: 5", "output_cap: 5\nproviders:\n  p:\n    prices:\n      m: NEW\n"),
        ("providers:\nroutes: {}\n", "providers:\n  p:\n    prices:\n      m: NEW\nroutes: {}\n"),
        ("providers: {}\nroutes: {}\n", "providers: {p: {prices: {m: NEW}}}\nroutes: {}\n"),
        ("providers: null # none\n", "providers: {p: {prices: {m: NEW}}} # none\n"),
        ("providers:\n  p:  # ours\n", "providers:\n  p:  # ours\n    prices:\n      m: NEW\n"),
        (
            "providers:\n  p: {base_url: 'http://x/v1'}\n",
            "providers:\n  p: {base_url: 'http://x/v1', prices: {m: NEW}}\n",
        ),
        (
            "providers:\n  q: {auth: none}\n\n# the routes\nroutes: {}\n",
            "providers:\n  q: {auth: none}\n  p:\n    prices:\n      m: NEW\n\n# the routes\nroutes: {}\n",
        ),
        (
            "providers:\n    p:\n        prices:\n            a: {input: 1, output: 2} # old\n    q: {}\n",
            "providers:\n    p:\n        prices:\n            a: {input: 1, output: 2} # old\n"
            "            m: NEW\n    q: {}\n",
        ),
        (
            "providers: {p: {prices: {a: {input: 1, output: 2},}}}\n",
            "providers: {p: {prices: {a: {input: 1, output: 2}, m: NEW,}}}\n",
        ),
        ("providers:\r\n  p: {}\r\n", "providers:\r\n  p: {prices: {m: NEW}}\r\n"),
        ("\ufeffproviders:\n  p:\n", "\ufeffproviders:\n  p:\n    prices:\n      m: NEW\n"),
        (
            "providers:\n  p:\n    prices:\n      m: # soon\n",
            "providers:\n  p:\n    prices:\n      m: NEW # soon\n",
        ),
    ],
)  # fmt: skip
def test_a_price_that_was_not_there_is_added_where_it_belongs(before: str, after: str) -> None:
    assert with_price(before, "p", "m", RATES) == after.replace("NEW", NEW)


def test_a_price_in_lines_changes_in_its_lines() -> None:
    text = """\
        providers:
          p:
            prices:
              # negotiated in May
              m:
                input: 3      # was 4
                # for long prompts
                cache_read: 0.3
                output: 15
              other: {input: 1, output: 1}
        """
    assert edited(text, cache_write="4") == dedent("""\
        providers:
          p:
            prices:
              # negotiated in May
              m:
                input: 2.5      # was 4
                # for long prompts
                output: 15
                cache_write: 4
              other: {input: 1, output: 1}
        """)


def test_a_price_in_one_line_is_replaced_in_it() -> None:
    text = 'providers: {p: {prices: {"m": {input: 1, output: 1}, x: {input: 1, output: 1}}}} # all\n'
    assert edited(text) == text.replace('"m": {input: 1, output: 1}', f'"m": {NEW}')


@pytest.mark.parametrize("model", ["*", "meta/llama:free", "gpt-5.4", "a#b", "true", "7", "a: b"])
def test_any_models_name_is_a_key(model: str) -> None:
    for text in ("", "providers: {p: {prices: {}}}\n", "providers:\n  p:\n    prices:\n      a: {}\n"):
        prices = yaml.load(edited(text, model), Loader=yaml.BaseLoader)["providers"]["p"]["prices"]
        assert prices[model] == {"input": "2.5", "output": "15"}


def test_a_dated_price_makes_a_list_of_a_price() -> None:
    new = "{from: 2026-12-01, input: 2.5, output: 15}"
    text = "providers:\n  p:\n    prices:\n      m: {input: 1, output: 2} # so far\n"
    assert edited(text, since="2026-12-01") == text.replace(
        "{input: 1, output: 2}", f"[{{input: 1, output: 2}}, {new}]"
    )
    text = "providers:\n  p:\n    prices:\n      m:\n        input: 1 # in\n        output: 2\n  q: {}\n"
    assert edited(text, since="2026-12-01") == (
        "providers:\n  p:\n    prices:\n      m:\n        - input: 1 # in\n          output: 2\n"
        f"        - {new}\n  q: {{}}\n"
    )
    assert edited(text.removesuffix("\n  q: {}\n"), since="2026-12-01").endswith(
        f"        - input: 1 # in\n          output: 2\n        - {new}\n"
    )


LISTED = """\
providers:
  p:
    prices:
      m:
      - {input: 1, output: 2}
      - from: 2026-12-01
        input: 3
        output: 4  # four
        cache_read: 1
      # far away
      - {from: "2027-06-01T00:00:00+02:00", input: 5, output: 6}
"""


def test_dated_prices_stay_in_order_and_one_of_the_same_time_is_replaced() -> None:
    new = "{from: 2027-01-01, input: 2.5, output: 15}"
    assert edited(LISTED, since="2027-01-01") == LISTED.replace("      # far", f"      - {new}\n      # far")
    assert edited(LISTED, since="2028-01-01") == LISTED + "      - " + new.replace("2027", "2028") + "\n"
    assert edited(LISTED, since="2026-12-01") == LISTED.replace("input: 3", "input: 2.5").replace(
        "output: 4", "output: 15"
    ).replace("        cache_read: 1\n", "")
    flow = "providers: {p: {prices: {m: [{input: 1, output: 2}, {from: 2027-06-01, input: 5, output: 6}]}}}"
    assert edited(flow, since="2027-01-01") == flow.replace("2}, ", f"2}}, {new}, ")


def test_the_same_time_said_otherwise_is_the_same_time() -> None:
    found = edited(LISTED, since="2027-05-31T22:00:00Z")
    assert yaml.load(found, Loader=yaml.BaseLoader)["providers"]["p"]["prices"]["m"][2] == {
        "from": "2027-05-31T22:00:00Z", "input": "2.5", "output": "15",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "since", "why"),
    [
        (LISTED, None, "dated"),
        ("", "2026-12-01", "no price here yet"),
        (LISTED, "2026-13-01", "a date such as"),
        (LISTED, "2026-12-01T00:00:00", "a date such as"),
        ("providers: [p]\n", None, "can't be edited"),
        ("providers: &all\n  p: {prices: *all}\n", None, "can't be edited"),
        ("providers: {p: {prices: {m: 5}}}\n", None, "can't be edited"),
        ("providers: {p: ", None, "can't be edited"),
        ("providers: {}\n---\nproviders: {}\n", None, "can't be edited"),
    ],
)  # fmt: skip
def test_a_text_that_does_not_allow_it_is_refused(text: str, since: str | None, why: str) -> None:
    with pytest.raises(NotEditable, match=why):
        edited(text, since=since)


_NAMES = st.sampled_from(["a", "m", "x/y", "z.1"])
_PRICE = st.fixed_dictionaries({"input": st.integers(0, 9), "output": st.integers(0, 9)})
_DOCUMENT = st.fixed_dictionaries(
    {"providers": st.dictionaries(st.sampled_from(["p", "q"]), st.fixed_dictionaries(
        {"base_url": st.just("http://x"), "prices": st.dictionaries(_NAMES, _PRICE, max_size=3)}
    ), max_size=2)},
    optional={"routes": st.just({"fast": {"targets": ["p/m", "q/a"]}}), "aliases": st.just({"b": "p/m"})},
)  # fmt: skip


@given(_DOCUMENT, st.sampled_from([None, True, False]), st.integers(1, 6), st.booleans())
def test_whatever_style_it_is_written_in_only_the_price_changes(
    document: dict[str, object], flow: bool | None, indent: int, sort: bool
) -> None:
    text = yaml.safe_dump(document, default_flow_style=flow, indent=indent + 1, sort_keys=sort)
    after = yaml.safe_load(with_price(text, "p", "m", RATES))
    prices = after["providers"].setdefault("p", {}).setdefault("prices", {})
    assert prices.pop("m") == {"input": 2.5, "output": 15}
    before = yaml.safe_load(text)
    its = before["providers"].setdefault("p", {}).setdefault("prices", {})
    its.pop("m", None)
    assert after == before
