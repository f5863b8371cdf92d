"""Configuration as services see it: numbered revisions in a KV bucket."""

from __future__ import annotations

from decimal import Decimal
from typing import Final, Literal

from keyrail.contracts.base import Contract
from keyrail.contracts.budgets import Budget, Limits
from keyrail.contracts.quirks import Quirks
from keyrail.contracts.slips import CacheMode, Dialect, Strategy, Target, Timeouts

UnknownPrice = Literal["refuse", "allow"]
Auth = Literal["bearer", "x-api-key", "api-key", "x-goog-api-key"]
"""The header that carries a provider key; `bearer` is `authorization`."""


class ModelPrice(Contract, frozen=True, kw_only=True):
    """US dollars per million tokens. What has no rate of its own counts as input, or output.

    `searches`: US dollars per thousand. In force from `since_ms` until the one after it in `later`, which is
    ordered by that and has no `later` itself.
    """

    input: Decimal
    output: Decimal
    cache_read: Decimal | None = None
    cache_write: Decimal | None = None
    cache_write_1h: Decimal | None = None
    audio_input: Decimal | None = None
    audio_output: Decimal | None = None
    searches: Decimal | None = None
    since_ms: int = 0
    later: tuple[ModelPrice, ...] = ()


class ProviderConfig(Contract, frozen=True, kw_only=True):
    """A provider of this installation, built in or declared.

    `base_url` ends before what the dialect itself says: before `/chat/completions`, `/v1/messages` or
    `/models/`.
    `speaks`: further dialects that it takes as they are. `prices` by the provider's name of the model; `*` is
    for all others. `key_path`: relative to the base URL, where a GET needs a good key and costs nothing;
    None: the list of models. `discount`: the share taken off the catalogue's prices, 0.15 for 15%.
    `multipliers` by `tier:NAME` (the tier that served), `region:NAME`, or `*` (every call): what a price of
    the
    catalogue is multiplied by, instead of the catalogue's own for that tier.
    """

    name: str
    dialect: Dialect = "openai-chat"
    speaks: tuple[Dialect, ...] = ()
    base_url: str
    needs_key: bool = True
    auth: Auth = "bearer"
    key_path: str | None = None
    quirks: Quirks = Quirks()
    prices: dict[str, ModelPrice] = {}
    discount: Decimal | None = None
    multipliers: dict[str, Decimal] = {}


class TeamConfig(Contract, frozen=True, kw_only=True):
    """What all virtual keys of a team share."""

    limits: Limits = Limits()
    budgets: tuple[Budget, ...] = ()


class Contents(Contract, frozen=True, kw_only=True):
    """Prompts and answers are kept, readable to who has the private half of `recipient` (age, `age1...`)."""

    recipient: str
    keep_days: int = 30


class TenantConfig(Contract, frozen=True, kw_only=True):
    """What a tenant may spend, its teams by name, and whether contents are kept.

    `providers`: where its requests may go; empty: everywhere. `cache`: whether answers may be kept at all.
    """

    budgets: tuple[Budget, ...] = ()
    teams: dict[str, TeamConfig] = {}
    contents: Contents | None = None
    providers: tuple[str, ...] = ()
    cache: bool = True


class Abilities(Contract, frozen=True, kw_only=True):
    """What a target can do; None: unknown, which closes no gate. `window`: tokens in and out together."""

    tools: bool | None = None
    vision: bool | None = None
    json_schema: bool | None = None
    window: int | None = None
    prefill: bool | None = None  # it goes on with an answer that the request ends with


class WeightedTarget(Contract, frozen=True, kw_only=True):
    """A target of a route. Weights count only in weighted routes.

    `quality`: 0 to 1, what is believed of it before there is any verdict; None: nothing is.
    """

    target: Target
    weight: int = 1
    quality: float | None = None
    abilities: Abilities = Abilities()


KEEP_CONFIDENCE: Final = 0.5
"""A net under a share that is kept as a whole: what one request may lose is weighed there, not forbidden."""


