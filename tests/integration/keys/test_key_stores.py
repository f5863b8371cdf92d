"""What every key store does, by one suite: files, a real server with Vault's API, and our fake of it."""

from __future__ import annotations

import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.key_stores import Opened
from support.openbao import OpenBao, within
from support.vault_fake import FakeVault

from keyrail.keys import keystore
from keyrail.keys.base import (
    InvalidKey,
    KeyDamaged,
    KeyName,
    KeyNotFound,
    KeyReader,
    KeyWriter,
    ProviderKey,
)
from keyrail.keys.secret import Secret
from keyrail.keys.settings import KeyReaderSettings

CANARY = "sk-canary-08d1f5c2"
NAME = KeyName("default", "openai", "env")


@dataclass
class Store:
    """A store, and how to put there by hand what is no key."""

    writer: KeyWriter
    reader: KeyReader
    damage: Callable[[KeyName], None]

    async def put(self, id: str, value: str = CANARY, weight: int = 1, provider: str = "openai") -> None:
        await self.writer.put("default", provider, id, Secret(value), weight)

    async def ids(self, provider: str = "openai") -> list[str]:
        return [key.id for key in await self.reader.keys("default", provider)]

    async def sees(self, condition: Callable[[], Awaitable[bool]], name: KeyName = NAME) -> None:
        """Within a second of being told, and no question waits for it."""
        self.reader.refresh(name)
        await within(1.0, condition)


@pytest.fixture(params=["keystore", "openbao", "fake"])
async def store(
    request: pytest.FixtureRequest, tmp_path: Path, opened: Opened, fake: FakeVault
) -> AsyncIterator[Store]:
    if request.param == "keystore":
        directory, identity = tmp_path / "keystore", tmp_path / "identity.key"
        keystore.create(directory, identity)
        settings = KeyReaderSettings(keystore=directory, identity_file=identity)

        def damage(name: KeyName) -> None:
            (directory / name.tenant / name.provider / f"{name.id}.age").write_text(CANARY)

        yield Store(await opened.writer(settings), await opened.reader(settings), damage)
    elif request.param == "openbao":
        bao: OpenBao = request.getfixturevalue("bao")

        def damage(name: KeyName) -> None:
            bao.put(f"{name.tenant}/providers/{name.provider}/{name.id}", api_key=f"{CANARY}\r\n")

        yield Store(
            await opened.writer(bao.settings("control")),
            await opened.reader(bao.settings("provider-worker")),
            damage,
        )
    else:

        def damage(name: KeyName) -> None:
            fake.put(f"{name.tenant}/providers/{name.provider}/{name.id}", weight=1, other=CANARY)

        yield Store(await opened.writer(fake.settings()), await opened.reader(fake.settings()), damage)


async def test_a_key_that_was_put_can_be_read(store: Store) -> None:
    await store.put("env", weight=3)
    keys = await store.reader.keys("default", "openai")
    assert keys == [ProviderKey("default", "openai", "env", 3)]
    assert (await store.reader.value(keys[0])).reveal() == CANARY


async def test_keys_are_listed_by_tenant_and_provider(store: Store) -> None:
    for tenant, provider, id in [
        ("a", "openai", "two"),
        ("a", "openai", "one"),
        ("a", "groq", "x"),
        ("b", "groq", "y"),
    ]:
        await store.writer.put(tenant, provider, id, Secret(CANARY + id))
    assert [key.id for key in await store.reader.keys("a", "openai")] == ["one", "two"]
    assert [key.id for key in await store.reader.keys("b", "groq")] == ["y"]
    assert await store.reader.keys("b", "openai") == []
    assert [str(name) for name in await store.writer.list()] == [
        "a/groq/x",
        "a/openai/one",
        "a/openai/two",
        "b/groq/y",
    ]


async def test_a_store_without_keys_has_none(store: Store) -> None:
    assert await store.writer.list() == []
    assert await store.ids() == []
    with pytest.raises(KeyNotFound, match="default/openai/env"):
        await store.reader.value(NAME)


async def test_a_rotated_key_is_seen_within_a_second_of_being_told(store: Store) -> None:
    await store.put("env", "old-value", weight=2)
    assert await store.reader.value(NAME) == Secret("old-value")
    await store.put("env", "new-value", weight=5)

    async def rotated() -> bool:
        return await store.reader.value(NAME) == Secret("new-value")

    await store.sees(rotated)
    assert [key.weight for key in await store.reader.keys("default", "openai")] == [5]


async def test_a_new_key_beside_another_is_seen_within_a_second_of_being_told(store: Store) -> None:
    await store.put("env")
    assert await store.ids() == ["env"]
    await store.put("another")

    async def there() -> bool:
        return await store.ids() == ["another", "env"]

    await store.sees(there, KeyName("default", "openai", "another"))


