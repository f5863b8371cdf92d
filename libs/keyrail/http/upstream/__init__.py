"""The one door to providers: HTTP/1.1 on connections that are kept.

Redirects, cookies, proxies from the environment and compression do not exist here.
"""

from keyrail.http.upstream.client import MayWrite, Upstream
from keyrail.http.upstream.endpoint import Endpoint
from keyrail.http.upstream.errors import NotWritten, StaleConnection, UnreadableAnswer, UpstreamError
from keyrail.http.upstream.response import MAX_ANSWER, UpstreamResponse

__all__ = [
    "MAX_ANSWER",
    "Endpoint",
    "MayWrite",
    "NotWritten",
    "StaleConnection",
    "UnreadableAnswer",
    "Upstream",
    "UpstreamError",
    "UpstreamResponse",
]
