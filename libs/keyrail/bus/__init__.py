"""FastStream and NATS plumbing, with the defaults changed once. Knows no message's meaning."""
