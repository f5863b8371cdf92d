"""Who comes in: expiry, revocation, rotation, tags."""

from __future__ import annotations

import hashlib

import pytest

from keyrail.contracts.config import TokenRecord
from keyrail.contracts.failures import Failure
from keyrail.keys import virtual
from keyrail_ingress import admission
from keyrail_ingress.admission import Refusal

NOW = 1_700_000_000_000
OLD, NEW = virtual.issue(), virtual.issue()


def record(**more: object) -> TokenRecord:
    return TokenRecord(id=NEW.id, sha256=NEW.sha256, created_ms=NOW - 1_000).replace(**more)


def come(key: str, known: TokenRecord, now_ms: int = NOW) -> TokenRecord | Refusal:
    return admission.authenticate(f"Bearer {key}".encode(), None, {known.id: known}, now_ms)


def rotated(**more: object) -> tuple[str, TokenRecord]:
    """A key before its rotation: it has the id of the one after it."""
    before = f"kr_{NEW.id}_{OLD.key[12:]}"
    sha256 = hashlib.sha256(before.encode()).hexdigest()
    return before, record(previous_sha256=sha256, **more)


def test_a_key_comes_in_by_either_header() -> None:
    assert come(NEW.key, record()) == record()
    assert admission.authenticate(None, NEW.key.encode(), {NEW.id: record()}, NOW) == record()


@pytest.mark.parametrize(
    ("known", "key", "reason"),
    [
        (record(), NEW.key[:-1] + "!", "unknown"),
        (record(), OLD.key, "unknown"),
        (record(), "é" + NEW.key, "unknown"),
        (record(revoked=True), NEW.key, "revoked"),
        (record(expires_ms=NOW), NEW.key, "expired"),
        (record(revoked=True, expires_ms=NOW), NEW.key[:-1] + "!", "unknown"),
    ],
)
def test_unknown_revoked_and_expired_look_the_same_from_outside(
    known: TokenRecord, key: str, reason: str
) -> None:
    refused = come(key, known)
    assert isinstance(refused, Refusal)
    assert refused.reason == reason
    plain = come("kr_nobody", known)
    assert isinstance(plain, Refusal)
    assert refused.failure == plain.failure
    assert key not in refused.failure.message
    assert refused.failure.status == 401


def test_a_key_is_good_until_it_expires() -> None:
    assert come(NEW.key, record(expires_ms=NOW + 1)) == record(expires_ms=NOW + 1)


def test_after_a_rotation_both_secrets_are_good_until_the_overlap_ends() -> None:
    before, known = rotated(previous_until_ms=NOW + 1)
    assert come(before, known) == known
    assert come(NEW.key, known) == known
    assert isinstance(come(before, known, NOW + 1), Refusal)
    assert come(NEW.key, known, NOW + 1) == known


def test_a_secret_from_before_a_rotation_without_an_overlap_is_not_good() -> None:
    before, known = rotated()
    assert isinstance(come(before, known), Refusal)


def test_revocation_ends_the_overlap_too() -> None:
    before, known = rotated(previous_until_ms=NOW + 1, revoked=True)
    assert isinstance(come(before, known), Refusal)


@pytest.mark.parametrize(
    "query",
    [
        b"key=abc",
        b"a=b&API_KEY=abc",
        b"access_token=",
        b"after_id=" + NEW.key.encode(),
    ],
)
def test_a_key_in_the_query_string_is_refused_and_not_repeated(query: bytes) -> None:
    refused = admission.in_query(query)
    assert refused is not None
    assert refused.failure.status == 401
    assert NEW.key not in refused.failure.message
    assert "abc" not in refused.failure.message


def test_an_ordinary_query_string_is_none_of_that() -> None:
    assert admission.in_query(b"beta=true&limit=20&after_id=kr_x") is None


def test_a_team_that_the_key_carries_can_not_be_changed() -> None:
    own = record(team="web")
    refused = admission.tagged(own, b"ops", None)
    assert isinstance(refused, Failure)
    assert (refused.status, refused.code, refused.param) == (403, "tag_not_allowed", "x-keyrail-team")
    assert "ops" not in refused.message
    assert admission.tagged(own, b"web", None) == own


def test_what_the_key_does_not_carry_may_be_set_where_it_allows_that() -> None:
    own = record(team="web")
    assert admission.tagged(own, None, b"search") == own.replace(feature="search")
    refused = admission.tagged(own.replace(tags=False), None, b"search")
    assert isinstance(refused, Failure)
    assert refused.status == 403
    assert admission.tagged(own.replace(tags=False), b"web", None) == own.replace(tags=False)


@pytest.mark.parametrize("team", [b"", b"x" * 65, b"a\nb", b"a,b"])
def test_a_tag_is_short_and_plain(team: bytes) -> None:
    refused = admission.tagged(record(), team, None)
    assert isinstance(refused, Failure)
    assert refused.status == 400