async def test_the_first_key_of_a_provider_that_was_asked_for_is_seen_within_a_second(store: Store) -> None:
    assert await store.ids() == []
    await store.put("env")

    async def there() -> bool:
        return await store.ids() == ["env"]

    await store.sees(there)


async def test_a_deleted_key_is_gone_within_a_second_of_being_told(store: Store) -> None:
    await store.put("env")
    await store.put("other")
    assert await store.ids() == ["env", "other"]
    await store.writer.delete("default", "openai", "env")

    async def gone() -> bool:
        return await store.ids() == ["other"]

    await store.sees(gone)
    with pytest.raises(KeyNotFound, match="default/openai/env"):
        await store.reader.value(NAME)
    with pytest.raises(KeyNotFound, match="default/openai/env"):
        await store.writer.delete("default", "openai", "env")
    assert await store.writer.list() == [KeyName("default", "openai", "other")]


async def test_a_key_that_was_deleted_can_be_put_again(store: Store) -> None:
    await store.put("env", "old-value")
    assert await store.reader.value(NAME) == Secret("old-value")
    await store.writer.delete("default", "openai", "env")
    await store.put("env", "new-value")

    async def there() -> bool:
        return await store.reader.value(NAME) == Secret("new-value")

    await store.sees(there)


async def test_being_told_of_a_key_that_nobody_asked_for_is_no_harm(store: Store) -> None:
    store.reader.refresh(KeyName("default", "nobody", "env"))
    await store.put("env", provider="nobody")
    store.reader.refresh(KeyName("default", "nobody", "env"))

    async def there() -> bool:
        return await store.ids("nobody") == ["env"]

    await within(1.0, there)


async def test_what_is_no_key_is_named_and_not_shown_and_the_key_beside_it_stays_usable(store: Store) -> None:
    await store.put("env", "good")
    await store.put("bad")
    store.damage(KeyName("default", "openai", "bad"))
    with pytest.raises(KeyDamaged, match=r"default/.*openai/bad") as caught:
        await store.reader.keys("default", "openai")
    shown = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    assert "canary" not in "".join(shown.format())
    with pytest.raises(KeyDamaged):
        await store.reader.value(KeyName("default", "openai", "bad"))
    assert await store.reader.value(NAME) == Secret("good")
    await store.put("bad", "mended")

    async def mended() -> bool:
        try:
            return await store.ids() == ["bad", "env"]
        except KeyDamaged:
            return False

    await store.sees(mended)


@pytest.mark.parametrize(
    "bad", ["", ".", "..", "../x", "a/b", "A", "-a", "a.b", "a b", "a\n", "%2e", "\u00e4", "a" * 65]
)
async def test_names_cannot_lead_out_of_the_store(store: Store, bad: str) -> None:
    for tenant, provider, id in [(bad, "openai", "env"), ("default", bad, "env"), ("default", "openai", bad)]:
        with pytest.raises(InvalidKey):
            await store.writer.put(tenant, provider, id, Secret(CANARY))
        with pytest.raises(InvalidKey):
            await store.writer.delete(tenant, provider, id)
    for tenant, provider in [(bad, "openai"), ("default", bad)]:
        with pytest.raises(InvalidKey):
            await store.reader.keys(tenant, provider)
    assert await store.writer.list() == []


@pytest.mark.parametrize("bad", ["", " ", "a\nb", " padded", "k\u00e9y", "x" * 16_385])
async def test_values_that_cannot_be_sent_are_refused_and_not_repeated(store: Store, bad: str) -> None:
    with pytest.raises(InvalidKey) as caught:
        await store.put("env", bad)
    assert not bad.strip() or bad.strip() not in str(caught.value)
    assert await store.writer.list() == []


@pytest.mark.parametrize("bad", [-1, 1_000_001, True, 1.5])
async def test_weights_are_whole_numbers(store: Store, bad: int) -> None:
    with pytest.raises(InvalidKey, match="weight"):
        await store.put("env", weight=bad)


async def test_the_longest_value_and_every_printable_character_come_back(store: Store) -> None:
    value = "".join(map(chr, range(33, 127))) + "x" * 16_000
    await store.put("env", value)
    assert (await store.reader.value(NAME)).reveal() == value


async def test_what_holds_values_does_not_show_them(store: Store) -> None:
    await store.put("env")
    await store.reader.value(NAME)
    seen, text = [store.reader, store.writer], ""
    for one in seen:
        text += f"{one!r} {one} {vars(one)}"
    assert "canary" not in text
