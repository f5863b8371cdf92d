"""In which order a strategy asks the open targets of a route. Pure: what is drawn is an argument."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from hashlib import blake2b
from math import log
from typing import Final, NamedTuple

from keyrail.contracts.config import SmartRule
from keyrail.routing.choice import Candidate, choose, sentence
from keyrail.routing.gates import Option
from keyrail.routing.posterior import Posterior

PROBE: Final = 0.05
"""The share of a fastest route's requests that goes to targets that were not measured lately."""


class Order(NamedTuple):
    """`options`: the open ones, in the order to ask them. `propensity`: the probability of the first.
    `worth`: as RequestRouted has it."""

    options: tuple[Option, ...]
    code: str
    reason: str
    propensity: float = 1.0
    worth: float | None = None


def listed(options: Sequence[Option], every: Sequence[Option]) -> Order:
    """As configured."""
    if options[0] is every[0]:
        return Order(tuple(options), "first-listed", f"{options[0].name} is listed first")
    return Order(tuple(options), "first-open", f"{options[0].name} is the first listed that is open")


def weighted(options: Sequence[Option], draw: float, conversation: str | None) -> Order:
    """One drawn by weight, then the others by falling weight; weight 0 never serves.

    Targets that come back have that part of their weight. A conversation always draws the same one, and only
    those whose target's weight changes draw anew.
    """
    live = [each for each in options if each.weight > 0]
    weights = [each.weight * each.share for each in live]
    whole = sum(weights)
    if conversation is None:
        place = _drawn(weights, draw * whole)
    else:
        place = max(range(len(live)), key=lambda i: _rendezvous(conversation, live[i].name, weights[i]))
    chosen = live[place]
    rest = sorted((each for each in live if each is not chosen), key=lambda each: -each.weight)
    probability = weights[place] / whole
    said = f"{chosen.name} was drawn, with a probability of {probability:.0%}"
    return Order((chosen, *rest), "drawn", said, probability)


def _drawn(weights: Sequence[float], left: float) -> int:
    for place, weight in enumerate(weights):
        left -= weight
        if left < 0:
            return place
    return len(weights) - 1


def _rendezvous(conversation: str, name: str, weight: float) -> float:
    digest = blake2b(f"{conversation} {name}".encode(), digest_size=8).digest()
    uniform = (int.from_bytes(digest, "big") + 1) / (2**64 + 1)
    return -weight / log(uniform)


def cheapest(options: Sequence[Option], draw: float) -> Order:
    """By predicted cost, unknown ones last; between equals the one listed first."""
    ordered = sorted(options, key=lambda each: (each.cost is None, each.cost or Decimal(0)))
    first = ordered[0]
    if first.cost is None:
        said = f"nobody knows what any target would cost, so {first.name}, which is listed first"
        return coming_back(Order(tuple(ordered), "cost-unknown", said), draw)
    said = f"{first.name} is expected to cost {usd(first.cost)}"
    if len(ordered) > 1:
        said += f", {_cost(ordered[1])}"
    return coming_back(Order(tuple(ordered), "cheapest", said), draw)


def _cost(option: Option) -> str:
    cost = "an unknown amount" if option.cost is None else usd(option.cost)
    return f"the next one, {option.name}, {cost}"


def fastest(options: Sequence[Option], draw: float) -> Order:
    """By the median of what was measured. A small share goes to those that were not measured lately, so that
    somebody finds out; where none was, they go as listed."""
    measured = [each for each in options if each.latency is not None and each.latency.measured]
    unmeasured = [each for each in options if each not in measured]
    measured.sort(key=_median)
    if not measured:
        said = f"no target was measured lately, so {unmeasured[0].name}, which is listed first"
        return coming_back(Order(tuple(unmeasured), "latency-unknown", said), draw)
    probe = PROBE if unmeasured else 0.0
    if draw < probe:
        share = draw / probe * len(unmeasured)
        first = unmeasured.pop(min(int(share), len(unmeasured) - 1))
        said = f"{first.name} was not measured lately and is tried"
        each = probe / (len(unmeasured) + 1)
        return Order((first, *measured, *unmeasured), "probe", said, each)
    first = measured[0]
    what = "first token" if first.latency is not None and first.latency.first_token else "answer"
    said = f"{first.name} is expected to need {_median(first):.2f} s to its {what}"
    if len(measured) > 1:
        said += f", the next one, {measured[1].name}, {_median(measured[1]):.2f} s"
    order = Order((*measured, *unmeasured), "fastest", said, 1 - probe)
    return coming_back(order, (draw - probe) / (1 - probe))


def _median(option: Option) -> float:
    assert option.latency is not None
    return option.latency.quantile(0.5)


def smart(
    every: Sequence[Option],
    open_: Sequence[Option],
    reference: str,
    rule: SmartRule,
    qualities: dict[str, Posterior],
    worth: float | None,
    draw: float,
) -> Order:
    """The one that is chosen first, then the others as listed. The scores go into `every`. `worth` None:
    nobody knows what keeps the share that the rule wants kept."""
    candidates = [
        Candidate(
            target=each.name,
            quality=qualities[each.name],
            cost=each.cost,
            latency_s=_median(each) if each.latency is not None and each.latency.measured else None,
            eligible=any(each is one for one in open_),
        )
        for each in every
    ]
    choice = choose(
        candidates,
        reference,
        bar=rule.bar,
        confidence=rule.confidence,
        prefer=rule.prefer,
        worth=worth,
    )
    for each, scored in zip(every, choice.candidates, strict=True):
        each.scored = scored
    chosen = next(each for each in open_ if each.name == choice.target)
    ordered = (chosen, *(each for each in open_ if each is not chosen))
    return coming_back(Order(ordered, choice.reason, sentence(choice), worth=worth), draw)


def coming_back(order: Order, draw: float) -> Order:
    """Of a target that comes back, only its share of the requests goes there first; the others go to the
    next one in order that has some left."""
    options = order.options
    if options[0].share >= 1:
        return order
    parts: list[float] = []
    rest = 1.0
    for each in options:
        parts.append(rest * min(each.share, 1.0))
        rest -= parts[-1]
    parts[0] += rest  # all of them come back: what none of them takes, the first one gets
    place = _drawn([*parts[1:], parts[0]], draw) + 1
    if place >= len(options):
        return order._replace(propensity=order.propensity * parts[0])
    chosen = options[place]
    said = f"{options[0].name} comes back and has {options[0].share:.0%} of its requests, so {chosen.name}"
    others = tuple(each for each in options if each is not chosen)
    return Order((chosen, *others), "coming-back", said, order.propensity * parts[place], order.worth)


def usd(amount: Decimal) -> str:
    """Three significant digits: `$0.000123`."""
    return f"${float(amount):.3g}" if amount >= Decimal("0.0001") else f"${float(amount):.2e}"
