"""Certificate files as an operator has them, renewed as cert-manager does."""

from __future__ import annotations

import ssl
from pathlib import Path

import trustme


class Files:
    """A pair of files for 127.0.0.1, and an authority that clients may trust."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._authority = trustme.CA()
        self.cert = folder / "tls.crt"
        self.key = folder / "tls.key"
        self.renew()

    def renew(self, cert: bool = True, key: bool = True) -> None:
        """Put a new certificate and its key in place of the old ones, or only one of them."""
        issued = self._authority.issue_cert("127.0.0.1")
        for wanted, file, blobs in (
            (cert, self.cert, issued.cert_chain_pems),
            (key, self.key, [issued.private_key_pem]),
        ):
            if wanted:
                new = file.with_suffix(".new")
                new.write_bytes(b"".join(blob.bytes() for blob in blobs))
                new.replace(file)

    def trusting(self, **versions: ssl.TLSVersion) -> ssl.SSLContext:
        """A client's context that trusts the authority; `maximum_version` and the like by name."""
        context = ssl.create_default_context()
        self._authority.configure_trust(context)
        for name, version in versions.items():
            setattr(context, name, version)
        return context

    @property
    def variables(self) -> dict[str, str]:
        """The environment of a stack that uses them."""
        return {"KEYRAIL_TLS_CERT_FILE": str(self.cert), "KEYRAIL_TLS_KEY_FILE": str(self.key)}


def serial(writer: ssl.SSLObject | None) -> str:
    """Of the certificate that the server has shown."""
    assert writer is not None
    shown = writer.getpeercert()
    assert shown is not None
    return str(shown["serialNumber"])
