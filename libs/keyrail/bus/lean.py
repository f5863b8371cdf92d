"""Imports nats-py without aiohttp.

nats-py imports aiohttp where it is installed, for a WebSocket transport that nobody here uses. That costs
every process 0.3 s of CPU at its start. `keyrail.runtime` imports this before anything else imports nats.
"""

from __future__ import annotations

import importlib
import sys

_ABSENT = "aiohttp" not in sys.modules

if _ABSENT:
    sys.modules["aiohttp"] = None  # pyright: ignore[reportArgumentType] an import of it fails, as if not installed
try:
    importlib.import_module("nats.aio.transport")
finally:
    if _ABSENT:
        del sys.modules["aiohttp"]
