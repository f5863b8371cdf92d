"""How the store goes on when Vault does not. Our own fake plays Vault, over real HTTP."""

from __future__ import annotations

import asyncio
import logging
import traceback
from typing import cast, get_args

import pytest
from support.key_stores import Opened
from support.nats import eventually
from support.openbao import within
from support.vault_fake import SECRET_ID, TOKEN, FakeVault, Mode

from keyrail.keys import stores, vault_client
from keyrail.keys.base import KeyName, KeyReader, KeyStoreUnavailable
from keyrail.keys.secret import Secret
from keyrail.keys.vault_reader import VaultReader
from keyrail.telemetry import metrics

NAME = KeyName("default", "openai", "env")
PATH = "default/providers/openai/env"
CANARY = "sk-canary-5512ab90"
LOGIN = "POST auth/approle/login"
READ = f"GET llm/data/tenants/{PATH}"

FAILURES: list[tuple[Mode | str, str]] = [
    ("sealed", "sealed"),
    ("denied", "denied"),
    ("no mount", "denied"),
    ("rate_limited", "rate_limited"),
    ("slow", "slow"),
    ("drips", "slow"),
    ("garbage", "unreachable"),
    ("redirects", "unreachable"),
    ("stopped", "unreachable"),
]


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Vault has a tenth of its time, and a token that was made just now may be the reason of a refusal."""
    monkeypatch.setattr(vault_client, "TIMEOUT_S", 0.3)
    monkeypatch.setattr(vault_client, "LOGIN_AGAIN_S", 0.0)


async def breaks(fake: FakeVault, failure: str) -> None:
    if failure == "stopped":
        await fake.stop()
    else:
        fake.mode = cast("Mode", failure)


async def mends(fake: FakeVault) -> None:
    fake.mode = "ok"
    fake.released.set()
    await fake.start() if fake._server is None else None  # pyright: ignore[reportPrivateUsage]


def state() -> str:
    """The one state that the metric shows."""
    (shown,) = [s for s in vault_states() if metrics.VAULT_STATE.labels(s).value == 1]
    return shown


def vault_states() -> list[str]:
    return ["ok", "rate_limited", "denied", "slow", "sealed", "unreachable"]


async def reader_of(
    fake: FakeVault, opened: Opened, clock: Clock | None = None, **options: float
) -> KeyReader:
    """A reader that polls ten times a second and holds on for an hour of `clock`."""
    settings = fake.settings(vault_soft_ttl_s=0.1, vault_hard_ttl_s=3600, **options)
    assert settings.vault_addr is not None
    reader = VaultReader(
        vault_client.connect(settings, settings.vault_addr),
        soft_ttl_s=settings.vault_soft_ttl_s,
        hard_ttl_s=settings.vault_hard_ttl_s,
        clock=clock or Clock(),
    )
    opened.keep(reader)
    await reader.open()
    return reader


@pytest.mark.parametrize(("failure", "shown"), FAILURES)
async def test_traffic_goes_on_with_cached_values_until_the_hard_ttl_and_after_vault_is_back(
    fake: FakeVault, opened: Opened, caplog: pytest.LogCaptureFixture, failure: str, shown: str
) -> None:
    caplog.set_level(logging.INFO, "keyrail")
    fake.put(PATH, api_key=CANARY, weight=1)
    clock = Clock()
    reader = await reader_of(fake, opened, clock)
    assert await reader.value(NAME) == Secret(CANARY)
    assert state() == "ok"

    await breaks(fake, failure)
    await eventually(lambda: state() == shown)
    clock.now += 3_599
    began = asyncio.get_running_loop().time()
    for _ in range(1_000):
        assert [key.id for key in await reader.keys("default", "openai")] == ["env"]
        assert await reader.value(NAME) == Secret(CANARY)
    assert asyncio.get_running_loop().time() - began < 0.2, "nobody waits for Vault"

    clock.now += 2
    with pytest.raises(KeyStoreUnavailable) as caught:
        await reader.value(NAME)
    with pytest.raises(KeyStoreUnavailable):
        await reader.keys("default", "openai")

    await mends(fake)

    async def back() -> bool:
        try:
            return await reader.value(NAME) == Secret(CANARY)
        except KeyStoreUnavailable:
            return False

    await within(10, back)
    assert state() == "ok"
    said = [
        (r.levelname, getattr(r, "vault_state", "")) for r in caplog.records if r.name.startswith("keyrail")
    ]
    assert said == [("INFO", "ok"), ("WARNING", shown), ("INFO", "ok")], "one line for each change"
    trace = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    everything = f"{''.join(trace.format())} {[vars(r) for r in caplog.records]}"
    assert not [s for s in (CANARY, SECRET_ID, TOKEN) if s in everything]


@pytest.mark.parametrize(("failure", "shown"), FAILURES)
async def test_a_start_without_vault_waits_for_it_and_says_why(
    fake: FakeVault, opened: Opened, caplog: pytest.LogCaptureFixture, failure: str, shown: str
) -> None:
    caplog.set_level(logging.INFO, "keyrail")
    fake.put(PATH, api_key=CANARY)
    settings = fake.settings()
    await breaks(fake, failure)
    reader = stores.reader(settings)
    opened.keep(reader)
    opening = asyncio.ensure_future(reader.open())
    await eventually(lambda: any(getattr(r, "vault_state", "") == shown for r in caplog.records))
    assert not opening.done()
    await mends(fake)
    await asyncio.wait_for(opening, 10)
    assert await reader.value(NAME) == Secret(CANARY)
    lines = [getattr(r, "vault_state", "") for r in caplog.records if r.name.startswith("keyrail")]
    assert lines == [shown, "ok"]


@pytest.mark.parametrize(("failure", "shown"), FAILURES)
async def test_a_writer_says_that_it_could_not_and_nothing_more(
    fake: FakeVault, opened: Opened, failure: str, shown: str
) -> None:
    writer = await opened.writer(fake.settings())
    await breaks(fake, failure)
    for asked in (
        lambda: writer.put("default", "openai", "env", Secret(CANARY)),
        writer.list if failure != "no mount" else lambda: writer.put("default", "x", "y", Secret(CANARY)),
        lambda: writer.delete("default", "openai", "env"),
    ):
        with pytest.raises(KeyStoreUnavailable) as caught:
            await asked()
        shown_to_all = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
        text = "".join(shown_to_all.format())
        assert not [s for s in (CANARY, SECRET_ID, TOKEN) if s in text]
        assert state() == shown


async def test_first_reads_of_one_key_at_once_are_one_call(fake: FakeVault, opened: Opened) -> None:
    fake.put(PATH, api_key=CANARY)
    reader = await reader_of(fake, opened)
    values = await asyncio.gather(*(reader.value(NAME) for _ in range(100)))
    assert set(map(Secret.reveal, values)) == {CANARY}
    assert fake.calls[READ] == 1


async def test_an_unchanged_value_is_read_once_however_often_it_is_polled(
    fake: FakeVault, opened: Opened
) -> None:
    fake.put(PATH, api_key=CANARY)
    reader = await reader_of(fake, opened)
    await reader.value(NAME)
    await eventually(lambda: fake.calls[f"GET llm/metadata/tenants/{PATH}"] >= 5)
    assert fake.calls[READ] == 1
    assert fake.calls[LOGIN] == 1


async def test_a_provider_without_keys_is_not_asked_for_again_by_each_request(
    fake: FakeVault, opened: Opened
) -> None:
    settings = fake.settings(vault_soft_ttl_s=60)
    reader = await opened.reader(settings)
    for _ in range(50):
        assert await reader.keys("default", "sandbox") == []
    assert fake.calls["LIST llm/metadata/tenants/default/providers/sandbox"] == 1


async def test_requests_do_not_queue_for_a_vault_that_does_not_answer(
    fake: FakeVault, opened: Opened
) -> None:
    reader = await reader_of(fake, opened)
    fake.mode = "slow"
    results = await asyncio.gather(*(reader.value(NAME) for _ in range(50)), return_exceptions=True)
    assert {type(result).__mro__[1] for result in results} <= {KeyStoreUnavailable.__mro__[1], *()} or all(
        isinstance(result, KeyStoreUnavailable) for result in results
    )
    began = asyncio.get_running_loop().time()
    for _ in range(50):
        with pytest.raises(KeyStoreUnavailable):
            await reader.value(NAME)
    assert asyncio.get_running_loop().time() - began < 0.1


async def test_one_denied_path_does_not_make_the_state_flap(
    fake: FakeVault, opened: Opened, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "keyrail")
    fake.put(PATH, api_key=CANARY)
    fake.put("default/providers/groq/env", api_key=CANARY)
    fake.refused_paths.add("llm/data/tenants/default/providers/groq/env")
    reader = await reader_of(fake, opened)
    with pytest.raises(KeyStoreUnavailable):
        await reader.keys("default", "groq")
    await reader.keys("default", "openai")
    polls = fake.calls[f"GET llm/metadata/tenants/{PATH}"]
    await eventually(lambda: fake.calls[f"GET llm/metadata/tenants/{PATH}"] > polls + 3)
    assert state() == "denied"
    fake.refused_paths.clear()
    await eventually(lambda: state() == "ok")
    lines = [getattr(r, "vault_state", "") for r in caplog.records if r.name.startswith("keyrail")]
    assert lines == ["ok", "denied", "ok"]


async def test_the_token_is_renewed_after_two_thirds_of_its_time(fake: FakeVault, opened: Opened) -> None:
    fake.ttl_s = 1
    await reader_of(fake, opened)
    await eventually(
        lambda: fake.calls["PUT auth/token/renew-self"] + fake.calls["POST auth/token/renew-self"] >= 2
    )
    assert fake.calls[LOGIN] == 1


async def test_a_token_that_cannot_be_renewed_is_replaced_before_it_ends(
    fake: FakeVault, opened: Opened
) -> None:
    fake.ttl_s, fake.renewable = 1, False
    await reader_of(fake, opened)
    await eventually(lambda: fake.calls[LOGIN] >= 3)
    assert not [call for call in fake.calls if "renew" in call]


async def test_a_token_that_is_refused_is_replaced_and_the_call_made_again(
    fake: FakeVault, opened: Opened
) -> None:
    fake.put(PATH, api_key=CANARY)
    reader = await reader_of(fake, opened)
    fake.tokens.clear()
    assert await reader.value(NAME) == Secret(CANARY)
    assert fake.calls[LOGIN] == 2


async def test_a_missing_credential_is_named(
    fake: FakeVault, opened: Opened, caplog: pytest.LogCaptureFixture
) -> None:
    fake.secret_id_file.rename(fake.secret_id_file.with_suffix(".away"))
    reader = stores.reader(fake.settings())
    opened.keep(reader)
    opening = asyncio.ensure_future(reader.open())
    await eventually(lambda: bool(caplog.records))
    assert str(fake.secret_id_file) in vars(caplog.records[0])["why"]
    fake.secret_id_file.with_suffix(".away").rename(fake.secret_id_file)
    await asyncio.wait_for(opening, 10)


def test_every_way_to_fail_of_the_fake_is_tried() -> None:
    assert {mode for mode, _ in FAILURES} == {*get_args(Mode), "stopped"} - {"ok"}
