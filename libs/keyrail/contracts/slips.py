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
Strategy = Literal["direct", "alias", "fallback", "weighted"]


class Timeouts(Contract, frozen=True, kw_only=True):
    """Seconds for one upstream call; `total` is for the whole request."""

    connect_s: float = 5.0
    first_byte_s: float = 60.0
    between_chunks_s: float = 30.0
    total_s: float = 600.0


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


class Target(Contract, frozen=True, kw_only=True):
    """One provider and the name the provider itself gives the model."""

    provider: str
    model: str


class Plan(Contract, frozen=True, kw_only=True):
    """The router's answer: ordered targets and why."""

    strategy: Strategy
    targets: tuple[Target, ...]
    route: str | None = None
    reason: str = ""
    revision: int = 0
    reference: Target | None = None  # what the route's savings are measured against
    timeouts: Timeouts = Timeouts()


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
