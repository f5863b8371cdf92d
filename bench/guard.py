"""What authentication with limits and budgets costs: one stack, two virtual keys, by turns."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from statistics import median

from pydantic import BaseModel

from bench.figures import Step
from bench.measure import Meter
from bench.report import align, number
from bench.settings import child_environment
from bench.targets import KEYRAIL, Target

LIMIT_US = 100.0
"""What limits and budgets may add to a request, together."""
ROUNDS = 6
STEP = Step(name="guard", connections=64, seconds=2.5)

TEAM = "bench"
CONFIG = f"""\
tenants:
  default:
    budgets: ["1000000/day", "10000000/month"]
    teams:
      {TEAM}: {{rpm: 100000000, tpm: 1000000000, concurrent: 10000, budgets: ["1000000/day"]}}
"""
"""Goes with the bench's own configuration: everything applies to the team's key, and nothing refuses."""
ISSUE = f"--team {TEAM} --rpm 100000000 --tpm 1000000000 --concurrent 10000 --budget 1000000/day".split()


class Guard(BaseModel):
    """CPU microseconds a request in each round, of all services together and by service."""

    plain: list[dict[str, float]] = []
    guarded: list[dict[str, float]] = []
    problems: list[str] = []

    @property
    def added_us(self) -> float:
        """The median of what the guarded key's requests cost more, round by round."""
        pairs = zip(self.plain, self.guarded, strict=True)
        return median(sum(guarded.values()) - sum(plain.values()) for plain, guarded in pairs)


def issue(home: Path, folder: Path) -> str:
    """A virtual key with every kind of limit and budget."""
    environment = child_environment(folder, KEYRAIL_HOME=str(home))
    command = [*KEYRAIL, "tokens", "issue", *ISSUE, "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    return json.loads(done.stdout)["key"]


def compare(target: Target, home: Path, folder: Path, rounds: int = ROUNDS) -> Guard:
    """Load both keys by turns. `target` has the key that nothing limits."""
    key = issue(home, folder)
    limited = replace(target, headers={"authorization": f"Bearer {key}"})
    guard = Guard()
    meter = Meter(target, folder)
    meter.run(meter.load(STEP, count=500))
    meter.look_idle()
    for number_ in range(rounds):
        turns = [(target, guard.plain), (limited, guard.guarded)]
        for each, results in turns if number_ % 2 else reversed(turns):
            meter.target = each
            figures = meter.run(meter.load(STEP))
            guard.problems += figures.problems
            results.append(figures.per_request())
        print(
            f"  round {number_ + 1}: {sum(guard.plain[-1].values()):,.0f} us plain,"
            f" {sum(guard.guarded[-1].values()):,.0f} us guarded",
            flush=True,
        )
    return guard


def render(guard: Guard) -> str:
    """A row for each service: medians over the rounds."""
    rows = [["CPU us/request", "plain key", "limits and budgets", "added"]]
    for service in guard.plain[0]:
        plain = median(one[service] for one in guard.plain)
        guarded = median(one[service] for one in guard.guarded)
        rows.append([service, number(plain), number(guarded), f"{guarded - plain:+.1f}"])
    rows.append(["all, median of the rounds", "", "", f"{guard.added_us:+.1f}"])
    verdict = "ok" if guard.added_us <= LIMIT_US else "MISSED"
    return f"{align(rows)}\n\nlimit: {LIMIT_US:.0f} us: {verdict}"
