import asyncio

from support.nats import NatsServer, eventually

from keyrail.bus.views import KvView
from keyrail.contracts import streams


async def test_a_view_follows_its_bucket_over_a_killed_server(nats: NatsServer) -> None:
    control, ingress = await nats.bus("control"), await nats.bus("ingress")
    bucket = await control.js.key_value(streams.TOKENS.name)
    await bucket.put("a", b"1")
    mirror: dict[str, bytes] = {}

    def forget(key: str) -> None:
        mirror.pop(key, None)  # a new watch repeats the deletions

    view = KvView(ingress, streams.TOKENS.name, mirror.__setitem__, forget)
    view.start()
    await asyncio.wait_for(view.loaded.wait(), 3)
    assert mirror == {"a": b"1"}
    await bucket.put("b", b"2")
    await eventually(lambda: mirror == {"a": b"1", "b": b"2"}, 1)
    await bucket.delete("a")
    await eventually(lambda: mirror == {"b": b"2"}, 1)
    await nats.restart()
    await eventually(lambda: control.connected and ingress.connected)
    await bucket.put("c", b"3")
    await eventually(lambda: mirror == {"b": b"2", "c": b"3"}, 5)
    await view.stop()
    await control.close()
    await ingress.close()
