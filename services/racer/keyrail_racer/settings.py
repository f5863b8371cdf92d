"""How much a racer takes on."""

from __future__ import annotations

from keyrail.runtime.settings import ServiceSettings


class RacerSettings(ServiceSettings):
    """`max_held_bytes`: of answers that wait for the race to be decided, over all races."""

    max_in_flight: int = 1_000
    max_held_bytes: int = 256 << 20
