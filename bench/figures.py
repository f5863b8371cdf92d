"""What was measured, as values."""

from __future__ import annotations

from pydantic import BaseModel

from bench.latency import Spread


class Outcome(BaseModel):
    """What a load gave. `seconds` runs to the last answer; `cpu_us` is the generator's own CPU."""

    sent: int
    answered: int
    errors: dict[str, int]
    seconds: float
    requests_per_s: float
    latency_ms: Spread
    first_byte_ms: Spread
    events: int
    events_per_s: float
    cpu_us: int


class Step(BaseModel):
    """One load of the plan."""

    name: str
    connections: int
    seconds: float
    rate: float | None = None
    stream: bool = False
    paced: bool = False


class Figures(BaseModel):
    """One load and the CPU microseconds of each service, from its start until the accounting was done."""

    outcome: Outcome
    cpu_us: dict[str, int]
    problems: list[str] = []

    def per_request(self) -> dict[str, float]:
        """CPU microseconds for each answered request, by service."""
        return {name: used / max(self.outcome.answered, 1) for name, used in self.cpu_us.items()}

    def per_event(self) -> dict[str, float]:
        """CPU microseconds for each streamed event, by service."""
        return {name: used / max(self.outcome.events, 1) for name, used in self.cpu_us.items()}


class Measured(BaseModel):
    """All loads of one target, by service: PSS in bytes, and the CPU that it uses when nobody asks."""

    loads: dict[str, Figures] = {}
    pss_before: dict[str, int] = {}
    pss_after: dict[str, int] = {}
    idle_us_per_s: dict[str, float] = {}
    problems: list[str] = []
