"""Where ingress listens and how much it takes."""

from __future__ import annotations

from pathlib import Path

from keyrail.runtime.settings import ServiceSettings


class IngressSettings(ServiceSettings):
    """`port` counts only without an inherited socket. The TLS files: both, or neither."""

    port: int = 8080
    tls_cert_file: Path | None = None
    tls_key_file: Path | None = None
    max_body_bytes: int = 4 << 20
    max_in_flight: int = 4_000
