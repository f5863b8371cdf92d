"""Real parts for tests: servers that are started, stopped, killed and paused."""
