"""Limits and virtual keys with three ingresses on one socket, under load."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anthropic
import httpx
import openai
import pytest
import pytest_asyncio
from prometheus_client.parser import text_string_to_metric_families
from support.stack import Stack, chat
from support.virtual_keys import VirtualKeys, bus_of

from keyrail.bus.documents import Documents
from keyrail.contracts import streams
from keyrail.contracts.base import now_ms
from keyrail.contracts.budgets import Limits
from keyrail.contracts.config import TeamConfig, TenantConfig, TokenRecord
from keyrail.contracts.limits import LimitDocument

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

PATH = "/v1/chat/completions"
SLOW = "sandbox/stall-3s"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    running = Stack(tmp_path_factory.mktemp("limits") / "home", scale={"ingress": 3})
    await running.start()
    yield running
    await running.close()
    assert running.stop() == 0, running.said()


@pytest_asyncio.fixture(loop_scope="module")
async def keys(stack: Stack) -> AsyncIterator[VirtualKeys]:
    made = await VirtualKeys.of(stack)
    yield made
    await made.close()


TLS = httpx.create_ssl_context()  # not used, and dear to make


def client(stack: Stack, key: str, timeout_s: float = 60.0, keep: int = 0) -> httpx.AsyncClient:
    """Keeps so many connections; with none each request has one of its own: any ingress may get it."""
    return httpx.AsyncClient(
        base_url=stack.url,
        headers={"authorization": f"Bearer {key}"},
        timeout=timeout_s,
        limits=httpx.Limits(max_keepalive_connections=keep),
        verify=TLS,
    )


async def ask(stack: Stack, key: str, body: dict[str, Any], timeout_s: float = 60.0) -> httpx.Response:
    async with client(stack, key, timeout_s) as asking:
        return await asking.post(PATH, json=body)


async def flood(stack: Stack, key: str, count: int, body: dict[str, Any]) -> list[httpx.Response]:
    async with client(stack, key) as asking:
        return list(await asyncio.gather(*(asking.post(PATH, json=body) for _ in range(count))))


async def known(stack: Stack, *issued: str) -> None:
    """Wait until every ingress lets these keys in, as far as asking often can tell."""
    for key in issued:
        seen = 0
        while seen < 12:
            async with client(stack, key) as asking:
                answer = await asking.get("/v1/models")
            seen = seen + 1 if answer.status_code == 200 else 0


def statuses(answers: list[httpx.Response]) -> Counter[int]:
    return Counter(answer.status_code for answer in answers)


async def counted(stack: Stack, name: str, **labels: str) -> dict[str, float]:
    """A counter's value at each ingress, by instance."""
    async with httpx.AsyncClient(verify=TLS) as asking:
        text = (await asking.get(f"{stack.run_file()['admin_url']}/metrics")).text
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                found[sample.labels["instance"]] = sample.value
    return found


async def test_of_100_parallel_requests_exactly_10_pass(stack: Stack, keys: VirtualKeys) -> None:
    key, _ = await keys.issue(limits=Limits(rpm=10))
    await known(stack, key)
    async with AsyncExitStack() as open_clients:
        clients = [await open_clients.enter_async_context(client(stack, key, keep=1)) for _ in range(100)]
        for one in clients:  # one by one, so that one ingress does not take them all
            await one.get("/healthz")
        answers = list(await asyncio.gather(*(one.post(PATH, json=chat("sandbox/echo")) for one in clients)))
    assert statuses(answers) == {200: 10, 429: 90}
    for answer in answers:
        assert answer.headers["x-ratelimit-limit-requests"] == "10"
        assert 0 <= int(answer.headers["x-ratelimit-remaining-requests"]) < 10
        if answer.status_code == 429:
            assert 0 < int(answer.headers["retry-after"]) <= 60
            assert 0 < int(answer.headers["retry-after-ms"]) <= 60_000
            error = answer.json()["error"]
            assert (error["type"], error["code"]) == ("requests", "rate_limit_exceeded")
    assert len(await counted(stack, "keyrail_limit_refusals_total", kind="requests")) > 1, (
        "of several ingresses"
    )
    refused = next(answer for answer in answers if answer.status_code == 429)
    shown = await finished(stack, refused.headers["x-keyrail-request-id"])
    assert (shown["status"], shown["failure"]) == ("failed", "limit")
    assert shown["detail"] == "rate_limit_exceeded: requests of this key"


