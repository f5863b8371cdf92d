"""keyrail.yaml: parse, check, resolve. Pure."""
