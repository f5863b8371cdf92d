import asyncio

import pytest
from nats.js.kv import KeyValue
from support.nats import NatsServer

from keyrail.bus.documents import Documents
from keyrail.bus.errors import BusError
from keyrail.contracts import streams


def _one_more(before: bytes | None) -> tuple[bytes, int]:
    count = int(before or b"0") + 1
    return str(count).encode(), count


async def test_no_change_is_lost_when_three_instances_change_a_document_at_once(nats: NatsServer) -> None:
    buses = [await nats.bus("router") for _ in range(3)]
    documents = [Documents(bus, streams.BUDGETS.name) for bus in buses]
    results = await asyncio.gather(
        *(each.change("count", _one_more) for each in documents for _ in range(10))
    )
    assert sorted(results) == list(range(1, 31))
    assert await documents[0].get("count") == b"30"
    for bus in buses:
        await bus.close()


async def test_a_change_that_writes_nothing_leaves_the_document(nats: NatsServer) -> None:
    bus = await nats.bus("router")
    documents = Documents(bus, streams.BUDGETS.name)
    assert await documents.change("a", lambda before: (None, before)) is None
    await documents.change("a", lambda _: (b"1", None))
    assert await documents.change("a", lambda before: (None, before)) == b"1"
    await bus.close()


async def test_a_deleted_document_can_be_made_again(nats: NatsServer) -> None:
    router, control = await nats.bus("router"), await nats.bus("control")
    documents = Documents(router, streams.BUDGETS.name)
    assert await documents.change("a", _one_more) == 1
    await (await control.js.key_value(streams.BUDGETS.name)).delete("a")
    assert await documents.get("a") is None
    assert await documents.change("a", _one_more) == 1
    await router.close()
    await control.close()


async def test_a_service_without_permission_can_not_change_documents(nats: NatsServer) -> None:
    bus = await nats.bus("ingress")
    with pytest.raises(BusError):
        await Documents(bus, streams.BUDGETS.name).change("a", _one_more)
    await bus.close()


async def test_only_an_unwanted_document_is_removed(nats: NatsServer) -> None:
    bus = await nats.bus("router")
    documents = Documents(bus, streams.BUDGETS.name)
    assert not await documents.remove("a", lambda _: True), "there is none"
    await documents.change("a", _one_more)
    assert not await documents.remove("a", lambda seen: seen == b"2")
    assert await documents.get("a") == b"1"
    assert await documents.remove("a", lambda seen: seen == b"1")
    assert await documents.get("a") is None
    assert await documents.change("a", _one_more) == 1
    await bus.close()


async def test_a_document_that_changed_since_it_was_looked_at_is_not_removed(nats: NatsServer) -> None:
    here, there = await nats.bus("router"), await nats.bus("router")
    documents = Documents(here, streams.BUDGETS.name)
    await documents.change("a", _one_more)
    changing = asyncio.Event()

    async def change() -> None:
        await changing.wait()
        await Documents(there, streams.BUDGETS.name).change("a", _one_more)

    other = asyncio.create_task(change())

    async def read(bucket: KeyValue, key: str) -> tuple[bytes | None, int | None]:
        entry = await bucket.get(key)
        changing.set()
        await other
        return entry.value, entry.revision

    documents._read = read  # pyright: ignore[reportPrivateUsage]
    assert not await documents.remove("a", lambda _: True)
    assert await Documents(there, streams.BUDGETS.name).get("a") == b"2"
    await here.close()
    await there.close()
