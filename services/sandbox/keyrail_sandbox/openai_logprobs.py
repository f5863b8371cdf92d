"""Made-up probabilities of tokens, in the shape that chat and responses share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def logprobs_of(pieces: Iterable[str], alternatives: int) -> list[dict[str, Any]]:
    """One entry for each token, with as many alternatives as asked for, the token itself first."""
    return [
        {
            **_probable(piece, 0),
            "top_logprobs": [_probable(piece + "?" * other, other) for other in range(alternatives)],
        }
        for piece in pieces
    ]


def _probable(token: str, rank: int) -> dict[str, Any]:
    return {"token": token, "logprob": -0.25 * (rank + 1), "bytes": list(token.encode())}
