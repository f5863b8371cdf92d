"""Routes, verdicts and simulations over the admin API."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from support.control import Begin, Home, Ledger
from support.nats import NatsServer

from keyrail.contracts import score_keys, streams, subjects
from keyrail.contracts.base import Json, decode_all
from keyrail.contracts.decisions import DecisionsQuery, VerdictsQuery
from keyrail.contracts.ledger import LedgerPage, LedgerQuery
from keyrail.contracts.routing import Candidate, RequestRouted, VerdictGiven
from keyrail.contracts.scores import Exemplar
from keyrail.contracts.slips import Facts

TEXT = """
providers:
  mine:
    base_url: 'http://127.0.0.1:9/v1'
    needs_key: false
    prices: {small: {input: 1, output: 2}, large: {input: 10, output: 20}}
routes:
  fast: {strategy: fallback, targets: [mine/large, mine/small]}
aliases:
  quick: fast
"""
OTHER = TEXT.replace("[mine/large, mine/small]", "[mine/small]")
PROMPT = "add the canary numbers 17 and 4"
WORDS = ("please", "now", "quickly", "twice")
AT = "2026-11-23T12:00:00.123Z"


def verdict(number: int, **more: object) -> dict[str, object]:
    target = ("mine/small", "mine/large")[number % 2]
    return {
        "route": "fast",
        "task": "sums",
        "target": target,
        "score": number % 2,
        "id": f"v{number}",
        "prompt": f"{PROMPT} {WORDS[number // 2]}" if number < 8 else None,
    } | more


async def published(nats: NatsServer) -> list[bytes]:
    """All messages of verdicts."""
    bus = await nats.bus("cost-accounting")
    messages: list[bytes] = []
    sub = await bus.js.pull_subscribe_bind(streams.COST_ACCOUNTING.name, streams.EVENTS.name)
    info = await bus.js.consumer_info(streams.EVENTS.name, streams.COST_ACCOUNTING.name)
    for _ in range(info.num_pending or 0):
        (msg,) = await sub.fetch(1, timeout=5)
        if msg.subject == subjects.EVENT_VERDICT:
            messages.append(msg.data)
    await bus.close()
    return messages


async def test_a_file_of_verdicts_given_twice_changes_nothing(
    begin: Begin, home: Home, nats: NatsServer
) -> None:
    home.config.write_text(TEXT)
    control = await begin()
    file = {"verdicts": [verdict(number) for number in range(200)]}
    assert await control.post("/v1/verdicts", file) == {"verdicts": 200, "new": 200}
    once = await control.rows("/v1/routes/fast/scores")
    assert [(row["task"], row["target"], row["verdicts"]) for row in once] == [
        ("sums", "mine/large", 100),
        ("sums", "mine/small", 100),
    ]
    large, small = once
    assert large["quality"] > 0.9 > 0.1 > small["quality"]
    assert large["low"] < large["quality"] < large["high"] <= 1

    assert await control.post("/v1/verdicts", file) == {"verdicts": 200, "new": 0}
    assert await control.rows("/v1/routes/fast/scores") == once
    assert await control.rows("/v1/routes/fast/scores?tenant=other") == []
    events = [each for data in await published(nats) for each in decode_all(VerdictGiven, data)]
    assert sorted(each.verdict_id for each in events) == sorted(f"v{n}" for n in range(200) for _ in (1, 2))
    assert events[0].task == "sums"


async def test_of_a_prompt_features_are_kept_and_no_word(begin: Begin, home: Home, nats: NatsServer) -> None:
    home.config.write_text(TEXT)
    control = await begin()
    given = [verdict(number) for number in range(8)]
    await control.post("/v1/verdicts", {"verdicts": given})
    kv = await control.bus.js.key_value(streams.SCORES.name)
    entries = {key: (await kv.get(key)).value or b"" for key in await kv.keys()}
    exemplars = [Exemplar.decode(value) for key, value in entries.items() if ".e." in key]
    assert len(exemplars) == 4, "two verdicts about one prompt are one exemplar"
    assert all(each.scores == {"mine/small": 0.0, "mine/large": 1.0} for each in exemplars)
    assert set(map(score_keys.parsed, entries)) == {("default", "fast")}
    everything = b"".join([*entries.values(), *await published(nats)])
    assert b"canary" not in everything


async def test_what_is_wrong_is_named_and_nothing_is_taken(
    begin: Begin, home: Home, nats: NatsServer
) -> None:
    home.config.write_text(TEXT)
    control = await begin()
    for wrong, said in (
        ({"route": "slow"}, "verdicts[1].route: there is no such route"),
        ({"target": "mine"}, "verdicts[1].target: must be provider/model"),
        ({"target": "nobody/m"}, "verdicts[1].target: must be provider/model"),
        ({"score": 1.5}, "verdicts[1].score"),
        ({"weight": 0}, "verdicts[1].weight"),
        ({"scores": 1}, "unknown field: scores"),
    ):
        body = {"verdicts": [verdict(1), verdict(2) | wrong]}
        answer = await control.post("/v1/verdicts", body, expect=400)
        assert said in answer["error"]["message"]
    assert await control.rows("/v1/routes/fast/scores") == []
    assert await published(nats) == []


async def test_routes_are_told_as_they_are_in_force(begin: Begin, home: Home) -> None:
    home.config.write_text(TEXT)
    control = await begin()
    (row,) = await control.rows("/v1/routes")
    assert [each["target"] for each in row["targets"]] == ["mine/large", "mine/small"]
    assert (row["strategy"], row["reference"], row["aliases"]) == ("fallback", "mine/large", ["quick"])
    shown = await control.get("/v1/routes/fast")
    assert shown["rules"]["timeouts"]["total_s"] == 600
    assert (shown["rules"]["retries"], shown["rules"]["smart"]) == (1, None)
    await control.get("/v1/routes/slow", expect=404)
    await control.get("/v1/routes/slow/scores", expect=404)


def decided(number: int, **changes: Any) -> dict[str, Json]:
    """A row as cost-accounting tells it."""
    event = RequestRouted(
        request_id=f"r{number}",
        epoch=0,
        tenant="default",
        key_id="k",
        route="fast",
        strategy="fallback",
        revision=1,
        targets=("mine/large", "mine/small"),
        candidates=(Candidate(target="mine/large"), Candidate(target="mine/small")),
        code="first-listed",
        reason="mine/large is listed first",
        draw=0.5,
        facts=Facts(model="quick", input_tokens_estimate=1_000_000, max_output_tokens=100),
        router="r",
        routed_ms=1,
    ).replace(**changes)
    row = json.loads(event.encode())
    return {name: value for name, value in row.items() if name not in ("event", "routed_ms")} | {
        "routed_at": AT
    }


async def test_a_configuration_is_tried_on_what_was_recorded(
    begin: Begin, home: Home, ledger: Ledger
) -> None:
    home.config.write_text(TEXT)
    control = await begin()
    down = (Candidate(target="mine/large", gate="breaker", share=0.0), Candidate(target="mine/small"))
    pages = {
        None: LedgerPage(rows=[decided(1), decided(2), {**decided(3), "facts": 5}], cursor="more"),
        "more": LedgerPage(rows=[decided(4, candidates=down, targets=("mine/small",))]),
    }

    def page(query: LedgerQuery) -> LedgerPage:
        assert isinstance(query.query, DecisionsQuery)
        assert query.query.since_ms is not None
        return pages[query.query.cursor]

    ledger.page = page
    asked = {"since": "7d", "config": OTHER}
    first = await control.post("/v1/simulate", asked)
    (told,) = first["routes"]
    assert told["moves"] == [{"from": "mine/large", "to": "mine/small", "decisions": 2}]
    assert (told["decisions"], told["elsewhere"], told["compared"], first["unreadable"]) == (2, 2, 2, 1)
    assert Decimal(told["before_usd"]) == 2 * Decimal("10.002")
    assert Decimal(told["after_usd"]) == 2 * Decimal("1.0002")
    rest = await control.post(
        "/v1/simulate", asked | {name: first[name] for name in ("since", "until", "cursor")}
    )
    assert rest["cursor"] is None
    assert rest["since"] == first["since"]
    assert rest["routes"][0]["elsewhere"] == 0

    same = await control.post("/v1/simulate", {"since": "7d", "config": TEXT})
    assert same["routes"][0] | {"moves": [], "elsewhere": 0} == same["routes"][0]
    assert same["routes"][0]["before_usd"] == same["routes"][0]["after_usd"]
    gone = await control.post("/v1/simulate", {"since": "7d", "config": "routes: {}"})
    assert gone["routes"][0]["refused_after"] == 2
    bad = await control.post("/v1/simulate", {"since": "7d", "config": "routes: 5"}, expect=400)
    assert bad["problems"]
    await control.post("/v1/simulate", {"since": "1h", "until": "2h", "config": TEXT}, expect=400)


async def test_verdicts_are_asked_for_by_what_they_are_about(
    begin: Begin, home: Home, ledger: Ledger
) -> None:
    control = await begin()
    ledger.page = lambda _: LedgerPage(rows=[{"verdict_id": "v1"}], cursor="next")
    page = await control.get("/v1/verdicts?route=fast&task=sums&tenant=default&since=1h")
    assert page == {"rows": [{"verdict_id": "v1"}], "cursor": "next"}
    query = ledger.asked[-1].query
    assert isinstance(query, VerdictsQuery)
    assert (query.route, query.task, query.tenant, query.until_ms) == ("fast", "sums", "default", None)
