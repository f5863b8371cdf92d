"""Keyrail: the libraries that two or more services share."""
