"""How connections come about: names, addresses, certificates, and giving up."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Any

import pytest
import trustme
from support.provider import OK, Caller, Start, Talk, answers

from keyrail.contracts.slips import Timeouts
from keyrail.http.upstream import Endpoint, Upstream, UpstreamError, dial

Resolved = dict[str, list[str] | OSError]


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> tuple[Resolved, list[str]]:
    """What names lead to, and which were looked up. Names that are not in it fail."""
    known: Resolved = {}
    asked: list[str] = []

    async def getaddrinfo(host: str, port: int) -> list[str]:
        asked.append(host)
        await asyncio.sleep(0)
        found = known.get(host, socket.gaierror(-2, f"{host} is not known"))
        if isinstance(found, OSError):
            raise found
        return found

    monkeypatch.setattr(dial, "_look_up", getaddrinfo)
    return known, asked


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
async def trusting(authority: trustme.CA) -> Any:
    """A client that trusts the authority."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    upstream = Upstream(context)
    await upstream.open()
    yield Caller(upstream)
    await upstream.close()


def served_by(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*names).configure_cert(context)
    return context


async def test_a_certificate_of_the_right_name_is_accepted_and_its_connection_kept(
    start: Start, trusting: Caller, authority: trustme.CA
) -> None:
    provider = await start(answers(OK), tls=served_by(authority, "localhost"))
    for size in (2, 3 << 20):
        body = b"x" * size
        assert await trusting.whole(provider.endpoint("localhost", "https"), body=body) == b"ok"
    (talk,) = provider.talks
    assert [len(body) for _, body in talk.requests] == [2, 3 << 20]
    assert b"host: localhost:%d\r\n" % provider.port in talk.requests[0][0]


async def test_the_name_is_said_in_the_handshake(
    start: Start, trusting: Caller, authority: trustme.CA
) -> None:
    said: list[str | None] = []
    context = served_by(authority, "localhost", "127.0.0.1")
    context.sni_callback = lambda _socket, name, _context: said.append(name)
    provider = await start(answers(OK), tls=context)
    assert await trusting.whole(provider.endpoint("localhost", "https")) == b"ok"
    assert await trusting.whole(provider.endpoint("127.0.0.1", "https")) == b"ok"
    assert said == ["localhost", None]


async def test_a_certificate_of_another_name_is_refused(
    start: Start, trusting: Caller, authority: trustme.CA
) -> None:
    provider = await start(answers(OK), tls=served_by(authority, "other.test"))
    for host in ("localhost", "127.0.0.1"):
        with pytest.raises(UpstreamError, match=r"^SSLCertVerificationError$") as refused:
            await trusting.whole(provider.endpoint(host, "https"))
        assert not refused.value.written
    assert trusting.upstream.connections == 0
    assert trusting.asked == 0


async def test_a_certificate_that_nobody_vouches_for_is_refused(start: Start, authority: trustme.CA) -> None:
    provider = await start(answers(OK), tls=served_by(authority, "localhost"))
    upstream = Upstream()  # as the worker makes it
    await upstream.open()
    with pytest.raises(UpstreamError, match=r"^SSLCertVerificationError$") as refused:
        await Caller(upstream).whole(provider.endpoint("localhost", "https"))
    assert not refused.value.written
    await upstream.close()


async def test_a_server_without_tls_is_not_spoken_to_in_the_clear(start: Start, caller: Caller) -> None:
    heard: list[bytes] = []

    async def script(talk: Talk) -> None:
        heard.append(await talk.reader.read(5))
        talk.writer.write(OK)

    provider = await start(script)
    with pytest.raises(UpstreamError) as refused:
        await caller.whole(provider.endpoint("localhost", "https"), headers={"authorization": "secret"})
    assert not refused.value.written
    assert heard[0][:1] == b"\x16", "a TLS handshake"


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6")
async def test_an_ipv6_address_is_called(start: Start, caller: Caller) -> None:
    provider = await start(answers(OK), host="::1")
    assert await caller.whole(provider.endpoint("[::1]")) == b"ok"
    assert b"host: [::1]:%d\r\n" % provider.port in provider.talks[0].requests[0][0]


async def test_the_next_address_is_tried(
    start: Start, caller: Caller, resolver: tuple[Resolved, list[str]]
) -> None:
    known, asked = resolver
    provider = await start(answers(OK))
    known["many.test"] = ["127.0.0.2", "127.0.0.3", "127.0.0.1"]  # nobody listens on the first two
    for _ in range(2):
        response = await caller.post(provider.endpoint("many.test"))
        response.leave()
    assert asked == ["many.test"], "the answer of the resolver is used for a while"


