"""The one form between any two dialects: what a request asks, what an answer says, what a stream tells.

A dialect's inbound half reads its client's request into this form and writes answers out of it; its outbound
half
writes requests for a provider and reads its answers. Between equal dialects nothing of this is used: bodies
pass.
"""
