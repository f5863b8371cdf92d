"""Creates streams, durables and buckets from the data in `contracts.streams`. Run by the set-up step only."""

from __future__ import annotations

from nats.js import JetStreamContext
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DeliverPolicy,
    DiscardPolicy,
    KeyValueConfig,
    RetentionPolicy,
    StorageType,
    StoreCompression,
    StreamConfig,
)
from nats.js.errors import BucketNotFoundError, NotFoundError

from keyrail.contracts import streams
from keyrail.contracts.streams import Bucket, Durable, Stream


async def apply(js: JetStreamContext, *, replicas: int = 1) -> None:
    """Make the server's streams, durables and buckets what the data says. Safe to repeat."""
    for stream in streams.STREAMS:
        await _stream(js, stream, replicas)
    for durable in streams.DURABLES:
        await _durable(js, durable)
    for bucket in streams.BUCKETS:
        await _bucket(js, bucket, replicas)


async def _stream(js: JetStreamContext, stream: Stream, replicas: int) -> None:
    config = StreamConfig(
        name=stream.name,
        subjects=list(stream.subjects),
        retention=RetentionPolicy(stream.retention),
        discard=DiscardPolicy.NEW,
        storage=StorageType.FILE,
        max_bytes=stream.max_bytes,
        max_age=stream.max_age_s,
        duplicate_window=stream.duplicate_window_s,
        num_replicas=replicas,
    )
    try:
        await js.stream_info(stream.name)
    except NotFoundError:
        await js.add_stream(config)
    else:
        await js.update_stream(config)


async def _durable(js: JetStreamContext, durable: Durable) -> None:
    await js.add_consumer(
        durable.stream,
        ConsumerConfig(
            durable_name=durable.name,
            filter_subject=durable.subject,
            ack_policy=AckPolicy.EXPLICIT,
            deliver_policy=DeliverPolicy.ALL,
            ack_wait=durable.ack_wait_s,
            max_ack_pending=durable.max_ack_pending,
            max_deliver=-1,
        ),
    )


async def _bucket(js: JetStreamContext, bucket: Bucket, replicas: int) -> None:
    try:
        await js.key_value(bucket.name)
    except BucketNotFoundError:
        if bucket.cache:
            await js.add_stream(_cache(bucket, replicas))
            return
        await js.create_key_value(
            KeyValueConfig(
                bucket=bucket.name,
                history=bucket.history,
                ttl=bucket.ttl_s or None,
                storage=StorageType.FILE,
                replicas=replicas,
            )
        )


def _cache(bucket: Bucket, replicas: int) -> StreamConfig:
    """A KV bucket is a stream. What a full one does can't be chosen where nats-py makes it."""
    return StreamConfig(
        name=f"KV_{bucket.name}",
        subjects=[f"$KV.{bucket.name}.>"],
        allow_direct=True,
        allow_rollup_hdrs=True,
        allow_msg_ttl=True,
        deny_delete=True,
        compression=StoreCompression.S2,
        discard=DiscardPolicy.OLD,
        max_age=bucket.ttl_s,
        max_bytes=bucket.max_bytes,
        max_msgs_per_subject=bucket.history,
        num_replicas=replicas,
        storage=StorageType.FILE,
    )
