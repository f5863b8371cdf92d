"""What of route, tenant and headers applies."""

from __future__ import annotations

from typing import cast

import pytest

from keyrail.caching import rule
from keyrail.contracts.config import CacheConfig, ConfigView, RouteConfig, TenantConfig
from keyrail.contracts.failures import Failure
from keyrail.contracts.slips import CacheAsk, CacheMode, CacheRule, Facts, Plan, Slip, Target

NO = TenantConfig(cache=False)


@pytest.mark.parametrize(
    ("route", "ask", "tenant", "mode"),
    [
        ("off", None, None, None),
        ("on", None, None, "on"),
        ("read", None, None, "read"),
        ("off", "on", None, "on"),
        ("off", "write", None, "write"),
        ("on", "off", None, "off"),
        ("on", "read", None, "read"),
        ("on", None, NO, None),
        ("on", "on", NO, "off"),
        ("off", "on", NO, "off"),
        ("off", "off", None, "off"),
    ],
)
def test_who_asks_wins_over_the_route_and_the_tenant_over_both(
    route: CacheMode, ask: CacheMode | None, tenant: TenantConfig | None, mode: CacheMode | None
) -> None:
    asked = CacheAsk(mode=ask) if ask is not None else None
    found = rule.merged(CacheConfig(mode=route), asked, tenant)
    assert (found.mode if found is not None else None) == mode


def test_a_time_is_the_callers_and_any_temperature_the_routes() -> None:
    config = CacheConfig(mode="on", ttl_s=60, any_temperature=True)
    assert rule.merged(config, CacheAsk(ttl_s=5), None) == CacheRule(mode="on", ttl_s=5, any_temperature=True)
    assert rule.merged(config, None, None) == CacheRule(mode="on", ttl_s=60, any_temperature=True)
    assert rule.merged(CacheConfig(), CacheAsk(mode="on"), None) == CacheRule(mode="on", ttl_s=300)
    assert rule.merged(CacheConfig(), CacheAsk(ttl_s=5), None) is None, "a time alone opts into nothing"


def test_headers_are_read_whatever_their_case() -> None:
    assert rule.asked(None, None) is None
    assert rule.asked(" On ", "86400") == CacheAsk(mode="on", ttl_s=86_400)
    assert rule.asked(None, "1") == CacheAsk(ttl_s=1)


@pytest.mark.parametrize(
    ("mode", "ttl"),
    [
        ("yes", None),
        ("", None),
        (None, "0"),
        (None, "86401"),
        (None, "1.5"),
        (None, "-1"),
        (None, ""),
        (None, "²"),
    ],
)
def test_nonsense_is_refused_by_the_headers_name(mode: str | None, ttl: str | None) -> None:
    failure = cast("Failure", rule.asked(mode, ttl))
    assert failure.status == 400
    assert failure.param == ("x-keyrail-cache" if mode is not None else "x-keyrail-cache-ttl")


def test_a_plan_that_nobody_spoke_of_stays_the_very_same() -> None:
    target = Target(provider="p", model="m")
    plan = Plan(strategy="fallback", targets=(target,), route="r")
    facts = Facts(model="r")
    slip = Slip(
        request_id="r",
        inbox="i",
        tenant="t",
        key_id="k",
        received_ms=0,
        deadline_ms=0,
        take_by_ms=0,
        facts=facts,
    )
    off = ConfigView(routes={"r": RouteConfig(name="r", strategy="fallback", targets=())})
    on = ConfigView(
        routes={"r": RouteConfig(name="r", strategy="fallback", targets=(), cache=CacheConfig(mode="on"))}
    )
    assert rule.applied(slip, plan, off) is plan
    assert rule.applied(slip, plan, on).cache == CacheRule(mode="on")
    assert rule.applied(slip, plan, on.replace(tenants={"t": NO})) is plan
