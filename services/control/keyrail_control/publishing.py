"""Publishing configuration revisions and virtual keys to the buckets that services watch."""

from __future__ import annotations

import hashlib

from nats.js import JetStreamContext
from nats.js.errors import KeyNotFoundError
from nats.js.kv import KeyValue

from keyrail.contracts import streams
from keyrail.contracts.base import now_ms
from keyrail.contracts.config import ConfigView, TokenRecord
from keyrail.keys import virtual

CURRENT = "current"


async def publish_config(js: JetStreamContext, view: ConfigView) -> ConfigView:
    """Make `view` the current revision, unless it already is. Returns it with its number."""
    bucket = await js.key_value(streams.CONFIG.name)
    current = await _current(bucket)
    if current is not None and current.replace(revision=0) == view:
        return current
    numbered = view.replace(revision=current.revision + 1 if current else 1)
    document = numbered.encode()
    await bucket.put(f"revision.{numbered.revision}", document)
    await bucket.put(CURRENT, document)
    return numbered


async def publish_token(js: JetStreamContext, key: str, tenant: str) -> None:
    """Let a virtual key in. Raises ValueError when it is not one."""
    key_id = virtual.parse(key)
    if key_id is None:
        raise ValueError("the file does not hold a virtual key")
    record = TokenRecord(
        id=key_id,
        sha256=hashlib.sha256(key.encode()).hexdigest(),
        tenant=tenant,
        created_ms=now_ms(),
    )
    bucket = await js.key_value(streams.TOKENS.name)
    await bucket.put(record.id, record.encode())


async def _current(bucket: KeyValue) -> ConfigView | None:
    try:
        entry = await bucket.get(CURRENT)
    except KeyNotFoundError:
        return None
    return ConfigView.decode(entry.value or b"{}")
