"""How a service process starts, says that it is ready, drains and stops."""

import keyrail.bus.lean  # pyright: ignore[reportUnusedImport] # noqa: F401 - first of all, see there
