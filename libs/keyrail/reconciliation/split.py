"""Where a difference comes from. Its parts add up to it exactly, whatever is put in."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal, get_args

from keyrail.contracts.reports import KeySum

Class = Literal["outside", "estimated", "late", "price", "unknown", "rounding", "unexplained"]
CLASSES: Final[tuple[Class, ...]] = get_args(Class)
ZERO: Final = Decimal(0)
_STEP: Final = Decimal(1).scaleb(-12)
Parts = dict[Class, Decimal]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """What the report says of a bucket. None is what it does not say."""

    requests: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: Decimal | None = None
    lines: int = 0
    rounding_usd: Decimal = ZERO  # by how much its amounts may be off, as they are written with few digits


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """A bucket, both sides. `late_usd` is what was moved to or from a neighbouring day, with its tokens.

    `ours`: the key is one of the gateway's. `named`: the money is of a model, not of a tool. `ratio`:
    invoice to ledger for this model where tokens agree.
    """

    reported: Reported
    ledger: KeySum
    ours: bool = True
    named: bool = True
    late_usd: Decimal = ZERO
    late_input_tokens: int = 0
    late_output_tokens: int = 0
    late_requests: int = 0
    ratio: Decimal | None = None

    @property
    def difference(self) -> Decimal:
        """Invoice less ledger."""
        return (self.reported.cost_usd or ZERO) - self.ledger.cost_usd

    @property
    def has_tokens(self) -> bool:
        """Whether the report has tokens to compare."""
        return self.reported.input_tokens is not None or self.reported.output_tokens is not None

    @property
    def shares(self) -> list[Decimal]:
        """For input and output, by how much of the larger side the report has more (or fewer, negative)."""
        pairs = (
            (self.reported.input_tokens, self.ledger.input_tokens + self.late_input_tokens),
            (self.reported.output_tokens, self.ledger.output_tokens + self.late_output_tokens),
        )
        return [
            Decimal(theirs - ours) / max(theirs, ours)
            for theirs, ours in pairs
            if theirs is not None and max(theirs, ours) > 0
        ]

    @property
    def more_requests(self) -> int | None:
        """Requests that only the provider has; None where it does not count them."""
        if self.reported.requests is None:
            return None
        return self.reported.requests - self.ledger.requests - self.late_requests


class _Rest:
    """What of the difference is left, and the parts that were taken."""

    def __init__(self, left: Decimal) -> None:
        self.left = left
        self.parts: Parts = {}

    def take(self, name: Class, most: Decimal | None = None) -> None:
        """All that is left, or as much of it as `most`, in its own direction."""
        amount = self.left if most is None else min(abs(self.left), max(most, ZERO)).quantize(_STEP)
        amount = amount.copy_abs() * (1 if self.left > 0 else -1)
        if most is not None and abs(amount) > abs(self.left):
            amount = self.left  # the last digit was rounded up
        if amount:
            self.put(name, amount)

    def put(self, name: Class, amount: Decimal) -> None:
        """This amount, whatever is left then."""
        self.parts[name] = self.parts.get(name, ZERO) + amount
        self.left -= amount
        if not self.parts[name]:
            del self.parts[name]


def split(found: Evidence) -> Parts:
    """The difference by class; classes without a part are left out.

    In order: what was moved to or from the neighbouring day; rounding; calls of keys or models that the
    ledger has none of; then by what the tokens say, each class bounded by the share of the tokens that it can
    account for; a price, where the same tokens cost another amount; what is left is unexplained.
    """
    rest = _Rest(found.difference - found.late_usd)
    if found.late_usd:
        rest.parts["late"] = found.late_usd
    if abs(rest.left) <= found.reported.rounding_usd:
        rest.take("rounding")
    elif not found.ours or (found.ledger.requests == 0 and not found.late_requests):
        rest.take("outside" if rest.left > 0 and (found.named or not found.ours) else "unexplained")
    elif found.has_tokens:
        _by_tokens(rest, found)
    else:
        rest.take("unknown", rest.left if found.ledger.unknown_cost_attempts and rest.left > 0 else ZERO)
        rest.take("estimated", found.ledger.estimated_usd)
    rest.take("unexplained")
    return rest.parts


def _by_tokens(rest: _Rest, found: Evidence) -> None:
    invoice, ledger = found.reported.cost_usd or ZERO, found.ledger.cost_usd
    shares = found.shares
    agree = not any(shares)
    surplus, deficit = max([*shares, ZERO]), -min([*shares, ZERO])
    more = found.more_requests
    if not agree and found.ratio is not None:
        expected = (ledger * (found.ratio - 1)).quantize(_STEP)
        others = more is None or more > 0
        if others and ZERO <= rest.left - expected <= (surplus * invoice).quantize(_STEP):
            rest.put("price", expected)  # of any sign: calls outside account for what is left then
        elif expected * rest.left > 0:
            rest.take("price", abs(expected))
    if more is not None and more > 0 and rest.left > 0:
        rest.take("outside", surplus * invoice)
    if found.ledger.unknown_cost_attempts and rest.left > 0:
        rest.take("unknown", max(_unknown_share(found), surplus) * invoice)
    if not agree:
        rest.take("estimated", found.ledger.estimated_usd)
    if more is None and rest.left > 0:
        rest.take("outside", surplus * invoice)
    if more is not None and more <= 0 and rest.left > 0:
        rest.take("unexplained", surplus * invoice)  # the same calls, yet more tokens
    if rest.left < 0:
        rest.take("unexplained", deficit * ledger)
    if ledger > 0 and shares and surplus < 1 and deficit < 1:
        rest.take("price")


def _unknown_share(found: Evidence) -> Decimal:
    """The largest share of the report's tokens that attempts without a known cost can have."""
    pairs = (
        (found.reported.input_tokens, found.ledger.unknown_input_tokens),
        (found.reported.output_tokens, found.ledger.unknown_output_tokens),
    )
    return max((min(Decimal(part) / whole, Decimal(1)) for whole, part in pairs if whole), default=ZERO)
