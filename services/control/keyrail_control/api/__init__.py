"""The admin HTTP API: a table of routes, and what serves and describes it."""
