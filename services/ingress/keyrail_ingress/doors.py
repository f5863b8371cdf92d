"""The endpoints that ask a model for something: whose dialect each speaks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from keyrail.contracts.failures import Failure
from keyrail.contracts.slips import Facts
from keyrail.dialects.anthropic_messages import counting
from keyrail.dialects.anthropic_messages import face as messages
from keyrail.dialects.openai_chat import face as chat
from keyrail.dialects.openai_embeddings import face as embeddings
from keyrail.dialects.openai_responses import face as responses
from keyrail.providers.endpoint import PASSED
from keyrail_ingress.limits import answers as limits
from keyrail_ingress.limits.lease import Lease

LimitHeaders = Callable[[Sequence[Lease], int], limits.Headers]
Rendered = tuple[int, list[tuple[str, str]], bytes]


@dataclass(frozen=True, slots=True)
class Door:
    """One endpoint. `id_header` is where the dialect's official clients look for a request's id.

    `passed`: headers that reach a provider of this dialect as they came. `limit_headers`: how its clients
    read what is left of their limits.
    """

    path: str
    check: Callable[[dict[str, Any]], Failure | None]
    facts: Callable[[dict[str, Any]], Facts]
    render: Callable[[Failure], Rendered]
    render_event: Callable[[Failure], bytes]
    id_header: str = "x-request-id"
    passed: tuple[bytes, ...] = ()
    limit_headers: LimitHeaders = limits.openai_headers


CHAT: Final = Door("/v1/chat/completions", chat.check, chat.facts, chat.render, chat.render_event)
MESSAGES: Final = Door(
    "/v1/messages",
    messages.check,
    messages.facts,
    messages.render,
    messages.render_event,
    id_header="request-id",
    passed=tuple(name.encode() for name in PASSED),
    limit_headers=limits.anthropic_headers,
)
DOORS: Final = (
    CHAT,
    Door("/v1/responses", responses.check, responses.facts, responses.render, responses.render_event),
    Door("/v1/embeddings", embeddings.check, embeddings.facts, embeddings.render, chat.render_event),
    MESSAGES,
    Door(
        "/v1/messages/count_tokens",
        counting.check,
        counting.facts,
        messages.render,
        messages.render_event,
        id_header="request-id",
        passed=MESSAGES.passed,
        limit_headers=limits.anthropic_headers,
    ),
)


def nearest(path: str) -> Door:
    """Whose error format somebody at this path expects."""
    return MESSAGES if path == MESSAGES.path or path.startswith(MESSAGES.path + "/") else CHAT
