"""What this run would be on the machine where the targets were set: ratios, and estimates from them. Pure.

A machine half as fast doubles Keyrail's CPU and its peers' alike. So what peers take here, beside what they
took there, says how much slower this machine is for such work; Keyrail's own figures divided by that are an
estimate of what it would take there. They are no measurement, and no target is judged by them.
"""

from __future__ import annotations

from dataclasses import dataclass

from bench.figures import Measured
from bench.table import align, cpu_per_chunk, cpu_per_request, number, rate

LITELLM_REQUEST_US = 9_265.0  # LiteLLM 1.106.2
LITELLM_CHUNK_US = 600.0
PORTKEY_REQUEST_US = 1_300.0  # Portkey 1.15.2
DIRECT_REQUESTS_PER_S = 14_400.0  # one connection, no gateway


@dataclass(frozen=True, slots=True)
class Yardstick:
    """One thing measured on both machines. `more_is_faster`: a rate, not a cost."""

    name: str
    reference: float
    here: float | None
    more_is_faster: bool = False

    @property
    def slower(self) -> float | None:
        """How many times slower this machine is than the reference; None when it was not measured."""
        if not self.here:
            return None
        return self.reference / self.here if self.more_is_faster else self.here / self.reference

    def at_reference(self, cost: float | None) -> float | None:
        """An estimate of what this cost would be there."""
        slower = self.slower
        return None if cost is None or slower is None else cost / slower


def per_request(targets: dict[str, Measured]) -> list[Yardstick]:
    """What a request's cost can be compared by."""
    return [
        Yardstick("LiteLLM, us/request", LITELLM_REQUEST_US, cpu_per_request(targets.get("litellm"), "c64")),
        Yardstick("Portkey, us/request", PORTKEY_REQUEST_US, cpu_per_request(targets.get("portkey"), "c64")),
        Yardstick(
            "direct, requests/s, 1 connection",
            DIRECT_REQUESTS_PER_S,
            rate(targets.get("direct"), "c1"),
            more_is_faster=True,
        ),
    ]


def per_chunk(targets: dict[str, Measured]) -> list[Yardstick]:
    """What a chunk's cost can be compared by."""
    return [
        Yardstick("LiteLLM, us/chunk", LITELLM_CHUNK_US, cpu_per_chunk(targets.get("litellm"), "burst")),
    ]


def share(cost: float | None, of: float | None) -> float | None:
    """Our cost as a part of a peer's; None when either is unknown."""
    return cost / of if cost is not None and of else None


def render(targets: dict[str, Measured]) -> str | None:
    """The section of the report; None when there is nothing to compare with."""
    keyrail = targets.get("keyrail")
    costs = [
        (cpu_per_request(keyrail, "c64"), per_request(targets)),
        (cpu_per_chunk(keyrail, "burst"), per_chunk(targets)),
    ]
    head = ["Estimates, no targets: compared with", "here", "reference machine", "slower here", "Keyrail is"]
    rows = [[*head, "Keyrail there: about"]]
    for cost, yardsticks in costs:
        for yardstick in yardsticks:
            if cost is None or yardstick.slower is None:
                continue
            part = None if yardstick.more_is_faster else share(cost, yardstick.here)
            rows.append(
                [
                    yardstick.name,
                    number(yardstick.here),
                    number(yardstick.reference),
                    f"{number(yardstick.slower)} x",
                    "" if part is None else f"{part:.1%} of it",
                    f"{number(yardstick.at_reference(cost))} us",
                ]
            )
    return align(rows) if len(rows) > 1 else None