async def finished(stack: Stack, request_id: str) -> dict[str, Any]:
    """The request as the ledger has it, once it does."""
    async with asyncio.timeout(20):
        while True:
            result = await asyncio.to_thread(stack.cli, "requests", "show", request_id, "--json")
            if result.returncode == 0:
                return json.loads(result.stdout)


async def test_tokens_are_reserved_at_admission_and_settled_at_the_end(
    stack: Stack, keys: VirtualKeys
) -> None:
    key, record = await keys.issue(limits=Limits(tpm=1_010))
    await known(stack, key)
    text = "x" * 384  # 100 by estimate
    for _ in range(12):
        assert (await ask(stack, key, chat("nowhere/x", text))).status_code == 404, "it used nothing"
    async with documents_of(stack) as documents, asyncio.timeout(15):
        while any(share.tokens for share in (await limit_document(documents, record)).shares.values()):
            await asyncio.sleep(0.05)
    answers = await flood(stack, key, 60, chat(SLOW, text, max_tokens=1))
    assert statuses(answers) == {200: 10, 429: 50}
    assert {a.json()["error"]["type"] for a in answers if a.status_code == 429} == {"tokens"}
    large = await ask(stack, key, chat("sandbox/echo", "x" * 8_000))
    assert large.status_code == 429
    assert large.headers["x-should-retry"] == "false"


async def test_as_many_run_at_once_as_may(stack: Stack, keys: VirtualKeys) -> None:
    key, record = await keys.issue(limits=Limits(concurrent=10))
    await known(stack, key)
    answers = await flood(stack, key, 60, chat(SLOW))
    assert statuses(answers) == {200: 10, 429: 50}
    assert {a.headers["retry-after"] for a in answers if a.status_code == 429} == {"1"}
    async with documents_of(stack) as documents, asyncio.timeout(15):
        while (await limit_document(documents, record)).shares:
            await asyncio.sleep(0.05)
    assert statuses(await flood(stack, key, 10, chat(SLOW))) == {200: 10}, "all places were given back"


@asynccontextmanager
async def documents_of(stack: Stack) -> AsyncGenerator[Documents]:
    bus = await bus_of(stack, "ingress")
    yield Documents(bus, streams.LIMITS.name)
    await bus.close()


async def limit_document(documents: Documents, record: TokenRecord) -> LimitDocument:
    return LimitDocument.decode(await documents.get(f"key.{record.id}") or b"{}")


def used(document: LimitDocument) -> int:
    return sum(share.requests for share in document.shares.values())


async def test_clients_that_leave_and_answers_that_fail_give_their_place_back(
    stack: Stack, keys: VirtualKeys
) -> None:
    key, _ = await keys.issue(limits=Limits(concurrent=1))
    await known(stack, key)
    for model in ("sandbox/status-500", "sandbox/cut-2", "nowhere/x"):
        assert await served(stack, key, model) in (404, 500, 502, None)
    assert await served(stack, key, SLOW, timeout_s=1.5) is None
    assert await served(stack, key, "sandbox/echo") == 200


async def served(stack: Stack, key: str, model: str, timeout_s: float = 60.0) -> int | None:
    """The status, once there is a place: another ingress may keep it for a second. None: broken off."""
    async with asyncio.timeout(20):
        while True:
            try:
                status = (await ask(stack, key, chat(model), timeout_s)).status_code
            except (httpx.RemoteProtocolError, httpx.ReadTimeout):
                return None
            if status != 429:
                return status
            await asyncio.sleep(0.1)


async def test_a_team_has_limits_of_its_own_that_all_its_keys_share(stack: Stack, keys: VirtualKeys) -> None:
    one, _ = await keys.issue(team="web")
    two, _ = await keys.issue(team="web", limits=Limits(rpm=1_000))
    await keys.set_tenants({"default": TenantConfig(teams={"web": TeamConfig(limits=Limits(rpm=10))})})
    await known(stack, one, two)
    async with asyncio.timeout(15):
        while "x-ratelimit-limit-requests" not in (await ask(stack, one, chat("nowhere/x"))).headers:
            await asyncio.sleep(0.1)
    answers = await asyncio.gather(*(ask(stack, key, chat("sandbox/echo")) for key in [one, two] * 20))
    refused = [answer for answer in answers if answer.status_code == 429]
    assert 30 < len(refused) < 40
    assert "of the team web" in refused[0].json()["error"]["message"]
    assert {answer.headers["x-ratelimit-limit-requests"] for answer in answers} == {"10"}


