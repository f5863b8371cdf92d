"""What to ask of a provider, and where: the request that a slip becomes. Pure."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from keyrail.contracts.config import ProviderConfig
from keyrail.contracts.failures import Failure
from keyrail.contracts.slips import Dialect, Operation, Slip
from keyrail.dialects import continuing, json_text, ways
from keyrail.dialects.bridge import Bridge
from keyrail.dialects.continuing import Continuation, Recorder
from keyrail.dialects.protocols import Relay
from keyrail.dialects.ways import Way
from keyrail.http.upstream import Endpoint
from keyrail.providers import endpoint


class Prepared(NamedTuple):
    """A request that is ready to be written, and what reads its answer.

    `dropped`: parameters of the client that this provider does not take. `continued`: what a stream goes
    through that goes on with another's. `recorder`: what remembers it, for another to go on with.
    """

    endpoint: Endpoint
    headers: dict[str, str]
    body: bytes
    secret: str | None  # the provider key's value, in the headers too
    way: Way
    dropped: tuple[str, ...]
    continued: Relay | None = None
    recorder: Recorder | None = None

    def relay(self) -> Relay | None:
        """What a streamed answer goes through."""
        return self.way.relay() if self.continued is None else self.continued


def counts_here(slip: Slip, config: ProviderConfig) -> bool:
    """Whether tokens are to be counted for a provider that can't: then nobody is asked."""
    asked = endpoint.spoken(config, slip.facts.dialect)
    return slip.facts.operation == "count_tokens" and asked not in ways.COUNTERS


def prepare(
    slip: Slip, body: bytes, config: ProviderConfig, secret: str | None, attempt_id: str
) -> Prepared | Failure:
    """The request. A Failure says what this provider can't do."""
    facts, model = slip.facts, slip.target.model
    dialect = endpoint.spoken(config, facts.dialect)
    way = ways.way(config.name, dialect, facts, model, config.quirks, slip.received_ms // 1000)
    written = way.request(body)
    if isinstance(written, Failure):
        return written
    headers = endpoint.headers(config, dialect, secret)
    if slip.passed and dialect == facts.dialect:
        headers |= slip.passed
    headers["x-client-request-id"] = attempt_id
    # Embeddings are asked for at the place of their own dialect, whatever the provider speaks otherwise.
    spoken = facts.dialect if facts.dialect == "openai-embeddings" else dialect
    where = _endpoint(config, spoken, model, facts.stream, facts.operation)
    return Prepared(where, headers, json_text.dump(written.body), secret, way, written.dropped)


def going_on(
    prepared: Prepared, body: bytes, continuation: Continuation | None, *, recorded: bool
) -> Prepared:
    """The same, for a stream that goes on with another's, or that another may go on with. `body`: the
    client's."""
    way = prepared.way
    if not isinstance(way, Bridge):
        return prepared
    return prepared._replace(
        continued=way.continuing(body, continuation) if continuation is not None else None,
        recorder=way.recorder(continuation) if recorded else None,
    )


def unfinished(slip: Slip, body: bytes, continuation: Continuation) -> bytes | None:
    """The client's body with the answer so far at its end."""
    return continuing.continued(slip.facts.dialect, body, continuation)


def _endpoint(
    config: ProviderConfig, dialect: Dialect, model: str, stream: bool, operation: Operation
) -> Endpoint:
    return _rendered(endpoint.url(config, dialect, model, stream=stream, operation=operation), stream)


@lru_cache(maxsize=1_024)
def _rendered(url: str, stream: bool) -> Endpoint:
    """Without the key: its value is rendered for each request and stays in no cache but the keystore's."""
    headers = {
        "content-type": "application/json",
        "accept": "text/event-stream" if stream else "application/json",
        "accept-encoding": "identity",
        "user-agent": "keyrail",
    }
    return Endpoint(url, headers)
