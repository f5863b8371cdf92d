"""The keystore on a real directory. Time is a number that the test holds."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
import traceback
from pathlib import Path

import msgspec
import pyrage
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyrage import x25519

from keyrail.keys import private_files
from keyrail.keys.base import (
    InvalidKey,
    KeyDamaged,
    KeyName,
    KeyNotFound,
    KeyReader,
    KeyStoreUnavailable,
    KeyWriter,
    ProviderKey,
)
from keyrail.keys.keystore import RECIPIENT_FILE, KeystoreReader, KeystoreWriter, create
from keyrail.keys.sealed import Opener, Sealer, new_identity
from keyrail.keys.secret import Secret

CANARY = "sk-canary-5f1c0a9e"


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Store:
    """A keystore in a temporary home."""

    def __init__(self, home: Path) -> None:
        self.directory = home / "keystore"
        self.identity_file = home / "private" / "identity.txt"
        create(self.directory, self.identity_file)
        self.clock = Clock()
        self.writer = KeystoreWriter(self.directory)
        self.reader = KeystoreReader(self.directory, self.identity_file, clock=self.clock)

    def path(self, name: str) -> Path:
        return self.directory / f"{name}.age"

    def public_key(self) -> str:
        return (self.directory / RECIPIENT_FILE).read_text().strip()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_files_and_directories_are_for_their_owner_alone(store: Store) -> None:
    before = os.umask(0)
    try:
        await store.writer.put("default", "openai", "env", Secret(CANARY))
    finally:
        os.umask(before)
    assert mode(store.identity_file) == 0o600
    assert mode(store.path("default/openai/env")) == 0o600
    for folder in ("", "default", "default/openai"):
        assert mode(store.directory / folder) == 0o700


async def test_no_file_of_the_keystore_holds_the_value(store: Store) -> None:
    await store.writer.put("default", "openai", "env", Secret(CANARY))
    files = [path for path in store.directory.rglob("*") if path.is_file()]
    assert sorted(path.name for path in files) == ["env.age", RECIPIENT_FILE]
    assert not any(b"canary" in path.read_bytes() for path in files)


async def test_the_writer_works_without_the_identity_and_holds_nothing_that_could_read(store: Store) -> None:
    shutil.rmtree(store.identity_file.parent)
    writer = KeystoreWriter(store.directory)
    await writer.put("default", "openai", "env", Secret(CANARY))
    assert await writer.list() == [KeyName("default", "openai", "env")]
    assert not hasattr(writer, "value")


async def test_a_file_can_be_opened_with_plain_age(store: Store) -> None:
    await store.writer.put("default", "openai", "env", Secret(CANARY), weight=2)
    identity = store.identity_file.read_text().splitlines()[-1]
    sealed = store.path("default/openai/env").read_bytes()
    opened = pyrage.decrypt(sealed, [x25519.Identity.from_str(identity)])
    assert msgspec.json.decode(opened) == {
        "tenant": "default",
        "provider": "openai",
        "id": "env",
        "weight": 2,
        "value": CANARY,
    }


async def test_a_changed_file_is_noticed_after_a_second(store: Store) -> None:
    key = KeyName("default", "openai", "env")
    await store.writer.put("default", "openai", "env", Secret("old-value"))
    assert await store.reader.value(key) == Secret("old-value")
    await store.writer.put("default", "openai", "env", Secret("new-value"))
    await store.writer.put("default", "openai", "second", Secret("another"))
    store.clock.now += 0.9
    assert await store.reader.value(key) == Secret("old-value")
    store.clock.now += 0.2
    assert await store.reader.value(key) == Secret("new-value")
    assert len(await store.reader.keys("default", "openai")) == 2


async def test_refresh_makes_a_change_visible_at_once(store: Store) -> None:
    key = KeyName("default", "openai", "env")
    await store.writer.put("default", "openai", "env", Secret("old-value"))
    assert await store.reader.value(key) == Secret("old-value")
    await store.writer.put("default", "openai", "env", Secret("new-value"))
    store.reader.refresh(key)
    assert await store.reader.value(key) == Secret("new-value")


async def test_the_first_key_of_a_provider_is_there_at_once(store: Store) -> None:
    assert await store.reader.keys("default", "openai") == []
    await store.writer.put("default", "openai", "env", Secret(CANARY))
    assert len(await store.reader.keys("default", "openai")) == 1


async def test_unchanged_files_are_opened_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    real = Opener.open

    def counting(self: Opener, name: KeyName, sealed: bytes) -> tuple[ProviderKey, Secret]:
        opened.append(name.id)
        return real(self, name, sealed)

    monkeypatch.setattr(Opener, "open", counting)
    await store.writer.put("default", "openai", "one", Secret(CANARY))
    await store.writer.put("default", "openai", "two", Secret(CANARY))
    for _ in range(5):
        for key in await store.reader.keys("default", "openai"):
            await store.reader.value(key)
        store.clock.now += 2
    assert opened == ["one", "two"]
    await store.writer.put("default", "openai", "two", Secret(CANARY + "x"))
    await store.reader.keys("default", "openai")
    assert opened == ["one", "two", "two"]


async def test_a_deleted_key_is_gone(store: Store) -> None:
    await store.writer.put("default", "openai", "env", Secret(CANARY))
    (key,) = await store.reader.keys("default", "openai")
    await store.writer.delete("default", "openai", "env")
    store.clock.now += 2
    assert await store.reader.keys("default", "openai") == []
    with pytest.raises(KeyNotFound, match="default/openai/env"):
        await store.reader.value(key)
    with pytest.raises(KeyNotFound, match="default/openai/env"):
        await store.writer.delete("default", "openai", "env")
    assert await store.writer.list() == []


async def test_a_swapped_file_is_detected_and_the_key_beside_it_stays_usable(store: Store) -> None:
    await store.writer.put("default", "openai", "mine", Secret("mine"))
    await store.writer.put("default", "openai", "good", Secret("good"))
    await store.writer.put("rival", "openai", "theirs", Secret(CANARY))
    shutil.copy(store.path("rival/openai/theirs"), store.path("default/openai/mine"))
    with pytest.raises(KeyDamaged, match=r"default/openai/mine\.age: holds a key of another name"):
        await store.reader.keys("default", "openai")
    with pytest.raises(KeyDamaged):
        await store.reader.value(KeyName("default", "openai", "mine"))
    assert await store.reader.value(KeyName("default", "openai", "good")) == Secret("good")


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "text", "huge"])
async def test_a_damaged_file_is_named_and_its_content_is_not(store: Store, damage: str) -> None:
    await store.writer.put("default", "openai", "env", Secret(CANARY))
    path = store.path("default/openai/env")
    sealed = path.read_bytes()
    path.write_bytes(
        {
            "empty": b"",
            "cut": sealed[:-1],
            "flipped": sealed[:-1] + bytes([sealed[-1] ^ 1]),
            "text": f'{{"value": "{CANARY}"}}'.encode(),
            "huge": CANARY.encode() * 10_000,
        }[damage]
    )
    with pytest.raises(KeyDamaged) as caught:
        await store.reader.keys("default", "openai")
    shown = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    assert str(path) in str(caught.value)
    assert ("larger than" if damage == "huge" else "cannot be opened") in str(caught.value)
    assert "canary" not in "".join(shown.format())
    await store.writer.put("default", "openai", "env", Secret(CANARY))
    store.clock.now += 2
    assert len(await store.reader.keys("default", "openai")) == 1


@pytest.mark.parametrize(
    "content",
    [
        {"tenant": "default", "provider": "openai", "id": "env", "weight": 1},
        {"tenant": "default", "provider": "openai", "id": "env", "weight": "1", "value": CANARY},
        {"tenant": "default", "provider": "openai", "id": "env", "weight": -1, "value": CANARY},
        {"tenant": "default", "provider": "openai", "id": "env", "weight": 1, "value": [CANARY]},
        {
            "tenant": "default",
            "provider": "openai",
            "id": "env",
            "weight": 1,
            "value": f"{CANARY}\r\nx-evil: 1",
        },
        {"tenant": "other", "provider": "openai", "id": "env", "weight": 1, "value": CANARY},
        [CANARY],
    ],
)
async def test_a_file_that_someone_else_encrypted_is_checked_as_well(store: Store, content: object) -> None:
    recipient = x25519.Recipient.from_str(store.public_key())
    path = store.path("default/openai/env")
    path.parent.mkdir(parents=True)
    path.write_bytes(pyrage.encrypt(msgspec.json.encode(content), [recipient]))
    with pytest.raises(KeyDamaged) as caught:
        await store.reader.value(KeyName("default", "openai", "env"))
    shown = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    lines = [line for line in "".join(shown.format()).splitlines() if not line.startswith("    content =")]
    assert "canary" not in "\n".join(lines)


async def test_files_that_are_not_named_like_keys_are_none(store: Store) -> None:
    await store.writer.put("default", "openai", "env", Secret(CANARY))
    folder = store.directory / "default" / "openai"
    for name in (".env.age.abc.tmp", ".env.age", "Env.age", "notes.txt", "env.age~", ".age"):
        (folder / name).write_bytes(b"x")
    (folder / "linked.age").symlink_to(folder / "env.age")
    (folder / "folder.age").mkdir()
    (store.directory / "default" / "linked").symlink_to(folder)
    (store.directory / ".git").mkdir()
    assert [key.id for key in await store.reader.keys("default", "openai")] == ["env"]
    assert await store.writer.list() == [KeyName("default", "openai", "env")]


BAD_NAMES = [
    "",
    ".",
    "..",
    "../x",
    "a/b",
    "/etc",
    "A",
    "-a",
    "_a",
    "a.b",
    "a b",
    "a\n",
    "a\x00",
    "\u00e4",
    "a" * 65,
]


@pytest.mark.parametrize("bad", BAD_NAMES)
async def test_names_cannot_lead_out_of_the_keystore(store: Store, bad: str) -> None:
    before = sorted(store.directory.parent.rglob("*"))
    for tenant, provider, id in [(bad, "openai", "env"), ("default", bad, "env"), ("default", "openai", bad)]:
        with pytest.raises(InvalidKey):
            await store.writer.put(tenant, provider, id, Secret(CANARY))
        with pytest.raises(InvalidKey):
            await store.writer.delete(tenant, provider, id)
    for tenant, provider in [(bad, "openai"), ("default", bad)]:
        with pytest.raises(InvalidKey):
            await store.reader.keys(tenant, provider)
    assert sorted(store.directory.parent.rglob("*")) == before


async def test_a_value_pasted_as_a_name_is_not_repeated(store: Store) -> None:
    with pytest.raises(InvalidKey) as caught:
        await store.writer.put("default", "openai", "SK-canary", Secret("x"))
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    "bad",
    ["", " ", "a\nb", "a\r\nb", " padded", "padded ", "t\tab", "k\u00e9y", "zero\u200bwidth", "x" * 16_385],
)
async def test_values_that_cannot_be_sent_are_refused_and_not_repeated(store: Store, bad: str) -> None:
    with pytest.raises(InvalidKey) as caught:
        await store.writer.put("default", "openai", "env", Secret(bad))
    assert not bad.strip() or bad.strip() not in str(caught.value)
    assert await store.writer.list() == []


@pytest.mark.parametrize("bad", [-1, 1_000_001, True, 1.5])
async def test_weights_are_whole_numbers(store: Store, bad: int) -> None:
    with pytest.raises(InvalidKey, match="weight"):
        await store.writer.put("default", "openai", "env", Secret(CANARY), weight=bad)


async def test_a_failed_write_leaves_the_old_key_and_no_rest(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.writer.put("default", "openai", "env", Secret("old-value"))

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(private_files.os, "fsync", full)
        with pytest.raises(KeyStoreUnavailable, match="No space left"):
            await store.writer.put("default", "openai", "env", Secret("new-value"))
    assert await store.reader.value(KeyName("default", "openai", "env")) == Secret("old-value")
    assert [path.name for path in (store.directory / "default" / "openai").iterdir()] == ["env.age"]


async def test_a_reader_sees_one_whole_value_or_another_while_it_is_replaced(store: Store) -> None:
    values = [Secret(f"value-{n}" * 50) for n in range(8)]
    key = KeyName("default", "openai", "env")
    await store.writer.put("default", "openai", "env", values[0])
    writing = asyncio.gather(*(store.writer.put("default", "openai", "env", value) for value in values))
    while not writing.done():
        store.reader.refresh(key)
        assert await store.reader.value(key) in values
        await asyncio.sleep(0)
    await writing


def test_creating_again_changes_nothing(store: Store) -> None:
    identity, recipient = store.identity_file.read_bytes(), store.public_key()
    create(store.directory, store.identity_file)
    assert (store.identity_file.read_bytes(), store.public_key()) == (identity, recipient)


def test_a_public_key_that_was_lost_is_made_again_from_the_identity(store: Store) -> None:
    recipient = store.public_key()
    (store.directory / RECIPIENT_FILE).unlink()
    create(store.directory, store.identity_file)
    assert store.public_key() == recipient


def test_an_identity_that_was_lost_is_not_replaced_by_another(store: Store) -> None:
    store.identity_file.unlink()
    with pytest.raises(KeyStoreUnavailable, match="missing"):
        create(store.directory, store.identity_file)
    assert not store.identity_file.exists()


def test_a_keystore_is_not_taken_over_by_another_identity(store: Store, tmp_path: Path) -> None:
    other = Store(tmp_path / "other")
    recipient = store.public_key()
    with pytest.raises(KeyStoreUnavailable, match="not the public key"):
        create(store.directory, other.identity_file)
    assert store.public_key() == recipient


def test_an_identity_that_others_may_read_is_refused(store: Store) -> None:
    store.identity_file.chmod(0o640)
    with pytest.raises(KeyStoreUnavailable, match="chmod 600"):
        KeystoreReader(store.directory, store.identity_file)


@pytest.mark.parametrize("text", ["", "age1notanidentity", "AGE-SECRET-KEY-1CANARY", "\udcff", "a\nb"])
def test_a_broken_identity_is_named_and_not_shown(store: Store, text: str) -> None:
    store.identity_file.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(KeyStoreUnavailable, match="not an age identity") as caught:
        KeystoreReader(store.directory, store.identity_file)
    assert "CANARY" not in str(caught.value)


def test_a_reader_with_another_identity_is_refused_at_the_start(store: Store, tmp_path: Path) -> None:
    other = Store(tmp_path / "other")
    with pytest.raises(KeyStoreUnavailable, match="not the public key"):
        KeystoreReader(store.directory, other.identity_file)


def test_a_missing_keystore_is_not_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(KeyStoreUnavailable, match="No such file"):
        KeystoreWriter(tmp_path / "none")
    with pytest.raises(KeyStoreUnavailable, match="No such file"):
        KeystoreReader(tmp_path / "none", tmp_path / "identity")


def test_a_broken_public_key_is_named(store: Store) -> None:
    (store.directory / RECIPIENT_FILE).write_text("age1nonsense")
    with pytest.raises(KeyStoreUnavailable, match=r"recipient\.txt: not an age public key"):
        KeystoreWriter(store.directory)


async def test_a_keystore_that_goes_away_is_unavailable_and_not_empty(store: Store) -> None:
    shutil.rmtree(store.directory)
    with pytest.raises(KeyStoreUnavailable):
        await store.reader.keys("default", "openai")
    with pytest.raises(KeyStoreUnavailable):
        await store.writer.list()


def test_what_holds_the_identity_does_not_show_it(store: Store) -> None:
    secret = store.identity_file.read_text().splitlines()[-1]
    assert secret.startswith("AGE-SECRET-KEY-")
    assert secret not in f"{store.reader} {vars(store.reader)}"


def test_reader_and_writer_are_what_a_key_store_offers(store: Store) -> None:
    reader: KeyReader = store.reader
    writer: KeyWriter = store.writer
    assert reader is not writer


IDENTITY, RECIPIENT = new_identity()
NAME = KeyName("default", "openai", "env")
SEALED = Sealer(RECIPIENT).seal(ProviderKey("default", "openai", "env", 1), Secret(CANARY))


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(SEALED) - 1), st.integers(1, 255))
def test_no_changed_byte_goes_unnoticed(position: int, change: int) -> None:
    changed = bytearray(SEALED)
    changed[position] ^= change
    with pytest.raises(ValueError, match="damaged"):
        Opener(IDENTITY).open(NAME, bytes(changed))


@settings(deadline=None)
@given(st.binary(max_size=2_000))
def test_bytes_that_were_never_sealed_are_refused(noise: bytes) -> None:
    with pytest.raises(ValueError, match="damaged"):
        Opener(IDENTITY).open(NAME, noise)