async def test_the_official_clients_see_a_rate_limit(stack: Stack, keys: VirtualKeys) -> None:
    key, _ = await keys.issue(limits=Limits(rpm=2, tpm=10_000))
    await known(stack, key)
    sdk = openai.AsyncOpenAI(base_url=f"{stack.url}/v1", api_key=key, max_retries=0)
    raw = await sdk.chat.completions.with_raw_response.create(**chat("sandbox/echo"))
    assert raw.headers["x-ratelimit-limit-tokens"] == "10000"
    assert raw.headers["x-ratelimit-remaining-requests"] == "1"
    stream = await sdk.responses.with_raw_response.create(model="sandbox/echo", input="hello", stream=True)
    assert stream.headers["x-ratelimit-remaining-requests"] == "0"
    async for _ in stream.parse():
        pass
    with pytest.raises(openai.RateLimitError) as refused:
        await sdk.embeddings.create(model="sandbox/echo", input="hello")
    assert refused.value.code == "rate_limit_exceeded"
    assert refused.value.type == "requests"
    assert refused.value.response.headers["x-ratelimit-reset-requests"].endswith("s")
    await sdk.close()
    other = anthropic.AsyncAnthropic(base_url=stack.url, api_key=key, max_retries=0)
    messages: Any = [{"role": "user", "content": "hello"}]
    with pytest.raises(anthropic.RateLimitError) as limited:
        await other.messages.create(model="sandbox/echo", max_tokens=10, messages=messages)
    headers = limited.value.response.headers
    assert headers["anthropic-ratelimit-requests-limit"] == "2"
    assert headers["anthropic-ratelimit-requests-remaining"] == "0"
    assert headers["anthropic-ratelimit-tokens-reset"].endswith("Z")
    assert "requests per minute of this key" in str(limited.value)
    await other.close()


async def test_models_lists_what_the_key_allows(stack: Stack, keys: VirtualKeys) -> None:
    key, _ = await keys.issue(models=("nothing/*",))
    await known(stack, key)
    async with client(stack, key) as asking:
        assert (await asking.get("/v1/models")).json()["data"] == []


class Load:
    """Asks without pause, each time over a new connection, until it is stopped."""

    def __init__(self, stack: Stack, key: str) -> None:
        self.stack = stack
        self.key = key
        self.answers: list[tuple[float, int]] = []  # when it was asked, and the status
        self._stopped = False

    async def run(self) -> None:
        while not self._stopped:
            began = time.monotonic()
            answer = await ask(self.stack, self.key, chat("sandbox/echo"))
            self.answers.append((began, answer.status_code))

    def stop(self) -> None:
        self._stopped = True


async def under_load(loads: list[Load], work: Callable[[], Any]) -> None:
    tasks = [asyncio.create_task(load.run()) for load in loads]
    await work()
    for load in loads:
        load.stop()
    await asyncio.gather(*tasks)


async def test_a_revoked_key_is_out_everywhere_at_once_and_the_others_notice_nothing(
    stack: Stack, keys: VirtualKeys
) -> None:
    (bad, record), (good, _) = await keys.issue(), await keys.issue()
    await known(stack, bad, good)
    revoked = [Load(stack, bad) for _ in range(4)]
    others = [Load(stack, good) for _ in range(4)]
    at = 0.0

    async def work() -> None:
        nonlocal at
        await asyncio.sleep(1.5)
        await keys.put(record.replace(revoked=True))
        at = time.monotonic()
        async with asyncio.timeout(20):
            while min(sum(status == 401 for _, status in load.answers) for load in revoked) < 25:
                await asyncio.sleep(0.02)

    await under_load([*revoked, *others], work)
    assert {status for load in others for _, status in load.answers} == {200}
    assert {status for load in revoked for _, status in load.answers} == {200, 401}
    late = [began - at for load in revoked for began, status in load.answers if status == 200]
    assert max(late) < 3, "milliseconds, but for a busy machine"
    assert len(await counted(stack, "keyrail_auth_failures_total", reason="revoked")) == 3


