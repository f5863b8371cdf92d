"""Anthropic's Messages API, as clients and providers speak it: answers, streams and counts of tokens."""
