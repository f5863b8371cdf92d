"""Where the worker finds provider keys and how much it takes on."""

from __future__ import annotations

from keyrail.keys.settings import KeyReaderSettings
from keyrail.runtime.settings import ServiceSettings


class WorkerSettings(ServiceSettings, KeyReaderSettings):
    """The key store's reading side: only this service is given what opens it."""

    max_in_flight: int = 2_000