class SmartRule(Contract, frozen=True, kw_only=True):
    """How a smart route chooses: the target that is best by `prefer` of those that are, with `confidence`, at
    least `bar` times as good as the reference.

    `keep`: of the reference's quality, the share that the route's answers as a whole keep; routers find out
    what a good answer must be worth for that. With it `confidence` is rather KEEP_CONFIDENCE. `mass`: how
    many verdicts a quality out of the configuration weighs as much as. `neighbours`: whether prompts like
    this one count. `worth`: US dollars (or seconds) that a good answer instead of a bad one is worth; 0: the
    cheapest (or fastest) of those that clear serves, whatever better ones would add. Of `keep` and `worth`
    there is one at most.
    """

    prefer: Literal["cost", "latency"] = "cost"
    bar: float = 0.95
    confidence: float = 0.8
    mass: float = 8.0
    neighbours: bool = True
    worth: float = 0.0
    keep: float | None = None


class RaceRule(Contract, frozen=True, kw_only=True):
    """How a route races. `delay_s` None: what is predicted for the request, at `quantile` of what was
    measured.

    `extra_spend`: of what its served answers cost, the share that losers may cost on top. See slips.Race.
    """

    mode: Literal["first", "first_complete", "best", "hedge"]
    most: int = 2
    delay_s: float | None = None
    quantile: float = 0.95
    within_s: float = 30.0
    drain: bool = False
    extra_spend: float = 0.05


class CacheConfig(Contract, frozen=True, kw_only=True):
    """What of a route is kept. A request's headers may ask for another mode or time, but not for
    `any_temperature`."""

    mode: CacheMode = "off"
    ttl_s: int = 300
    any_temperature: bool = False


class RouteConfig(Contract, frozen=True, kw_only=True):
    """A named alias with targets and a strategy.

    `unknown_price`: whether a request whose price nobody knows may pass where a hard budget applies.
    `reference`: what its savings are measured against, and a smart route's quality; None: its first target.
    `race` may stand beside any strategy, which then gives the order. `stick_s`: how long a conversation stays
    with its target after its last turn; 0: never. `retries`: see slips.Plan.
    """

    name: str
    strategy: Strategy
    targets: tuple[WeightedTarget, ...]
    timeouts: Timeouts = Timeouts()
    unknown_price: UnknownPrice = "refuse"
    reference: Target | None = None
    smart: SmartRule | None = None
    race: RaceRule | None = None
    cache: CacheConfig = CacheConfig()
    mid_stream: Literal["stop", "continue"] = "stop"
    stick_s: int = 0
    retries: int = 1


class ConfigView(Contract, frozen=True, kw_only=True):
    """One revision, complete: what router, worker and ingress read."""

    revision: int = 0
    providers: dict[str, ProviderConfig] = {}
    routes: dict[str, RouteConfig] = {}
    aliases: dict[str, str] = {}
    tenants: dict[str, TenantConfig] = {}
    unknown_price: UnknownPrice = "refuse"  # for what is asked for without a route
    output_cap: int = 16_384  # tokens of an answer where a hard budget applies and the request names no limit
    models: tuple[str, ...] = ()  # what GET /v1/models lists


class TokenRecord(Contract, frozen=True, kw_only=True):
    """A virtual key as stored: never its secret, only its SHA-256 (hex).

    After a rotation the secret before it (`previous_sha256`) is good until `previous_until_ms`. `models`:
    names
    that may be asked for, `*` and `?` as in a shell; empty: all. A team or feature that the key carries can't
    be
    changed by a request.
    """

    id: str
    sha256: str
    tenant: str = "default"
    team: str | None = None
    feature: str | None = None
    tags: bool = True  # whether a request may name a team and feature that the key does not carry
    created_ms: int
    expires_ms: int | None = None
    revoked: bool = False
    previous_sha256: str | None = None
    previous_until_ms: int | None = None
    models: tuple[str, ...] = ()
    limits: Limits = Limits()
    budgets: tuple[Budget, ...] = ()
