"""A server's certificate, from files that somebody renews. New connections get the renewed one.

Whoever renews replaces two files, hardly at the same moment: what does not load or does not belong together
is passed over until the files change again, and the certificate before it stays.
"""

from __future__ import annotations

import logging
import os
import ssl
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

LOOK_S: Final = 2.0
"""How often a server looks whether the files have changed."""

_WHY: Final = {
    "KEY_VALUES_MISMATCH": "the key is not the certificate's",
    "EE_KEY_TOO_SMALL": "the key is too short to be safe",
    "CA_MD_TOO_WEAK": "the certificate's signature is too weak to be safe",
}

_Signature = tuple[tuple[int, int, int, int], ...]


class TlsError(Exception):
    """The files can't be used; the text says which and why."""


class Certificate:
    """A pair of PEM files: the certificate with its chain, and its private key without a passphrase.

    Raises TlsError when they can't be used now.
    """

    def __init__(self, cert_file: Path, key_file: Path) -> None:
        self._cert_file = cert_file
        self._key_file = key_file
        self._seen = self._signature()
        self._current = _load(cert_file, key_file)
        # What the server is given stays the same, with its session tickets; each handshake is handed on.
        self.context: Final = _load(cert_file, key_file)
        self.context.sni_callback = self._hand_on

    def look(self) -> None:
        """Take the files' content when they have changed. Costs two calls of stat when they have not."""
        try:
            found = self._signature()
            if found == self._seen:
                return
            self._seen = found
            self._current = _load(self._cert_file, self._key_file)
        except TlsError as error:
            log.error("the certificate was changed and can't be used", extra={"reason": str(error)})
        else:
            log.info("the certificate was renewed", extra={"file": str(self._cert_file)})

    def _hand_on(self, socket: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: ssl.SSLContext) -> None:
        """Called in every handshake, whether or not the client names whom it wants."""
        socket.context = self._current

    def _signature(self) -> _Signature:
        return tuple(_stat(path) for path in (self._cert_file, self._key_file))


def certificate(cert_file: Path | None, key_file: Path | None) -> Certificate | None:
    """The certificate of two settings, None when neither is given. Raises TlsError."""
    if cert_file is None and key_file is None:
        return None
    if cert_file is None or key_file is None:
        raise TlsError("a certificate needs both KEYRAIL_TLS_CERT_FILE and KEYRAIL_TLS_KEY_FILE")
    return Certificate(cert_file, key_file)


def _load(cert_file: Path, key_file: Path) -> ssl.SSLContext:
    _readable(cert_file, b"-----BEGIN CERTIFICATE-----", "certificate")
    _readable(key_file, b"PRIVATE KEY-----", "private key")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])

    def refuse() -> str:  # OpenSSL would ask at the terminal
        raise TlsError(f"{key_file}: the key has a passphrase, which nobody could type here")

    try:
        context.load_cert_chain(cert_file, key_file, refuse)
    except ssl.SSLError as error:
        why = _WHY.get(error.reason or "", f"not a certificate and its key ({error.reason or error})")
        raise TlsError(f"{cert_file}, {key_file}: {why}") from None
    except OSError as error:
        raise TlsError(f"{cert_file}, {key_file}: {error.strerror}") from None
    return context


def _readable(path: Path, mark: bytes, what: str) -> None:
    """OpenSSL's own errors do not say which file."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise TlsError(f"{path}: {error.strerror}") from None
    if mark not in content:
        raise TlsError(f"{path}: holds no {what} in PEM format")


def _stat(path: Path) -> tuple[int, int, int, int]:
    try:
        found = os.stat(path)
    except OSError as error:
        raise TlsError(f"{path}: {error.strerror}") from None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
