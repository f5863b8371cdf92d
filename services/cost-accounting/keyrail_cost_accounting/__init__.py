"""The cost-accounting service."""
