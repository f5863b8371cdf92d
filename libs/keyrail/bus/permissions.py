"""What each service may publish and subscribe, derived from the subjects and streams. Deny by default."""

from __future__ import annotations

import json
from dataclasses import dataclass

from keyrail.contracts import score_keys, streams, subjects
from keyrail.contracts.streams import Bucket, Durable

ADMIN = "setup"
"""The set-up step's user: creates streams, and nothing else uses it."""


@dataclass(frozen=True, slots=True)
class Permissions:
    """Subjects that a user may publish to and subscribe to."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


def _watch(bucket: Bucket) -> tuple[str, ...]:
    """JetStream API subjects for reading and watching a bucket."""
    stream = f"KV_{bucket.name}"
    return (
        f"$JS.API.STREAM.INFO.{stream}",
        f"$JS.API.CONSUMER.CREATE.{stream}",
        f"$JS.API.CONSUMER.CREATE.{stream}.>",
        f"$JS.API.CONSUMER.DELETE.{stream}.>",
        f"$JS.API.CONSUMER.INFO.{stream}.>",
        f"$JS.API.DIRECT.GET.{stream}.>",
        f"$JS.API.STREAM.MSG.GET.{stream}",
        f"$JS.FC.{stream}.>",
    )


def _write(bucket: Bucket) -> tuple[str, ...]:
    return (f"$KV.{bucket.name}.>",)


def _change(bucket: Bucket) -> tuple[str, ...]:
    """For reading and changing documents without watching them."""
    stream = f"KV_{bucket.name}"
    return (
        f"$JS.API.STREAM.INFO.{stream}",
        f"$JS.API.DIRECT.GET.{stream}.>",
        f"$JS.API.STREAM.MSG.GET.{stream}",
        *_write(bucket),
    )


def _consume(durable: Durable) -> tuple[str, ...]:
    return (
        f"$JS.API.CONSUMER.INFO.{durable.stream}.{durable.name}",
        f"$JS.API.CONSUMER.MSG.NEXT.{durable.stream}.{durable.name}",
        f"$JS.ACK.{durable.stream}.{durable.name}.>",
    )


_EVERYONE_PUBLISHES = (f"{subjects.inbox_prefix('control')}.>",)  # answers to a metrics question
_INGRESS_INBOX = f"{subjects.inbox_prefix('ingress')}.>"
_RACER_INBOX = f"{subjects.inbox_prefix('racer')}.>"


def _service(name: str, publish: tuple[str, ...], subscribe: tuple[str, ...]) -> Permissions:
    return Permissions(
        publish=(subjects.alive(name), *_EVERYONE_PUBLISHES, *publish),
        subscribe=(f"{subjects.inbox_prefix(name)}.>", subjects.METRICS, *subscribe),
    )


SERVICES: dict[str, Permissions] = {
    "ingress": _service(
        "ingress",
        publish=(
            subjects.REQUEST,
            subjects.REQUESTS_TO,
            subjects.cancel("*"),
            subjects.EVENT_REQUEST,
            *_watch(streams.CONFIG),
            *_watch(streams.TOKENS),
            *_change(streams.LIMITS),
        ),
        subscribe=(subjects.ALIVE,),
    ),
    "router": _service(
        "router",
        publish=(
            subjects.CALLS,
            subjects.CALLS_TO,
            subjects.RACES,
            subjects.RACES_TO,
            _INGRESS_INBOX,
            subjects.EVENT_ALERT,
            subjects.EVENT_ROUTED,
            subjects.LEDGER,
            *_watch(streams.CONFIG),
            *_watch(streams.KEYS),
            *_watch(streams.KEY_HEALTH),
            *_watch(streams.TARGET_HEALTH),
            *_watch(streams.WINDOWS),
            *_watch(streams.SCORES),
            f"$KV.{streams.SCORES.name}.{score_keys.TUNED}",  # the rest is written where verdicts come in
            *_watch(streams.MEASURES),
            *_write(streams.MEASURES),
            *_change(streams.BUDGETS),
        ),
        subscribe=(
            f"{subjects.REQUEST} router",
            subjects.REQUESTS_TO,
            subjects.settled("*"),
            subjects.alive("provider-worker"),
            subjects.alive("racer"),
            subjects.EVENT_ATTEMPT,  # how fast targets are, and how often they fail
        ),
    ),
    "provider-worker": _service(
        "provider-worker",
        publish=(
            subjects.CALLS,
            _INGRESS_INBOX,
            subjects.EVENT_ATTEMPT,
            subjects.EVENT_ALERT,
            subjects.CONTENT,
            subjects.settled("*"),
            *_watch(streams.CONFIG),
            *_watch(streams.KEYS),
            *_watch(streams.KEY_HEALTH),
            *_write(streams.KEY_HEALTH),
            *_watch(streams.TARGET_HEALTH),
            *_write(streams.TARGET_HEALTH),
            *_watch(streams.WINDOWS),
            *_write(streams.WINDOWS),
            _RACER_INBOX,
            *_change(streams.CACHE),
        ),
        subscribe=(
            f"{subjects.CALLS} provider-worker",
            subjects.CACHE_PURGED,
            f"{subjects.KEY_TEST} provider-worker",
            subjects.CALLS_TO,
            subjects.cancel("*"),
            subjects.alive("ingress"),
            subjects.alive("racer"),
        ),
    ),
    "racer": _service(
        "racer",
        publish=(
            subjects.CALLS,
            subjects.CALLS_TO,
            _INGRESS_INBOX,
            subjects.cancel("*"),
            subjects.settled("*"),
            *_watch(streams.CONFIG),
        ),
        subscribe=(
            f"{subjects.RACES} racer",
            subjects.RACES_TO,
            subjects.cancel("*"),
            subjects.alive("ingress"),
            subjects.alive("provider-worker"),
        ),
    ),
    "cost-accounting": _service(
        "cost-accounting",
        publish=(
            subjects.DEAD_LETTERS,
            f"{subjects.inbox_prefix('router')}.>",  # answers to a question about a hold
            *_consume(streams.COST_ACCOUNTING),
            f"$JS.API.STREAM.INFO.{streams.EVENTS.name}",  # how full it is
            *_consume(streams.COST_ACCOUNTING_CONTENTS),
            f"$JS.API.STREAM.INFO.{streams.CONTENTS.name}",  # what waits while contents are deleted
            *_watch(streams.CONFIG),  # prices
            *_watch(streams.BUDGETS),
            *_write(streams.BUDGETS),
        ),
        subscribe=(
            f"{subjects.LEDGER} cost-accounting",
            subjects.alive("provider-worker"),
            subjects.alive("router"),
        ),
    ),
    "control": _service(
        "control",
        publish=(
            subjects.LEDGER,
            subjects.METRICS,
            subjects.KEY_TEST,
            *_watch(streams.CONFIG),
            *_watch(streams.TOKENS),
            *_watch(streams.KEYS),
            *_watch(streams.KEY_HEALTH),
            *_watch(streams.BUDGETS),
            *_write(streams.CONFIG),
            *_write(streams.TOKENS),
            *_write(streams.KEYS),
            *_write(streams.BUDGETS),
            *_watch(streams.SCORES),
            *_write(streams.SCORES),
            subjects.EVENT_VERDICT,
            subjects.CACHE_PURGED,
            f"$JS.API.STREAM.INFO.KV_{streams.CACHE.name}",  # what is kept is counted and purged, not read
            f"$JS.API.STREAM.PURGE.KV_{streams.CACHE.name}",
        ),
        subscribe=(subjects.ALIVE,),
    ),
}


def server_config(passwords: dict[str, str], *, store: str, port: int, max_payload: int = 8 << 20) -> str:
    """A nats-server configuration: loopback, JetStream on disk, one user for each service.

    nats-server reads JSON as its own format. `passwords` has an entry for each service and for ADMIN.
    """
    users: list[dict[str, object]] = [
        {
            "user": name,
            "password": passwords[name],
            "permissions": {
                "publish": {"allow": list(allowed.publish)},
                "subscribe": {"allow": list(allowed.subscribe)},
            },
        }
        for name, allowed in SERVICES.items()
    ]
    users.append({"user": ADMIN, "password": passwords[ADMIN]})
    return json.dumps(
        {
            "host": "127.0.0.1",
            "port": port,
            "server_name": "keyrail",
            "max_payload": max_payload,
            "max_pending": 64 << 20,
            "write_deadline": "10s",
            "jetstream": {"store_dir": store, "max_mem": 64 << 20, "max_file": streams.MAX_FILE},
            "authorization": {"users": users},
        },
        indent=1,
    )
