"""The server with a certificate: who gets in, what a renewal does, what ends."""

from __future__ import annotations

import asyncio
import logging
import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from support.certificates import Files, serial
from support.http import TEXT, Client, serving

from keyrail.http import server, tls
from keyrail.http.limits import Limits
from keyrail.http.tls import Certificate, TlsError

GET = b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n"
QUICK = Limits(handshake_s=0.3)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture
def certificate(files: Files) -> Certificate:
    return Certificate(files.cert, files.key)


def shown(client: Client) -> str:
    return serial(client.writer.get_extra_info("ssl_object"))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_requests_are_served_over_tls(
    files: Files, certificate: Certificate, version: ssl.TLSVersion
) -> None:
    trusting = files.trusting(maximum_version=version)
    trusting.set_alpn_protocols(["h2", "http/1.1"])
    async with serving(certificate=certificate) as served:
        client = await served.connect(ssl=trusting)
        assert (await client.ask(GET))[2] == b"GET /a "
        body = b"x" * 300_000
        post = b"POST /b HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body)
        assert (await client.ask(post + body))[2] == b"POST /b " + body
        session = client.writer.get_extra_info("ssl_object")
        assert (session.version(), session.selected_alpn_protocol()) == (
            {ssl.TLSVersion.TLSv1_2: "TLSv1.2", ssl.TLSVersion.TLSv1_3: "TLSv1.3"}[version],
            "http/1.1",
        )
        assert not served.server.draining


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
async def test_old_versions_of_tls_are_refused(files: Files, certificate: Certificate) -> None:
    old = files.trusting()
    old.set_ciphers("ALL:@SECLEVEL=0")
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    async with serving(certificate=certificate) as served:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await served.connect(ssl=old)


async def test_new_connections_get_a_renewed_certificate_and_old_ones_go_on(
    files: Files, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "LOOK_S", 0.02)
    async with serving(certificate=certificate) as served:
        old = await served.connect(ssl=files.trusting())
        old.writer.write(GET.replace(b"/a", b"/stream"))
        request = await served.stream()
        request.start(200, TEXT)
        files.renew()
        async with asyncio.timeout(5):
            while shown(new := await served.connect(ssl=files.trusting())) == shown(old):
                await asyncio.sleep(0.02)
        assert (await new.ask(GET))[2] == b"GET /a "
        request.end(b"still here")
        assert (await old.answer())[2] == b"still here"


