"""What applies to a key under a team, in one revision."""

from __future__ import annotations

from decimal import Decimal

from keyrail.contracts.budgets import Budget, Limits
from keyrail.contracts.config import (
    ConfigView,
    RouteConfig,
    TeamConfig,
    TenantConfig,
    TokenRecord,
    WeightedTarget,
)
from keyrail.contracts.slips import Charge, Target
from keyrail_ingress.limits.lease import Lease
from keyrail_ingress.views import Views

DAY = Budget(usd=Decimal(1), per="day")
MONTH = Budget(usd=Decimal(9), per="month", soft=True)
TEAM = TeamConfig(limits=Limits(rpm=5), budgets=(MONTH,))
FAST = RouteConfig(
    name="fast",
    strategy="fallback",
    targets=tuple(WeightedTarget(target=Target(provider="groq", model=model)) for model in ("llama", "qwen")),
)
CONFIG = ConfigView(
    revision=1,
    tenants={"acme": TenantConfig(budgets=(MONTH,), teams={"web": TEAM})},
    routes={"fast": FAST},
    aliases={"quick": "fast"},
    models=("fast", "quick", "groq/llama", "openai/gpt"),
)
KEY = TokenRecord(id="1a2b3c4d", sha256="", tenant="acme", created_ms=0, budgets=(DAY,), limits=Limits(tpm=7))


def views(record: TokenRecord = KEY, config: ConfigView = CONFIG) -> Views:
    made = Views(Lease)
    made.put(record)
    made.configure(config)
    return made


def test_key_team_and_tenant_are_charged_and_the_first_two_limited() -> None:
    terms = views().terms(KEY.replace(team="web"))
    assert terms.charges == (
        Charge(scope="key.1a2b3c4d", budget=DAY),
        Charge(scope="team.acme.web", budget=MONTH),
        Charge(scope="tenant.acme", budget=MONTH),
    )
    assert terms.hard
    assert [(lease.name, lease.owner) for lease in terms.leases] == [
        ("key.1a2b3c4d", "this key"),
        ("team.acme.web", "the team web"),
    ]


def test_nothing_applies_to_a_key_without_budgets_and_limits() -> None:
    plain = TokenRecord(id="00000000", sha256="", created_ms=0)
    terms = views(plain).terms(plain)
    assert (terms.charges, terms.leases, terms.hard) == ((), (), False)
    assert terms.models == CONFIG.models


def test_teams_that_nobody_configured_cost_no_memory() -> None:
    known = views()
    first = known.terms(KEY)
    assert all(known.terms(KEY.replace(team=f"team {n}")) is first for n in range(100))


def test_what_follows_is_worked_out_anew_for_each_revision_and_each_change_of_the_key() -> None:
    known = views()
    assert known.terms(KEY).charges
    known.configure(CONFIG.replace(tenants={}))
    assert known.terms(KEY).charges == (Charge(scope="key.1a2b3c4d", budget=DAY),)
    changed = KEY.replace(budgets=())
    known.put(changed)
    assert known.terms(changed).charges == ()


def test_a_deleted_key_is_forgotten() -> None:
    known = views()
    known.terms(KEY)
    known.forget(KEY.id)
    assert known.tokens == {}


def test_a_route_is_shown_where_its_name_is_allowed_or_all_that_it_leads_to() -> None:
    def shown(*patterns: str) -> tuple[str, ...]:
        record = KEY.replace(models=patterns)
        return views(record).terms(record).models

    assert shown("groq/*") == ("fast", "quick", "groq/llama")
    assert shown("groq/llama") == ("groq/llama",)
    assert shown("fast") == ("fast", "quick")
    assert shown("quick") == ("quick",)
    assert shown("FAST") == ()
