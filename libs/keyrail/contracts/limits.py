"""What the ingresses know together about a rate limit: one document for each virtual key or team that has
one, in the bucket LIMITS, by the scopes of `keyrail.contracts.budgets`.

A window begins with the first request in it. An ingress holds a share of the limit, which it took by
compare-and-set, and admits out of that share without asking anybody. Each writes its own share as a whole, so
that a change whose answer was lost is mended by the next one.
"""

from __future__ import annotations

from keyrail.contracts.base import Contract

WINDOW_MS = 60_000


class Share(Contract, frozen=True, kw_only=True):
    """One ingress' part: requests and tokens in the window, used or not, and requests at once."""

    requests: int = 0
    tokens: int = 0
    running: int = 0


class LimitDocument(Contract, frozen=True, kw_only=True):
    """`begins_ms`: of the window that requests and tokens of all shares belong to; 0: there was none.

    `shares` by ingress instance.
    """

    begins_ms: int = 0
    shares: dict[str, Share] = {}
