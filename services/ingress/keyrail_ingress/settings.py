"""Where ingress listens and how much it takes."""

from __future__ import annotations

from keyrail.runtime.settings import ServiceSettings


class IngressSettings(ServiceSettings):
    """`port` counts only without an inherited socket."""

    port: int = 8080
    max_body_bytes: int = 4 << 20
    max_in_flight: int = 4_000
