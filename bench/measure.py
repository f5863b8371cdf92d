"""Putting loads on a target and reading what they cost."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from bench.bodies import chat_body
from bench.client import Load
from bench.cpu import Process, cpu_us, difference, pss_bytes
from bench.figures import Figures, Measured, Outcome, Step
from bench.settings import child_environment
from bench.targets import Target

WARM_UP = 200
_WINDOW_S = 0.25


def steps(*, quick: bool) -> list[Step]:
    """The plan: the default takes about 25 s a target, the quick one 8 s."""
    scale = 0.3 if quick else 1.0
    closed = [
        Step(name=f"c{c}", connections=c, seconds=s * scale)
        for c, s in ((1, 2), (16, 2.5), (64, 3), (256, 3))
    ]
    return [
        *closed,
        Step(name="open", connections=8, seconds=5 * scale, rate=100),
        Step(name="paced", connections=32, seconds=4 * scale, rate=10, stream=True, paced=True),
        Step(name="burst", connections=16, seconds=3 * scale, stream=True),
    ]


def generate(load: Load, folder: Path) -> Outcome:
    """Run a load in a process of its own."""
    bound = (load.seconds or 0.0) + (load.count or 0) / 20 + load.grace_s + 10
    done = subprocess.run(
        [sys.executable, "-m", "bench.loadgen", "-"],
        input=load.model_dump_json(),
        env=child_environment(folder),
        stdout=subprocess.PIPE,
        text=True,
        timeout=bound,
        check=True,
    )
    return Outcome.model_validate_json(done.stdout)


class Meter:
    """Measures one target; keeps count of what was sent, because the ledger must show exactly that."""

    def __init__(self, target: Target, folder: Path) -> None:
        self.target = target
        self.sent = 0
        self._folder = folder
        self._idle_us_per_s = 0.0

    def load(self, step: Step, count: int | None = None) -> Load:
        """The load of a step on this target; `count` bounds it instead of the step's seconds."""
        target = self.target
        return Load(
            url=target.url,
            headers=target.headers,
            body=chat_body(target.model, stream=step.stream, paced=step.paced),
            stream=step.stream,
            connections=step.connections,
            seconds=None if count is not None else step.seconds,
            count=count,
            rate=step.rate,
            exact_events=target.exact_events,
        )

    def run(self, load: Load) -> Figures:
        """Run a load until its accounting is done. Raises ProcessGoneError when a process has ended."""
        processes = self.target.processes()
        before = cpu_us(processes)
        outcome = generate(load, self._folder)
        self.sent += outcome.sent
        self._rest(processes)
        # Read before the ledger is asked, so that the question's own cost does not count; when the ledger was
        # still behind, what it did to catch up counts, and the question with it.
        after = cpu_us(processes)
        asked = time.monotonic()
        problem = self.target.ledger.problem(self.sent)
        if time.monotonic() - asked > 3.0:
            after = cpu_us(processes)
        problems = [f"{count} x {what}" for what, count in outcome.errors.items()]
        if not outcome.answered:
            problems.append("nothing was answered")
        if problem is not None:
            problems.append(problem)
        if self.target.processes() != processes:
            problems.append("processes changed during the load")
        return Figures(outcome=outcome, cpu_us=difference(after, before), problems=problems)

    def look_idle(self, seconds: float = 1.0) -> dict[str, float]:
        """CPU microseconds a second that each service uses unasked."""
        processes = self.target.processes()
        before = cpu_us(processes)
        time.sleep(seconds)
        idle = {name: used / seconds for name, used in difference(cpu_us(processes), before).items()}
        self._idle_us_per_s = sum(idle.values())
        return idle

    def _rest(self, processes: list[Process], seconds: float = 5.0) -> None:
        """Wait until the target uses about as little CPU as when it was idle, at most `seconds`."""
        enough = (self._idle_us_per_s * 1.5 + 40_000) * _WINDOW_S
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            before = sum(cpu_us(processes).values())
            time.sleep(_WINDOW_S)
            if sum(cpu_us(processes).values()) - before <= enough:
                return


def measure(target: Target, plan: list[Step], folder: Path) -> Measured:
    """Put the whole plan on a target."""
    meter, measured = Meter(target, folder), Measured()
    warm = meter.run(meter.load(Step(name="warm", connections=16, seconds=0), count=WARM_UP))
    measured.problems += [f"warm-up: {problem}" for problem in warm.problems]
    measured.idle_us_per_s = meter.look_idle()
    measured.pss_before = pss_bytes(target.processes())
    for step in plan:
        figures = meter.run(meter.load(step))
        measured.loads[step.name] = figures
        measured.problems += [f"{step.name}: {problem}" for problem in figures.problems]
        print(f"  {target.name} {step.name}: {summary(step, figures)}", flush=True)
    measured.pss_after = pss_bytes(target.processes())
    return measured


def summary(step: Step, figures: Figures) -> str:
    """One line while the benchmark runs."""
    got = figures.outcome
    rate = f"{got.events_per_s:,.0f} chunks/s" if step.stream else f"{got.requests_per_s:,.0f} requests/s"
    p50 = got.first_byte_ms.p50 if step.stream else got.latency_ms.p50
    what = "first byte" if step.stream else "p50"
    shown = "-" if p50 is None else f"{p50:.2f} ms"
    return ", ".join([rate, f"{what} {shown}", *(f"! {problem}" for problem in figures.problems)])