async def test_half_a_renewal_changes_nothing_until_the_other_half_comes(
    files: Files, certificate: Certificate, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(certificate=certificate) as served:
        first = shown(await served.connect(ssl=files.trusting()))
        files.renew(key=False)
        for _ in range(3):
            certificate.look()
        assert caplog.messages == ["the certificate was changed and can't be used"], "said once"
        assert "the key is not the certificate's" in caplog.records[0].__dict__["reason"]
        assert shown(await served.connect(ssl=files.trusting())) == first
        files.cert.unlink()
        certificate.look()
        assert shown(await served.connect(ssl=files.trusting())) == first
        files.renew()
        certificate.look()
        assert shown(await served.connect(ssl=files.trusting())) != first


async def test_plain_http_is_refused_without_a_word_in_the_log(
    certificate: Certificate, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with serving(certificate=certificate) as served:
        client = await served.connect()
        client.writer.write(GET)
        assert b"HTTP" not in await client.rest()
        assert served.echo.seen == []
    assert [record for record in caplog.records if record.levelno >= logging.INFO] == []


@pytest.mark.parametrize("begun", [b"", b"\x16\x03\x01", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"])
async def test_a_handshake_that_does_not_go_on_is_ended(
    certificate: Certificate, begun: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(QUICK, certificate) as served:
        client = await served.connect()
        client.writer.write(begun)
        began = asyncio.get_running_loop().time()
        await client.rest()
        assert 0.2 < asyncio.get_running_loop().time() - began < 3
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_a_client_in_its_handshake_is_served_by_a_server_that_stops(
    files: Files, certificate: Certificate
) -> None:
    async with serving(certificate=certificate) as served:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        session = files.trusting().wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
        client = await served.connect()
        with pytest.raises(ssl.SSLWantReadError):
            session.do_handshake()
        client.writer.write(outgoing.read())
        incoming.write(await client.reader.read(1 << 16))
        stopping = asyncio.ensure_future(served.server.stop())
        await asyncio.sleep(3 * server.POLL_S)
        assert not stopping.done(), "it waits for who was accepted"
        session.do_handshake()
        session.write(GET)
        client.writer.write(outgoing.read())
        answer = b""
        while not answer.endswith(b"GET /a "):
            incoming.write(await asyncio.wait_for(client.reader.read(1 << 16), 5))
            try:
                answer += session.read(1 << 16)
            except ssl.SSLWantReadError:
                continue
        assert b"connection: close" in answer
        client.writer.transport.abort()
        await asyncio.wait_for(stopping, 5)


async def test_a_client_that_never_finishes_its_handshake_holds_no_server_up(
    certificate: Certificate,
) -> None:
    async with serving(QUICK, certificate) as served:
        await served.connect()
        await asyncio.wait_for(served.server.stop(), 3)


def test_neither_file_means_no_tls_and_one_alone_is_a_mistake(files: Files) -> None:
    assert tls.certificate(None, None) is None
    for pair in ((files.cert, None), (None, files.key)):
        with pytest.raises(TlsError, match="both KEYRAIL_TLS_CERT_FILE and KEYRAIL_TLS_KEY_FILE"):
            tls.certificate(*pair)


def test_files_that_cannot_be_used_are_named_with_the_reason(files: Files, tmp_path: Path) -> None:
    def reason() -> str:
        with pytest.raises(TlsError) as caught:
            Certificate(files.cert, files.key)
        return str(caught.value)

    files.renew(cert=False)
    assert reason() == f"{files.cert}, {files.key}: the key is not the certificate's"
    files.renew()
    key = files.key.read_bytes()
    files.key.write_text("nothing of the kind")
    assert reason() == f"{files.key}: holds no private key in PEM format"
    files.key.write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    assert "not a certificate and its key" in reason()
    files.key.unlink()
    assert reason() == f"{files.key}: No such file or directory"
    files.key.mkdir()
    assert reason() == f"{files.key}: Is a directory"
    files.key.rmdir()
    files.key.write_bytes(key)
    files.cert.write_bytes(b"\x30\x82")
    assert reason() == f"{files.cert}: holds no certificate in PEM format"


def test_a_key_with_a_passphrase_asks_nobody(files: Files) -> None:
    secret = serialization.load_pem_private_key(files.key.read_bytes(), None).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"x"),
    )
    files.key.write_bytes(secret)
    with pytest.raises(TlsError, match="the key has a passphrase"):
        Certificate(files.cert, files.key)


async def test_a_stream_over_tls_waits_for_its_client(files: Files, certificate: Certificate) -> None:
    async with serving(certificate=certificate) as served:
        client = await served.connect(limit=1024, ssl=files.trusting())
        client.writer.write(GET.replace(b"/a", b"/stream"))
        request = await served.stream()
        writable = asyncio.Event()
        request.on_writable = writable.set
        request.start(200, TEXT)
        transport = client.writer.transport
        transport.pause_reading()  # pyright: ignore[reportAttributeAccessIssue] it reads, too
        sent = 0
        while request.writable:
            request.send(b"x" * 65_536)
            sent += 65_536
            await asyncio.sleep(0)
            assert sent < 256 << 20
        transport.resume_reading()  # pyright: ignore[reportAttributeAccessIssue]
        answer = asyncio.ensure_future(client.answer())
        await asyncio.wait_for(writable.wait(), 5)
        request.end(b"end")
        assert len((await answer)[2]) == sent + 3


async def test_a_client_that_reads_nothing_more_or_leaves_is_noticed_over_tls(
    files: Files, certificate: Certificate
) -> None:
    async with serving(Limits(stall_s=0.3, check_s=0.05), certificate) as served:
        for leaves in (False, True):
            client = await served.connect(limit=1024, ssl=files.trusting())
            client.writer.write(GET.replace(b"/a", b"/stream"))
            request = await served.stream()
            gone = asyncio.Event()
            request.on_gone = gone.set
            request.start(200, TEXT)
            if leaves:
                client.writer.close()
            else:
                transport = client.writer.transport
                transport.pause_reading()  # pyright: ignore[reportAttributeAccessIssue]
            async with asyncio.timeout(5):
                while not gone.is_set():
                    if request.writable and not leaves:
                        request.send(b"x" * 65_536)
                    await asyncio.sleep(0.001)
