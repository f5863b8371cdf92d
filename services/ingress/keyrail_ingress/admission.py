"""Who may come in, and under which tags. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from keyrail.contracts.config import TokenRecord
from keyrail.contracts.failures import Failure
from keyrail.keys import virtual

MAX_TAG = 64
_TAG_EXTRA = frozenset("._-:/@ ")


def authenticate(
    authorization: bytes | None, api_key: bytes | None, tokens: Mapping[str, TokenRecord]
) -> TokenRecord | Failure:
    """The record of the one credential that the request carries, or why it is refused (always 401)."""
    if authorization is not None and api_key is not None:
        return _refused("Send one credential: either the Authorization or the x-api-key header.")
    presented = api_key
    if authorization is not None:
        scheme, _, presented = authorization.partition(b" ")
        if scheme.lower() != b"bearer":
            return _refused("The Authorization header must be 'Bearer <key>'.")
    if not presented:
        return _refused("No API key was sent. Use 'Authorization: Bearer <key>'.")
    text = presented.strip().decode("latin-1")
    record = tokens.get(virtual.id_of(text))
    if record is None or not virtual.matches(record.sha256, text) or record.revoked:
        return _refused("The API key is not valid here.")
    return record


def tagged(record: TokenRecord, team: bytes | None, feature: bytes | None) -> TokenRecord | Failure:
    """The record with the tags of this request, where its key allows them."""
    tags: dict[str, str] = {}
    for name, value in (("team", team), ("feature", feature)):
        if value is None:
            continue
        if not record.tags:
            return _bad(name, f"This key does not allow the x-keyrail-{name} header.")
        text = tags[name] = value.decode("latin-1")
        if not text or len(text) > MAX_TAG or not all(c.isalnum() or c in _TAG_EXTRA for c in text):
            return _bad(name, f"x-keyrail-{name} must be 1 to {MAX_TAG} letters, digits or '._-:/@ '.")
    return record.replace(**tags)


def _refused(message: str) -> Failure:
    return Failure(kind="auth", message=message, status=401, code="invalid_api_key")


def _bad(tag: str, message: str) -> Failure:
    return Failure(kind="bad_request", message=message, status=400, param=f"x-keyrail-{tag}")
