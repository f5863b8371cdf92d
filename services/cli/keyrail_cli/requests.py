"""`keyrail requests show ID`: one request, why it went where it went, and all its attempts."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, cast

from keyrail_cli import client, render, routing
from keyrail_cli.render import Row

if TYPE_CHECKING:
    from keyrail_cli.commands import Commands

NAMES = (
    "request_id",
    "status",
    "cost_usd",
    "model",
    "http_status",
    "failure",
    "detail",
    "tenant",
    "team",
    "feature",
    "key_id",
    "received_at",
    "first_byte_ms",
    "duration_ms",
)
ATTEMPT = (
    "epoch",
    "hop",
    "role",
    "status",
    "standing",
    "provider",
    "model",
    "http_status",
    "input_tokens",
    "cached_input_tokens",
    "output_tokens",
    "cost_usd",
    "basis",
    "price_source",
    "duration_ms",
    "failure",
)
OPTIONAL = frozenset(
    {"failure", "detail", "team", "feature", "http_status", "first_byte_ms", "duration_ms", "standing"}
)


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser("requests", help="one request and what it cost")
    verbs = parser.add_subparsers(required=True, metavar="verb")
    show = verbs.add_parser("show", help="one request, how it was routed, and all its attempts")
    show.add_argument("id", help="from the answer's x-keyrail-request-id header")
    show.add_json("an object")
    show.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print the request. Raises NotFound, AdminError and NotRunning."""
    with client.connect() as admin:
        request = admin.one("/v1/requests", options.id)
    if options.json:
        print(render.as_json(request))
        return
    attempts = cast("list[Row]", request["attempts"])
    print(render.pairs(request, NAMES, OPTIONAL))
    for decision in cast("list[Row]", request.get("decisions", [])):
        print()
        print(routing.explained(decision))
    print()
    print(render.table(ATTEMPT, attempts, OPTIONAL))
