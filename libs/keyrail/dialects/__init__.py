"""Wire formats: pure bytes to values and back. No URLs, keys, HTTP or logging."""
