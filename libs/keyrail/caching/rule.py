"""What applies to a request: the route's own rule, its tenant's word, and what its headers ask. Pure."""

from __future__ import annotations

from typing import Final

from keyrail.contracts.config import CacheConfig, ConfigView, RouteConfig, TenantConfig
from keyrail.contracts.failures import Failure
from keyrail.contracts.slips import CacheAsk, CacheMode, CacheRule, Plan, Slip

MODES: Final[tuple[CacheMode, ...]] = ("off", "on", "read", "write")
MODE_HEADER: Final = "x-keyrail-cache"
TTL_HEADER: Final = "x-keyrail-cache-ttl"
MOST_TTL_S: Final = 86_400

_NOTHING = CacheConfig()
_OFF = CacheRule(mode="off")


def asked(mode: str | None, ttl: str | None) -> CacheAsk | Failure | None:
    """What the headers of a request say; None: nothing. A Failure (400) for what is no mode or no time."""
    if mode is None and ttl is None:
        return None
    wanted: CacheMode | None = None
    if mode is not None:
        wanted = next((each for each in MODES if each == mode.strip().lower()), None)
        if wanted is None:
            return _nonsense(MODE_HEADER, f"must be one of {', '.join(MODES)}")
    seconds: int | None = None
    if ttl is not None:
        text = ttl.strip()
        seconds = int(text) if text.isascii() and text.isdigit() and len(text) < 9 else 0
        if not 1 <= seconds <= MOST_TTL_S:
            return _nonsense(TTL_HEADER, f"must be a whole number of seconds from 1 to {MOST_TTL_S}")
    return CacheAsk(mode=wanted, ttl_s=seconds)


def merged(config: CacheConfig, ask: CacheAsk | None, tenant: TenantConfig | None) -> CacheRule | None:
    """The rule; None where nobody spoke of caching, so that the answer does not either.

    Whoever asks wins over the route, in both directions, but not over a tenant with `cache: false`. Whether
    sampled answers may be kept is for the route alone to say.
    """
    wanted = ask.mode if ask is not None and ask.mode is not None else config.mode
    if ask is None and wanted == "off":
        return None
    if wanted == "off" or (tenant is not None and not tenant.cache):
        return _OFF if ask is not None and ask.mode is not None else None
    ttl_s = ask.ttl_s if ask is not None and ask.ttl_s is not None else config.ttl_s
    return CacheRule(mode=wanted, ttl_s=min(ttl_s, MOST_TTL_S), any_temperature=config.any_temperature)


def of(slip: Slip, plan: Plan, view: ConfigView) -> CacheRule | None:
    """The rule for this request and its plan."""
    route: RouteConfig | None = view.routes.get(plan.route) if plan.route is not None else None
    config = route.cache if route is not None else _NOTHING
    if slip.facts.cache is None and config.mode == "off":  # nearly all requests
        return None
    return merged(config, slip.facts.cache, view.tenants.get(slip.tenant))


def applied(slip: Slip, plan: Plan, view: ConfigView) -> Plan:
    """The plan with its rule, or the very same plan."""
    rule = of(slip, plan, view)
    return plan if rule is None else plan.replace(cache=rule)


def _nonsense(header: str, what: str) -> Failure:
    return Failure(
        kind="bad_request",
        message=f"The header {header} {what}.",
        status=400,
        code="invalid_value",
        param=header,
    )
