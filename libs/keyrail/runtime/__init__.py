"""How a service process starts, says that it is ready, drains and stops."""
