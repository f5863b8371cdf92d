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
        await js.create_key_value(
            KeyValueConfig(
                bucket=bucket.name,
                history=bucket.history,
                ttl=bucket.ttl_s or None,
                storage=StorageType.FILE,
                replicas=replicas,
            )
        )
