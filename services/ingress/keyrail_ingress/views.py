"""Configuration and virtual keys as mirrored from the bus, and what follows from them for each caller."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from keyrail.config import allowed
from keyrail.contracts.budgets import Limits, key_scope, team_scope, tenant_scope
from keyrail.contracts.config import ConfigView, TeamConfig, TokenRecord
from keyrail.contracts.slips import Charge, Timeouts
from keyrail_ingress.limits.lease import Lease

MakeLease = Callable[[str, str, Limits], Lease]
_NO_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Terms:
    """What applies to all requests of a key under a team: nothing of it is worked out for each."""

    charges: tuple[Charge, ...]
    hard: bool  # whether one of the budgets is
    leases: tuple[Lease, ...]
    models: tuple[str, ...]  # what GET /v1/models shows


class Views:
    """`make_lease`: the lease of a scope, by its name and what a message calls its owner."""

    def __init__(self, make_lease: MakeLease) -> None:
        self.config = ConfigView()
        self.tokens: dict[str, TokenRecord] = {}
        self.longest_ms = _longest_ms(self.config)
        self._make_lease = make_lease
        self._terms: dict[tuple[str, str | None], Terms] = {}

    def configure(self, config: ConfigView) -> None:
        """Take over a new revision."""
        self.config = config
        self.longest_ms = _longest_ms(config)
        self._terms.clear()

    def put(self, record: TokenRecord) -> None:
        """A virtual key is new or changed."""
        self.forget(record.id)
        self.tokens[record.id] = record

    def forget(self, id: str) -> None:
        """A virtual key is gone."""
        if self.tokens.pop(id, None) is not None:
            for known in [key for key in self._terms if key[0] == id]:
                del self._terms[known]

    def terms(self, caller: TokenRecord) -> Terms:
        """Of a record that is here, under the team of this request."""
        found = self._terms.get((caller.id, caller.team))
        return found if found is not None else self._made(caller)

    def _made(self, caller: TokenRecord) -> Terms:
        """Kept by the teams that the configuration knows: callers may make up as many others as they like."""
        tenant = self.config.tenants.get(caller.tenant)
        team = tenant.teams.get(caller.team) if tenant is not None and caller.team is not None else None
        key = (caller.id, caller.team if team is not None else None)
        found = self._terms.get(key)
        if found is None:
            found = self._terms[key] = self._work_out(caller, team)
        return found

    def _work_out(self, caller: TokenRecord, team: TeamConfig | None) -> Terms:
        config = self.config
        tenant = config.tenants.get(caller.tenant)
        of_key, of_tenant = key_scope(caller.id), tenant_scope(caller.tenant)
        charges = [Charge(scope=of_key, budget=budget) for budget in caller.budgets]
        leases: list[Lease] = []
        if caller.limits != _NO_LIMITS:
            leases.append(self._make_lease(of_key, "this key", caller.limits))
        if team is not None and caller.team is not None:
            of_team = team_scope(caller.tenant, caller.team)
            charges += [Charge(scope=of_team, budget=budget) for budget in team.budgets]
            if team.limits != _NO_LIMITS:
                leases.append(self._make_lease(of_team, f"the team {caller.team}", team.limits))
        if tenant is not None:
            charges += [Charge(scope=of_tenant, budget=budget) for budget in tenant.budgets]
        return Terms(
            charges=tuple(charges),
            hard=any(not charge.budget.soft for charge in charges),
            leases=tuple(leases),
            models=allowed.shown(caller.models, config),
        )


def _longest_ms(config: ConfigView) -> int:
    """The longest that any request may take: router and worker keep to its own route's limit."""
    totals = [Timeouts().total_s, *(route.timeouts.total_s for route in config.routes.values())]
    return round(1000 * max(totals))
