"""CPU time and memory of processes, from /proc."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

TICK_US = 1_000_000 // os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")


class ProcessGoneError(Exception):
    """A process that should be there is not."""


@dataclass(frozen=True, slots=True)
class Process:
    """One process of a target. Several may serve under one name."""

    service: str
    pid: int


@dataclass(frozen=True, slots=True)
class Stat:
    """What is used of /proc/<pid>/stat. `ticks` is user and system time of all threads, living and ended."""

    parent: int
    ticks: int


def parse_stat(line: str) -> Stat:
    """Read a line of /proc/<pid>/stat. The command in it may hold blanks and brackets."""
    fields = line[line.rindex(")") + 1 :].split()
    return Stat(parent=int(fields[1]), ticks=int(fields[11]) + int(fields[12]))


def parse_pss(text: str) -> int:
    """Bytes of the `Pss:` line of smaps_rollup. Raises ValueError when there is none."""
    for line in text.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise ValueError("no Pss line")


def _read(pid: int, name: str) -> str:
    try:
        return (PROC / str(pid) / name).read_text()
    except (FileNotFoundError, ProcessLookupError) as gone:
        raise ProcessGoneError(f"process {pid} is gone") from gone


def cpu_us(processes: Iterable[Process]) -> dict[str, int]:
    """CPU microseconds since each process began, summed by service. Raises ProcessGoneError."""
    sums: dict[str, int] = {}
    for process in processes:
        used = parse_stat(_read(process.pid, "stat")).ticks * TICK_US
        sums[process.service] = sums.get(process.service, 0) + used
    return sums


def pss_bytes(processes: Iterable[Process]) -> dict[str, int]:
    """Proportional set size in bytes, summed by service. Raises ProcessGoneError."""
    sums: dict[str, int] = {}
    for process in processes:
        size = parse_pss(_read(process.pid, "smaps_rollup"))
        sums[process.service] = sums.get(process.service, 0) + size
    return sums


def tree(root: int) -> list[int]:
    """The process and all its descendants. Raises ProcessGoneError when the process itself is gone."""
    _read(root, "stat")
    children: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            try:
                parent = parse_stat(_read(int(entry.name), "stat")).parent
            except ProcessGoneError:
                continue  # ended while we looked
            children.setdefault(parent, []).append(int(entry.name))
    found = [root]
    for pid in found:
        found.extend(children.get(pid, []))
    return found


def difference(after: dict[str, int], before: dict[str, int]) -> dict[str, int]:
    """What was used between two readings. Both must name the same services."""
    if after.keys() != before.keys():
        raise ProcessGoneError(f"services changed: {sorted(before)} became {sorted(after)}")
    return {service: after[service] - before[service] for service in after}
