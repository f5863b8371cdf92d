"""Verdicts into the bucket of scores: each once, whoever brings it, however often and after whatever crash.

A task's document remembers the last verdicts that were folded in. Those that it is about to forget are noted
in shards beside it first, so that between the two none is missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Final

from keyrail.bus.connection import Bus
from keyrail.bus.documents import Documents
from keyrail.contracts import score_keys, streams
from keyrail.contracts.score_keys import Taken
from keyrail.contracts.scores import Exemplar, TaskScores, Tuned, Verdict
from keyrail.routing import learning

REMEMBERED: Final = 4_096
"""Digests of a shard; a task has sixteen of them."""


class Scores:
    """What was learned. Any number of instances may fold at the same time."""

    def __init__(self, bus: Bus) -> None:
        self._documents = Documents(bus, streams.SCORES.name)

    async def task(self, tenant: str, route: str, task: str) -> TaskScores:
        """What is known at a task, empty where nothing is. Raises BusError."""
        found = await self._documents.get(score_keys.task(tenant, route, task))
        return _scores(task, found)

    async def tasks(self, tenant: str, route: str) -> list[TaskScores]:
        """What is known at each task of a route. Raises BusError."""
        found = await self._documents.all(score_keys.tasks_of(tenant, route))
        return [TaskScores.decode(each) for each in found.values()]

    async def tuned(self, route: str) -> dict[str, Tuned]:
        """What was found out for a route that keeps a share of quality, by tenant. Raises BusError."""
        found = await self._documents.all(score_keys.tuned_of(route))
        return {score_keys.tenant_of(key): Tuned.decode(each) for key, each in found.items()}

    async def fold(self, tenant: str, verdicts: Sequence[Verdict]) -> int:
        """Returns how many were new. Raises BusError; those folded until then stay, and may be brought
        again."""
        by_task: dict[tuple[str, str], list[Verdict]] = {}
        for verdict in verdicts:
            by_task.setdefault((verdict.route, verdict.task), []).append(verdict)
        new = 0
        for (route, task), its in by_task.items():
            for start in range(0, len(its), learning.SEEN):
                new += await self._part(tenant, route, task, its[start : start + learning.SEEN])
        return new

    async def _part(self, tenant: str, route: str, task: str, verdicts: Sequence[Verdict]) -> int:
        """No more than a task's document remembers."""
        key = score_keys.task(tenant, route, task)
        while True:
            before = await self._documents.get(key)
            scores = _scores(task, before)
            new = await self._unknown(tenant, scores, route, verdicts)
            if not new:
                return 0
            await self._note(tenant, route, scores)
            for exemplar in filter(None, map(learning.exemplar_of, new)):
                await self._remember(tenant, route, exemplar)
            if await self._documents.change(key, _Folding(before, scores, new)):
                return len(new)

    async def _unknown(
        self, tenant: str, scores: TaskScores, route: str, verdicts: Sequence[Verdict]
    ) -> list[Verdict]:
        by_digest = {digest(each.id): each for each in verdicts}
        for known in scores.seen:
            by_digest.pop(known, None)
        for shard in {score_keys.taken(tenant, route, scores.task, each) for each in by_digest}:
            for known in _taken(await self._documents.get(shard)).digests:
                by_digest.pop(known, None)
        return list(by_digest.values())

    async def _note(self, tenant: str, route: str, scores: TaskScores) -> None:
        """Write down what the document remembers, before it forgets it."""
        shards: dict[str, list[str]] = {}
        for each in scores.seen:
            shards.setdefault(score_keys.taken(tenant, route, scores.task, each), []).append(each)
        for shard, digests in shards.items():
            await self._documents.change(shard, _Noting(digests))

    async def _remember(self, tenant: str, route: str, exemplar: Exemplar) -> None:
        key = score_keys.exemplar(tenant, route, exemplar.id)
        await self._documents.change(key, _Remembering(exemplar))


def digest(verdict_id: str) -> str:
    """As in `TaskScores.seen`."""
    return blake2b(verdict_id.encode(), digest_size=6).hexdigest()


class _Folding:
    """All of them, into exactly the document that was looked at."""

    def __init__(self, before: bytes | None, scores: TaskScores, verdicts: Iterable[Verdict]) -> None:
        self._before, self._scores, self._verdicts = before, scores, verdicts

    def __call__(self, before: bytes | None) -> tuple[bytes | None, bool]:
        if before != self._before:
            return None, False
        scores = self._scores
        for verdict in self._verdicts:
            scores = learning.fold(scores, verdict)
        return scores.encode(), True


class _Noting:
    def __init__(self, digests: Sequence[str]) -> None:
        self._digests = digests

    def __call__(self, before: bytes | None) -> tuple[bytes | None, None]:
        known = _taken(before).digests
        new = [each for each in self._digests if each not in known]
        if not new:
            return None, None
        return Taken(digests=(*known, *new)[-REMEMBERED:]).encode(), None


class _Remembering:
    def __init__(self, exemplar: Exemplar) -> None:
        self._exemplar = exemplar

    def __call__(self, before: bytes | None) -> tuple[bytes | None, None]:
        exemplar = self._exemplar
        if before is not None:
            there = Exemplar.decode(before)
            if there.id == exemplar.id:
                at_ms = max(there.at_ms, exemplar.at_ms)
                exemplar = exemplar.replace(scores=there.scores | exemplar.scores, at_ms=at_ms)
            elif (there.at_ms, there.id) > (exemplar.at_ms, exemplar.id):
                return None, None
        after = exemplar.encode()
        return (None if after == before else after), None


def _scores(task: str, found: bytes | None) -> TaskScores:
    return TaskScores(task=task) if found is None else TaskScores.decode(found)


def _taken(found: bytes | None) -> Taken:
    return Taken() if found is None else Taken.decode(found)