async def test_a_rotation_with_an_overlap_fails_no_request(stack: Stack, keys: VirtualKeys) -> None:
    key, record = await keys.issue()
    await known(stack, key)
    loads = [Load(stack, key) for _ in range(6)]

    async def work() -> None:
        await asyncio.sleep(0.5)
        after, rotated = await keys.rotate(record, overlap_ms=60_000)
        await known(stack, after)
        for load in loads[:3]:  # the others are slow to change
            load.key = after
        await asyncio.sleep(1)
        for load in loads:
            load.key = after
        await asyncio.sleep(0.3)
        await keys.put(rotated.replace(previous_until_ms=now_ms()))
        await asyncio.sleep(0.7)

    await under_load(loads, work)
    assert {status for load in loads for _, status in load.answers} == {200}
    async with asyncio.timeout(10):
        while (await ask(stack, key, chat("sandbox/echo"))).status_code != 401:
            pass


async def test_a_key_expires_by_the_clock_and_a_deleted_one_is_unknown(
    stack: Stack, keys: VirtualKeys
) -> None:
    expires = now_ms() + 2_000
    key, _ = await keys.issue(expires_ms=expires)
    await known(stack, key)
    while now_ms() < expires - 100:
        assert (await ask(stack, key, chat("sandbox/echo"))).status_code == 200 or now_ms() > expires - 100
    await asyncio.sleep(0.2)
    for _ in range(6):
        assert (await ask(stack, key, chat("sandbox/echo"))).status_code == 401
    key, record = await keys.issue()
    await known(stack, key)
    await keys.delete(record)
    async with asyncio.timeout(10):
        while statuses(await flood(stack, key, 6, chat("sandbox/echo"))) != {401: 6}:
            pass


async def test_a_key_in_the_query_string_is_refused_and_in_no_log(stack: Stack, keys: VirtualKeys) -> None:
    key, _ = await keys.issue()
    async with client(stack, key) as asking:
        answer = await asking.get("/v1/models", params={"key": key})
    assert answer.status_code == 401
    assert key not in answer.text
    for file in (stack.home / "logs").iterdir():
        assert key not in file.read_text()


async def test_an_ingress_without_the_bus_serves_nobody_and_hears_afterwards_what_it_missed(
    stack: Stack, keys: VirtualKeys
) -> None:
    """No key can be served from memory for ever: each request needs the bus that carries revocations."""
    (bad, record), (good, limited) = await keys.issue(), await keys.issue(limits=Limits(rpm=3))
    await known(stack, bad, good)
    stack.signal("nats-server", signal.SIGSTOP)
    try:
        for key in (bad, bad, good, good):
            assert await served(stack, key, "sandbox/echo", timeout_s=0.3) is None
        revocation = asyncio.create_task(keys.put(record.replace(revoked=True)))
        waiting = asyncio.create_task(ask(stack, good, chat("sandbox/echo")))
    finally:
        stack.signal("nats-server", signal.SIGCONT)
    await revocation
    assert (await waiting).status_code == 200
    async with documents_of(stack) as documents, asyncio.timeout(15):
        while used(await limit_document(documents, limited)) != 1:  # those that left in vain count nowhere
            await asyncio.sleep(0.05)
    async with asyncio.timeout(10):
        while statuses(await flood(stack, bad, 6, chat("sandbox/echo"))) != {401: 6}:
            pass


async def test_the_places_of_a_killed_ingress_are_taken_back(stack: Stack, keys: VirtualKeys) -> None:
    key, record = await keys.issue(limits=Limits(concurrent=1))
    await known(stack, key)
    running = asyncio.create_task(ask(stack, key, chat("sandbox/chunks-100+slow-1s", stream=True)))
    document = LimitDocument()
    async with documents_of(stack) as documents, asyncio.timeout(15):
        while not document.shares:
            document = await limit_document(documents, record)
    (instance,) = document.shares
    pid = stack.pid_of("ingress", instance)
    stack.signal("ingress", signal.SIGKILL, stack.pids("ingress").index(pid))
    killed = time.monotonic()
    with pytest.raises(httpx.TransportError):
        await running
    await stack.replaced("ingress", pid)
    async with asyncio.timeout(45):
        while (await ask(stack, key, chat("sandbox/echo"))).status_code != 200:
            await asyncio.sleep(0.2)
    assert time.monotonic() - killed > 8
