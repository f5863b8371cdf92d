"""keyrail.yaml: parse and check. Pure."""
