"""The whole table, with its own description in it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from keyrail_control.api import openapi
from keyrail_control.api.budgets import BudgetRoutes
from keyrail_control.api.cache import CacheRoutes
from keyrail_control.api.config import ConfigRoutes
from keyrail_control.api.contents import ContentRoutes
from keyrail_control.api.keys import KeyRoutes
from keyrail_control.api.ledger import LedgerRoutes
from keyrail_control.api.prices import PriceRoutes
from keyrail_control.api.reports import ReportRoutes
from keyrail_control.api.repricing import RepricingRoutes
from keyrail_control.api.routes import RouteRoutes
from keyrail_control.api.routing import Call, Route, Routes
from keyrail_control.api.system import System
from keyrail_control.api.tokens import TokenRoutes
from keyrail_control.api.verdicts import VerdictRoutes
from keyrail_control.buckets import Bucket
from keyrail_control.configuration import Configuration
from keyrail_control.kept_answers import KeptAnswers
from keyrail_control.learned import Learned
from keyrail_control.provider_keys import ProviderKeys
from keyrail_control.seeding import Ask
from keyrail_control.virtual_keys import VirtualKeys


@dataclass(frozen=True, slots=True, kw_only=True)
class Behind:
    """What the routes call. `spent` has the documents of what was spent."""

    metrics: Callable[[], Awaitable[bytes]]
    providers: Callable[[], Awaitable[list[dict[str, object]]]]
    ledger: Ask
    keys: ProviderKeys
    tokens: VirtualKeys
    configuration: Configuration
    spent: Bucket
    learned: Learned
    kept: KeptAnswers


def whole(behind: Behind) -> Routes:
    """All that control serves."""
    description: dict[str, Any] = {}

    async def describe(call: Call[None]) -> dict[str, Any]:
        return description

    itself: Route[None] = Route(
        "GET", "/openapi.json", "This API as OpenAPI 3.1", describe, answer=dict[str, Any]
    )
    routes = (
        *System(behind.metrics, behind.providers).routes(),
        itself,
        *KeyRoutes(behind.keys).routes(),
        *TokenRoutes(behind.tokens).routes(),
        *ConfigRoutes(behind.configuration).routes(),
        *BudgetRoutes(behind.configuration, behind.tokens, behind.spent).routes(),
        *CacheRoutes(behind.kept).routes(),
        *PriceRoutes(behind.configuration, behind.ledger).routes(),
        *RepricingRoutes(behind.configuration, behind.ledger).routes(),
        *LedgerRoutes(behind.ledger).routes(),
        *RouteRoutes(behind.configuration, behind.learned, behind.ledger).routes(),
        *VerdictRoutes(behind.configuration, behind.learned, behind.ledger).routes(),
        *ContentRoutes(behind.ledger).routes(),
        *ReportRoutes(behind.ledger).routes(),
    )
    description |= openapi.document(routes)
    return routes
