"""Limits of virtual keys and teams, over all ingresses."""
