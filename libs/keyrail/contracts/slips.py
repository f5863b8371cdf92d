"""The routing slip: a small typed envelope in front of a body that nobody touches on the way.

ingress publishes it once per request (`REQUEST`), router adds the plan and forwards it (`call(provider)`),
provider-worker forwards it again for a fallback. Whoever holds the slip acts; there is no reply.
"""

from __future__ import annotations

import struct
from decimal import Decimal
from typing import Annotated, Literal

import msgspec

from keyrail.contracts.base import Contract
from keyrail.contracts.budgets import Budget
from keyrail.contracts.failures import Failure

TAKE_BY_MS = 3_000
"""How long a slip may be taken after each dispatch. More than a restart takes, less than it takes ingress to
give a silent worker up, so that a paused process that wakes up makes no call that was handed on."""

Dialect = Literal[
    "openai-chat", "openai-responses", "anthropic-messages", "gemini-generate", "openai-embeddings"
]
Operation = Literal["generate", "count_tokens"]
Strategy = Literal["direct", "alias", "fallback", "weighted", "cheapest", "fastest", "smart", "race"]
Role = Literal["serve", "race", "hedge", "continue"]
"""What an attempt is made for: to serve alone, to race from the start, to race after a delay, or to go on
with
an answer that another attempt began."""
RACING: frozenset[Role] = frozenset({"race", "hedge"})
"""Roles of attempts that somebody else may win against: see signals.Cancel.standing."""
RACE_HOPS = 16
"""Each contender of a race has so many hops of its own, for keys that are refused: its first one is a
multiple of it."""
CacheMode = Literal["off", "on", "read", "write"]


class Timeouts(Contract, frozen=True, kw_only=True):
    """Seconds for one upstream call; `total` is for the whole request.

    `first_token_s`: of a stream, until its first content; None: no limit of its own.
    """

    connect_s: float = 5.0
    first_byte_s: float = 60.0
    first_token_s: float | None = None
    between_chunks_s: float = 30.0
    total_s: float = 600.0


class CacheAsk(Contract, frozen=True, kw_only=True):
    """What the client's own headers say of the cache; None: nothing."""

    mode: CacheMode | None = None
    ttl_s: int | None = None


class Facts(Contract, frozen=True, kw_only=True):
    """What ingress read from the body once, so that nobody downstream has to open it."""

    dialect: Dialect = "openai-chat"
    operation: Operation = "generate"
    model: str
    stream: bool = False
    include_usage: bool = False  # the client itself asked for usage in the stream
    input_tokens_estimate: int = 0  # characters of the prompt / 4
    input_tokens_most: int | None = None  # an upper bound; set where somebody needs it
    max_output_tokens: int | None = None  # as the client asked, for each choice
    output_cap: int | None = None  # the same where ingress set it, because a hard budget applies
    choices: int = 1
    service_tier: str | None = None
    tools: bool = False
    images: bool = False
    json_schema: bool = False
    json_mode: bool = False  # the answer has to be JSON, with or without a schema
    conversation: str | None = (
        None  # a hash of how it began: the same for all turns; see dialects.conversation
    )
    cache: CacheAsk | None = None


class Target(Contract, frozen=True, kw_only=True):
    """One provider and the name the provider itself gives the model."""

    provider: str
    model: str


class Race(Contract, frozen=True, kw_only=True):
    """How the first targets of a plan race.

    `first`: the first content token wins. `first_complete`: the first whole valid answer. `best`: of all that
    are there within `within_s`, the best. `hedge`: like `first`, where each further target starts only
    `delays_s` after the one before it, or at once when that one failed. `most`: how many targets may run at
    once.
    `drain`: losers run to their end, unread, so that their usage is exact; otherwise they are cancelled at
    once. `extra_usd`: what is left of the route's budget for losers; None: unknown, so that at most a hedge
    whose cost is known may start.
    """

    mode: Literal["first", "first_complete", "best", "hedge"]
    most: int = 2
    delays_s: tuple[float, ...] = ()
    within_s: float = 30.0
    drain: bool = False
    extra_usd: Decimal | None = None
    most_usd: tuple[Decimal | None, ...] = ()  # the most that each target of the plan can cost


class CacheRule(Contract, frozen=True, kw_only=True):
    """What applies to this request, its own headers heard. `any_temperature`: sampled answers are kept
    too."""

    mode: CacheMode
    ttl_s: int = 300
    any_temperature: bool = False


