"""Who may come in, and under which tags. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from keyrail.contracts.config import TokenRecord
from keyrail.contracts.failures import Failure
from keyrail.keys import virtual

MAX_TAG = 64
_TAG_EXTRA = frozenset("._-:/@ ")
_QUERY_KEYS = frozenset(
    {b"key", b"api_key", b"api-key", b"apikey", b"x-api-key", b"token", b"access_token", b"authorization"}
)
_NOBODY = "0" * 64  # no key has this SHA-256, as far as anybody will find

Reason = Literal["query", "ambiguous", "scheme", "missing", "unknown", "revoked", "expired"]
"""For the metric. The caller can't tell an unknown key from one that was revoked or has expired."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why nobody comes in. No message repeats what was sent."""

    failure: Failure
    reason: Reason


def authenticate(
    authorization: bytes | None, api_key: bytes | None, tokens: Mapping[str, TokenRecord], now_ms: int
) -> TokenRecord | Refusal:
    """The record of the one credential that the request carries, or why it is refused (always 401)."""
    if authorization is not None and api_key is not None:
        return _refused("Send one credential: either the Authorization or the x-api-key header.", "ambiguous")
    presented = api_key
    if authorization is not None:
        scheme, _, presented = authorization.partition(b" ")
        if scheme.lower() != b"bearer":
            return _refused("The Authorization header must be 'Bearer <key>'.", "scheme")
    if not presented:
        return _refused("No API key was sent. Use 'Authorization: Bearer <key>'.", "missing")
    text = presented.strip().decode("latin-1")
    record = tokens.get(virtual.id_of(text))
    if record is None:
        virtual.matches(_NOBODY, text)  # so that it takes as long as for an id that exists
        return _UNKNOWN
    if not (virtual.matches(record.sha256, text) or _was_rotated(record, text, now_ms)):
        return _UNKNOWN
    if record.revoked:
        return _REVOKED
    if record.expires_ms is not None and now_ms >= record.expires_ms:
        return _EXPIRED
    return record


def _was_rotated(record: TokenRecord, text: str, now_ms: int) -> bool:
    """Whether it is the secret before the last rotation, and that one is still good."""
    before, until_ms = record.previous_sha256, record.previous_until_ms
    return before is not None and until_ms is not None and now_ms < until_ms and virtual.matches(before, text)


def in_query(query: bytes) -> Refusal | None:
    """A query string that holds a credential, or looks like it: it would be in the logs of whatever stands
    between. Refused whatever the headers say."""
    for pair in query.split(b"&"):
        name, _, value = pair.partition(b"=")
        if name.lower() in _QUERY_KEYS or virtual.parse(value.decode("latin-1")) is not None:
            return _refused("Send the API key in a header, never in the query string.", "query")
    return None


def tagged(record: TokenRecord, team: bytes | None, feature: bytes | None) -> TokenRecord | Failure:
    """The record with the tags of this request, where its key allows them.

    What the key itself carries can't be changed; to say the same again is no harm.
    """
    tags: dict[str, str] = {}
    for name, value, own in (("team", team, record.team), ("feature", feature, record.feature)):
        if value is None:
            continue
        text = value.decode("latin-1")
        if own is not None:
            if text != own:
                return _denied(
                    name, f"This key has a {name} of its own, which x-keyrail-{name} can't change."
                )
            continue
        if not record.tags:
            return _denied(name, f"This key does not allow the x-keyrail-{name} header.")
        if not text or len(text) > MAX_TAG or not all(c.isalnum() or c in _TAG_EXTRA for c in text):
            message = f"x-keyrail-{name} must be 1 to {MAX_TAG} letters, digits or '._-:/@ '."
            return Failure(kind="bad_request", message=message, status=400, param=f"x-keyrail-{name}")
        tags[name] = text
    return record.replace(**tags) if tags else record


def _refused(message: str, reason: Reason) -> Refusal:
    return Refusal(Failure(kind="auth", message=message, status=401, code="invalid_api_key"), reason)


_NOT_VALID = "The API key is not valid here."
_UNKNOWN = _refused(_NOT_VALID, "unknown")
_REVOKED = _refused(_NOT_VALID, "revoked")
_EXPIRED = _refused(_NOT_VALID, "expired")


def _denied(tag: str, message: str) -> Failure:
    return Failure(
        kind="denied", message=message, status=403, code="tag_not_allowed", param=f"x-keyrail-{tag}"
    )
