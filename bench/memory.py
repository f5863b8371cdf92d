"""Whether memory reaches a plateau: many requests, and the size of each process on the way."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel

from bench.cpu import pss_bytes
from bench.figures import Step
from bench.measure import Meter
from bench.report import align, number
from bench.targets import Target

SAMPLES = 10


class Memory(BaseModel):
    """PSS in bytes by service, after each tenth of the requests; the first sample is before any."""

    requests: list[int] = []
    pss: list[dict[str, int]] = []
    problems: list[str] = []


def watch(target: Target, requests: int, folder: Path) -> Memory:
    """Send `requests` at 64 connections, in ten parts."""
    meter, memory = Meter(target, folder), Memory()
    meter.look_idle()
    memory.requests.append(0)
    memory.pss.append(pss_bytes(target.processes()))
    for _ in range(SAMPLES):
        figures = meter.run(
            meter.load(Step(name="memory", connections=64, seconds=0), count=requests // SAMPLES)
        )
        memory.problems += figures.problems
        memory.requests.append(meter.sent)
        memory.pss.append(pss_bytes(target.processes()))
        print(f"  {meter.sent:,} requests: {sum(memory.pss[-1].values()) / 1e6:,.0f} MB", flush=True)
    return memory


def growth(memory: Memory, service: str) -> int:
    """Bytes by which a service grew over the second half of the requests."""
    sizes = [sample[service] for sample in memory.pss]
    return sizes[-1] - sizes[len(sizes) // 2]


def render(memory: Memory) -> str:
    """A row for each service; its growth over the second half shows whether it has reached a plateau."""
    services = list(memory.pss[0])
    rows = [["MB after requests", *(f"{count:,}" for count in memory.requests), "2nd half"]]
    for service in services:
        sizes = [number(sample[service] / 1e6) for sample in memory.pss]
        rows.append([service, *sizes, f"{growth(memory, service) / 1e6:+.1f}"])
    totals = [number(sum(sample.values()) / 1e6) for sample in memory.pss]
    rows.append(["all", *totals, f"{sum(growth(memory, service) for service in services) / 1e6:+.1f}"])
    return align(rows)
