"""One ingress' share of the limits of a virtual key or team, and what of it is used. Pure: no I/O, no clock.

Times are wall clock milliseconds, as in the document; those called `at_s` are monotonic seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

from keyrail.contracts.budgets import Limits
from keyrail.contracts.limits import WINDOW_MS, Share
from keyrail.contracts.slips import Facts
from keyrail_ingress.limits.shares import Ask, Granted, Kind

IDLE_S = 1.0
"""What was not used for so long is given back."""
SURE_S = 5.0
"""How long after a sign that the bus carries this ingress' word it may let further requests run at once: the
others take it for dead after twice as long."""

FULL_S = 0.1
"""How long a refusal of a window stands for others that need as much, so that a client that does not wait
costs the bus nothing."""


def tokens_of(facts: Facts) -> int:
    """What a request is reserved before anybody knows: its prompt by estimate, its answer where it says.

    A limit of the answer that a budget imposed is not the client's word: it would refuse whoever names none.
    """
    if facts.operation != "generate":
        return 0
    asked = facts.max_output_tokens if facts.output_cap is None else None
    return facts.input_tokens_estimate + (asked or 0) * facts.choices


class Lease:
    """`owner` is what a message calls it: "this key", "the team x"."""

    __slots__ = (
        "_begins_ms",
        "_changed_at_s",
        "_ends_ms",
        "_full",
        "_full_until_s",
        "_others",
        "_peak",
        "_used_at_s",
        "held_requests",
        "held_running",
        "held_tokens",
        "limits",
        "name",
        "owner",
        "requests",
        "running",
        "tokens",
    )

    def __init__(self, name: str, owner: str, limits: Limits) -> None:
        self.name = name
        self.owner = owner
        self.limits = limits
        self.requests = self.held_requests = 0
        self.tokens = self.held_tokens = 0
        self.running = self.held_running = 0
        self._changed_at_s = float("-inf")
        self._begins_ms = self._ends_ms = 0
        self._full: tuple[Kind, int] = ("requests", 0)
        self._full_until_s = float("-inf")
        self._others = Share()
        self._peak = 0
        self._used_at_s = 0.0

    @property
    def window_ms(self) -> int:
        """The window that requests and tokens are counted in; 0: none."""
        return self._begins_ms

    def take(self, tokens: int, now_ms: int, at_s: float, heard_s: float) -> bool:
        """Admit a request, where what is held pays for it. `heard_s`: when this ingress last heard itself."""
        limits = self.limits
        if limits.rpm is not None or limits.tpm is not None:
            if not self._begins_ms - WINDOW_MS < now_ms < self._ends_ms:
                return False
            if limits.rpm is not None and self.requests >= self.held_requests:
                return False
            if limits.tpm is not None and self.tokens + tokens > self.held_tokens:
                return False
        if limits.concurrent is not None and (
            self.running >= self.held_running or at_s - max(self._changed_at_s, heard_s) > SURE_S
        ):
            return False
        self.count(tokens, at_s)
        return True

    def count(self, tokens: int, at_s: float) -> None:
        """A request is admitted."""
        self.requests += 1
        self.tokens += tokens
        self.running += 1
        if self.running > self._peak:  # noqa: PLR1730 - `max` costs three times as much
            self._peak = self.running
        self._used_at_s = at_s

    def uncount(self, window_ms: int, tokens: int) -> None:
        """It was not admitted after all: somebody else refused it."""
        self.finish(window_ms, tokens, 0)
        if window_ms == self._begins_ms:
            self.requests -= 1

    def finish(self, window_ms: int, reserved: int, tokens: int | None) -> None:
        """A request of that window has ended. None: nobody knows its tokens, so the reservation stays."""
        self.running -= 1
        if tokens is not None and window_ms == self._begins_ms:
            self.tokens += tokens - reserved

    def refused(self, kind: Kind, tokens: int, at_s: float) -> None:
        """The document has refused a request that needs so many tokens."""
        if kind != "concurrent":
            self._full = (kind, tokens)
            self._full_until_s = at_s + FULL_S

    def full(self, tokens: int, now_ms: int, at_s: float) -> Kind | None:
        """Which limit would refuse a request, as one was refused a moment ago in the same window."""
        kind, needed = self._full
        if at_s < self._full_until_s and now_ms < self._ends_ms and (kind == "requests" or tokens >= needed):
            return kind
        return None

    def ask(self, instance: str, needs: tuple[int, ...] = ()) -> Ask:
        """What to ask for, for these requests."""
        return Ask(
            instance=instance,
            window_ms=self._begins_ms,
            used=Share(requests=self.requests, tokens=self.tokens, running=self.running),
            held=Share(requests=self.held_requests, tokens=self.held_tokens, running=self.held_running),
            needs=needs,
        )

    def apply(self, granted: Granted, at_s: float) -> None:
        """The document was changed so; `at_s` is from before that."""
        if granted.window_ms != self._begins_ms:
            self._begins_ms = granted.window_ms
            self._ends_ms = granted.window_ms + WINDOW_MS if granted.window_ms else 0
            self.requests = self.tokens = 0
        held = granted.held
        self.held_requests, self.held_tokens, self.held_running = held.requests, held.tokens, held.running
        self._others = granted.others
        self._changed_at_s = at_s

    def release(self, at_s: float, *, everything: bool = False) -> bool:
        """Let go of what was not used for a second, or of `everything` unused. True: the document is to know.

        Also when more tokens were used than are held.
        """
        before = (self.held_requests, self.held_tokens, self.held_running)
        if everything or at_s - self._used_at_s >= IDLE_S:
            self.held_requests = min(self.held_requests, self.requests)
            self.held_tokens = min(self.held_tokens, self.tokens)
        self.held_running = min(self.held_running, self.running if everything else self._peak)
        self._peak = self.running
        owed = self.limits.tpm is not None and self.tokens > self.held_tokens
        return owed or before != (self.held_requests, self.held_tokens, self.held_running)

    def idle(self, now_ms: int) -> bool:
        """Whether nothing is held that could be given back later, and nothing runs."""
        if self.running or self.held_running:
            return False
        spare = self.held_requests > self.requests or self.held_tokens > self.tokens
        return now_ms >= self._ends_ms or not spare

    # as far as this ingress knows

    def left_requests(self, now_ms: int) -> int | None:
        """Requests that are left in the window; None: not limited."""
        return self._left(self.limits.rpm, self._others.requests + self.requests, now_ms)

    def left_tokens(self, now_ms: int) -> int | None:
        """Tokens that are left in the window; None: not limited."""
        return self._left(self.limits.tpm, self._others.tokens + self.tokens, now_ms)

    def resets_ms(self, now_ms: int) -> int:
        """Milliseconds until the window ends; 0 without one."""
        return max(0, self._ends_ms - now_ms)

    def _left(self, limit: int | None, used: int, now_ms: int) -> int | None:
        if limit is None:
            return None
        return max(0, limit - used) if now_ms < self._ends_ms else limit


@dataclass(frozen=True, slots=True)
class Refused:
    """A limit refuses a request that needs so many tokens; `kind` None: nobody could be asked."""

    lease: Lease
    kind: Kind | None
    needed: int
