"""The provider-worker service."""