class Plan(Contract, frozen=True, kw_only=True):
    """The router's answer: ordered targets and why.

    `retries`: how often a target may be asked again after a failure that passes by itself, once no other
    target is left. `windows`: tokens that each target takes in all, None where nobody knows.
    """

    strategy: Strategy
    targets: tuple[Target, ...]
    route: str | None = None
    reason: str = ""
    revision: int = 0
    reference: Target | None = None  # what the route's savings are measured against
    timeouts: Timeouts = Timeouts()
    retries: int = 0
    windows: tuple[int | None, ...] = ()
    prefills: tuple[bool, ...] = ()  # which targets go on with an answer that the request ends with
    mid_stream: Literal["stop", "continue"] = "stop"
    race: Race | None = None
    cache: CacheRule | None = None


class Charge(Contract, frozen=True, kw_only=True):
    """A budget that a request counts towards. `scope`: `key.<id>`, `team.<tenant>.<team>` or
    `tenant.<tenant>`."""

    scope: str
    budget: Budget


class Hold(Contract, frozen=True, kw_only=True):
    """What a router has reserved for a request: `usd` in all, and the most that each target of the plan can
    cost.

    Whoever forwards the slip takes off `usd` what the attempt did cost, or could have where nobody knows.
    The worker tells that router what each attempt did cost (`HoldSettled`) and never calls a target that what
    is left of `usd` does not pay for. None in `most`: the price is unknown, and the route allows that.
    """

    router: str
    usd: Decimal
    most: tuple[Decimal | None, ...]


class Spent(Contract, frozen=True, kw_only=True):
    """An attempt that ended before this slip moved on. `cost_usd` None: unknown, not zero.

    `provider_key_id`: the provider key it was called with, None when none was or it needed none.
    """

    attempt_id: str | None
    provider: str
    model: str
    failure: Failure
    cost_usd: Decimal | None = None
    provider_key_id: str | None = None


class Slip(Contract, frozen=True, kw_only=True):
    """One request on its way.

    `inbox` is the request's own subject at ingress: every frame goes there. `epoch` is raised by ingress when
    it dispatches again after losing a worker; `hop` is raised with each forward, so (epoch, hop) orders all
    attempts of a request. `take_by_ms`: an upstream call may not be written after this instant, because the
    slip may have been handed on by then.
    """

    request_id: str
    inbox: str
    epoch: int = 0
    hop: int = 0
    tenant: str
    key_id: str
    team: str | None = None
    feature: str | None = None
    received_ms: int
    deadline_ms: int
    take_by_ms: int
    facts: Facts
    plan: Plan | None = None
    position: Annotated[int, msgspec.Meta(ge=0)] = 0
    spent: tuple[Spent, ...] = ()
    models: tuple[str, ...] = ()  # what this virtual key may ask for; empty: everything
    charges: tuple[Charge, ...] = ()  # the budgets of its key, team and tenant
    hold: Hold | None = None
    passed: dict[str, str] = {}  # headers of the client for a provider of its dialect; see endpoint.PASSED
    head_sent: bool = False  # the client already has a status line: a late failure is an event, not a status
    role: Role = "serve"
    rounds: tuple[int, ...] = ()  # how many attempts were spent when the plan was begun again, each time
    before: int = 0  # attempts of its race that were started before it

    @property
    def target(self) -> Target:
        """The target whose turn it is."""
        assert self.plan is not None
        return self.plan.targets[self.position]


_LENGTH = struct.Struct(">I")


def pack(slip: Slip, body: bytes) -> bytes:
    """The message of a slip: 4 bytes of length (big endian), the slip as JSON, the body as it is."""
    envelope = slip.encode()
    return b"".join((_LENGTH.pack(len(envelope)), envelope, body))


def unpack(message: bytes) -> tuple[Slip, bytes]:
    """The inverse of `pack`. Raises ValueError on anything else."""
    if len(message) < _LENGTH.size:
        raise ValueError("a slip is at least four bytes long")
    (length,) = _LENGTH.unpack_from(message)
    end = _LENGTH.size + length
    if len(message) < end:
        raise ValueError("the slip is cut short")
    return Slip.decode(message[_LENGTH.size : end]), message[end:]