async def test_an_address_that_says_nothing_delays_the_next_one_a_little(
    start: Start, caller: Caller, resolver: tuple[Resolved, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = await start(answers(OK))
    resolver[0]["many.test"] = ["192.0.2.1", "127.0.0.1"]
    silent = asyncio.Event()
    left = asyncio.Event()
    connect = dial.Dialer._connect  # pyright: ignore[reportPrivateUsage]

    async def never(self: dial.Dialer, origin: Any, address: str) -> Any:
        if address != "192.0.2.1":
            return await connect(self, origin, address)
        silent.set()
        try:
            await asyncio.Event().wait()
        finally:
            left.set()

    monkeypatch.setattr(dial.Dialer, "_connect", never)
    monkeypatch.setattr(dial, "STAGGER_S", 0.01)
    assert await caller.whole(provider.endpoint("many.test")) == b"ok"
    assert silent.is_set()
    await asyncio.wait_for(left.wait(), 5)


async def test_of_two_connections_that_come_at_once_one_is_closed(
    start: Start, caller: Caller, resolver: tuple[Resolved, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = await start(answers(OK))
    resolver[0]["many.test"] = ["127.0.0.1", "127.0.0.1"]
    connect = dial.Dialer._connect  # pyright: ignore[reportPrivateUsage]
    there: list[Any] = []
    both = asyncio.Event()

    async def together(self: dial.Dialer, origin: Any, address: str) -> Any:
        there.append(await connect(self, origin, address))
        if len(there) == 2:
            both.set()
        await both.wait()
        return there.pop()

    monkeypatch.setattr(dial.Dialer, "_connect", together)
    monkeypatch.setattr(dial, "STAGGER_S", 0.01)
    assert await caller.whole(provider.endpoint("many.test")) == b"ok"
    async with asyncio.timeout(5):
        while caller.upstream.connections > 1:
            await asyncio.sleep(0.001)
    assert caller.upstream.idle == 1


async def test_where_nobody_listens_nothing_was_written(
    caller: Caller, resolver: tuple[Resolved, list[str]]
) -> None:
    resolver[0]["many.test"] = ["127.0.0.2", "127.0.0.3"]
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        for host in ("127.0.0.1", "many.test"):
            with pytest.raises(UpstreamError, match=r"^ConnectionRefusedError$") as refused:
                await caller.post(Endpoint(f"http://{host}:{port}/", {}))
            assert (refused.value.written, refused.value.timeout) == (False, None)
    assert caller.asked == 0


async def test_a_name_that_leads_nowhere_is_asked_for_again(
    start: Start, caller: Caller, resolver: tuple[Resolved, list[str]]
) -> None:
    known, asked = resolver
    provider = await start(answers(OK))
    with pytest.raises(UpstreamError, match=r"^gaierror$") as refused:
        await caller.post(provider.endpoint("late.test"))
    assert not refused.value.written
    known["late.test"] = ["127.0.0.1"]
    assert await caller.whole(provider.endpoint("late.test")) == b"ok"
    assert asked == ["late.test"] * 2


async def test_many_who_ask_for_one_name_share_the_answer_and_one_may_give_up(
    start: Start, caller: Caller, resolver: tuple[Resolved, list[str]]
) -> None:
    known, asked = resolver
    provider = await start(answers(OK))
    known["one.test"] = ["127.0.0.1"]
    calls = [asyncio.create_task(caller.whole(provider.endpoint("one.test"))) for _ in range(3)]
    await asyncio.sleep(0)
    calls[0].cancel()
    done = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(done[0], asyncio.CancelledError)
    assert done[1:] == [b"ok", b"ok"]
    assert asked == ["one.test"]


async def test_a_real_name_is_looked_up(start: Start, caller: Caller) -> None:
    provider = await start(answers(OK))
    assert await caller.whole(provider.endpoint("localhost")) == b"ok"


async def test_connecting_takes_no_longer_than_it_may(start: Start, caller: Caller) -> None:
    """A server that takes the connection and never answers the handshake."""

    async def script(talk: Talk) -> None:
        await talk.left()

    provider = await start(script)
    for connect_s, total_s, phase in ((0.05, 5.0, "connect"), (5.0, 0.05, "total")):
        endpoint = provider.endpoint("127.0.0.1", "https")
        call = caller.post(endpoint, connect_s=connect_s, total_s=total_s)
        with pytest.raises(UpstreamError) as slow:
            await asyncio.wait_for(call, 5)
        assert (slow.value.timeout, slow.value.written) == (phase, False)
    for talk in provider.talks:
        await asyncio.wait_for(talk.over.wait(), 5)
    assert caller.upstream.connections == 0


async def test_who_is_cancelled_while_connecting_leaves_nothing_behind(start: Start, caller: Caller) -> None:
    async def script(talk: Talk) -> None:
        greeted.set()
        await talk.left()

    greeted = asyncio.Event()
    provider = await start(script)
    call = asyncio.create_task(caller.whole(provider.endpoint("127.0.0.1", "https")))
    await asyncio.wait_for(greeted.wait(), 5)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await asyncio.wait_for(provider.talks[0].over.wait(), 5)
    assert caller.upstream.connections == 0
    assert caller.asked == 0
    assert [task for task in asyncio.all_tasks() if "http/upstream" in repr(task)] == []


@pytest.mark.parametrize(
    "url",
    ["ftp://a/", "http://", "http:///v1", "a.test/v1", "http://a:b/", "http://a:99999/", "http://[::1/",
     "http://user:pw@a/", "http://a b/"],
)  # fmt: skip
async def test_a_url_that_cannot_be_called_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(UpstreamError) as refused:
        Endpoint(url, {})
    assert str(refused.value) == "the URL of the provider cannot be called"
    assert not refused.value.written


async def test_proxies_of_the_environment_are_not_asked(
    start: Start, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    provider = await start(answers(OK))
    assert await caller.whole(provider.endpoint()) == b"ok"


async def test_a_redirect_is_an_answer(start: Start, caller: Caller) -> None:
    provider = await start(answers(b"HTTP/1.1 307 x\r\nlocation: /other\r\ncontent-length: 0\r\n\r\n"))
    response = await caller.post(provider.endpoint())
    assert response.status == 307
    response.leave()
    assert len(provider.talks[0].requests) == 1


async def test_a_client_that_was_not_opened_says_so() -> None:
    with pytest.raises(UpstreamError) as closed:
        await Upstream().post(
            Endpoint("http://127.0.0.1:1/", {}),
            {},
            b"",
            timeouts=Timeouts(),
            deadline=0,
            may_write=lambda: True,
        )
    assert not closed.value.written
