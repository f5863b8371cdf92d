"""Where the worker finds provider keys and how much it takes on."""

from __future__ import annotations

from pathlib import Path

from keyrail.runtime.settings import ServiceSettings


class WorkerSettings(ServiceSettings):
    """`identity_file` is the private half of the keystore: only this service is given its path."""

    keystore: Path = Path(".keyrail/keystore")
    identity_file: Path = Path(".keyrail/identity.key")
    max_in_flight: int = 2_000
