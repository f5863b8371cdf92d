"""Who may come in, and under which tags. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from keyrail.contracts.config import TokenRecord
from keyrail.contracts.failures import Failure
from keyrail.keys import virtual

MAX_TAG = 64
_TAG_EXTRA = frozenset("._-:/@ ")


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated virtual key with the tags of this request."""

    key_id: str
    tenant: str
    team: str | None
    feature: str | None


def authenticate(
    authorization: str | None, api_key: str | None, tokens: Mapping[str, TokenRecord]
) -> TokenRecord | Failure:
    """The record of the one credential that the request carries, or why it is refused (always 401)."""
    if authorization is not None and api_key is not None:
        return _refused("Send one credential: either the Authorization or the x-api-key header.")
    presented = api_key
    if authorization is not None:
        scheme, _, presented = authorization.partition(" ")
        if scheme.lower() != "bearer":
            return _refused("The Authorization header must be 'Bearer <key>'.")
    if not presented:
        return _refused("No API key was sent. Use 'Authorization: Bearer <key>'.")
    presented = presented.strip()
    key_id = virtual.parse(presented)
    record = tokens.get(key_id) if key_id else None
    if record is None or not virtual.matches(record.sha256, presented) or record.revoked:
        return _refused("The API key is not valid here.")
    return record


def tagged(record: TokenRecord, team: str | None, feature: str | None) -> Caller | Failure:
    """The caller with its tags: the key's own, or the request's where the key allows it."""
    for name, value in (("x-keyrail-team", team), ("x-keyrail-feature", feature)):
        if value is None:
            continue
        if not record.tags:
            return _bad(name, f"This key does not allow the {name} header.")
        if not value or len(value) > MAX_TAG or not all(c.isalnum() or c in _TAG_EXTRA for c in value):
            return _bad(name, f"{name} must be 1 to {MAX_TAG} letters, digits or '._-:/@ '.")
    return Caller(record.id, record.tenant, team or record.team, feature or record.feature)


def _refused(message: str) -> Failure:
    return Failure(kind="auth", message=message, status=401, code="invalid_api_key")


def _bad(param: str, message: str) -> Failure:
    return Failure(kind="bad_request", message=message, status=400, param=param)
