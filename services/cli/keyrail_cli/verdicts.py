"""`keyrail verdicts`: what was said of the quality of answers."""

from __future__ import annotations

import argparse
import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from keyrail.http.admin import Rejected
from keyrail_cli import client, render
from keyrail_cli.commands import CommandError
from keyrail_cli.render import Row

if TYPE_CHECKING:
    from keyrail_cli.commands import Commands

COLUMNS: Final = (
    "given_at", "tenant", "route", "task", "target", "score", "weight", "source", "given_by", "request_id",
)  # fmt: skip
OPTIONAL: Final = frozenset({"given_by", "request_id"})
AT_ONCE: Final = 500
MOST_BYTES: Final = 2_000_000
"""Of one question to control, unless a single line is longer."""
ABOUT: Final = """\
A line of the file is a JSON object, such as

  {"route": "chat", "task": "support", "target": "groq/llama-3.3-70b-versatile", "score": 0.8}

route, target (provider/model) and score (0 to 1) are needed. task: without it requests without a feature;
weight: 1; tenant: default; request_id: of the request that was judged; prompt: its text, of which only
features are kept. id: what names this verdict; without one, lines that say the same are told apart by their
number, so that the same file, or a longer one, can be imported again and nothing counts twice."""


def register(commands: Commands) -> None:
    """Add the command with its verbs."""
    parser = commands.add_parser("verdicts", help="how good answers were: import, list")
    verbs = parser.add_subparsers(required=True, metavar="verb")
    take = verbs.add_parser(
        "import",
        help="take verdicts from a file of JSON lines",
        description=ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    take.add_argument("file", metavar="FILE.jsonl", type=Path)
    take.add_json("how many there were, and how many were new,")
    take.set_defaults(run=run_import)
    listing = verbs.add_parser("list", help="all verdicts, oldest first")
    for each in ("route", "task", "tenant"):
        listing.add_argument(f"--{each}", metavar="NAME", help=f"of this {each} alone")
    listing.add_argument("--since", metavar="TIME", help="30m, 1h, 7d or an RFC 3339 time")
    listing.add_argument("--until", metavar="TIME", help="the same; without it until now")
    listing.add_json("a list")
    listing.set_defaults(run=run_list)


def run_import(options: argparse.Namespace) -> None:
    """Read all of the file, then send it. Raises CommandError, AdminError and NotRunning."""
    numbered = lines(options.file)
    told: Row = {"verdicts": len(numbered), "new": 0}
    with client.connect() as admin:
        for part in parts(numbered):
            try:
                taken = admin.post("/v1/verdicts", {"verdicts": [verdict for _, verdict in part]})
            except Rejected as rejected:
                raise CommandError(f"{options.file}{located(str(rejected), part)}") from None
            told["new"] = cast("int", told["new"]) + cast("int", taken["new"])
    if options.json:
        print(render.as_json(told))
    else:
        print(f"{told['new']} of {told['verdicts']} verdicts were new")


def run_list(options: argparse.Namespace) -> None:
    """Print all verdicts. Raises AdminError and NotRunning."""
    names = ("route", "task", "tenant", "since", "until")
    asked = {each: value for each in names if (value := getattr(options, each)) is not None}
    with client.connect() as admin:
        rows = list(admin.rows("/v1/verdicts", asked))
    print(render.as_json(rows) if options.json else render.table(COLUMNS, rows, OPTIONAL))


def lines(file: Path) -> list[tuple[int, Row]]:
    """The verdicts with the numbers of their lines, each with an id. Raises CommandError."""
    try:
        text = file.read_bytes().decode()
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise CommandError(f"{file}: not UTF-8") from None
    seen: Counter[str] = Counter()
    found: list[tuple[int, Row]] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            said = json.loads(line)
        except (ValueError, RecursionError):
            raise CommandError(f"{file}:{number}: not JSON") from None
        if not isinstance(said, dict):
            raise CommandError(f"{file}:{number}: not an object")
        found.append((number, identified(cast("Row", said), seen)))
    return found


def identified(said: Row, seen: Counter[str]) -> Row:
    """With an id that is the same whenever the file is read. `seen`: what was said before, how often."""
    if "id" in said:
        return said
    digest = hashlib.blake2b(json.dumps(said, sort_keys=True).encode(), digest_size=16).hexdigest()
    seen[digest] += 1
    return said | {"id": f"{digest}-{seen[digest]}"}


def parts(numbered: list[tuple[int, Row]]) -> Iterator[list[tuple[int, Row]]]:
    """As many at a time as control takes."""
    part: list[tuple[int, Row]] = []
    size = 0
    for number, verdict in numbered:
        length = len(json.dumps(verdict))
        if part and (len(part) == AT_ONCE or size + length > MOST_BYTES):
            yield part
            part, size = [], 0
        part.append((number, verdict))
        size += length
    if part:
        yield part


def located(message: str, part: list[tuple[int, Row]]) -> str:
    """What control says of `verdicts[3]`, by the number of its line."""
    place, bracket, rest = message.removeprefix("verdicts[").partition("]")
    if bracket and message.startswith("verdicts[") and place.isdecimal() and int(place) < len(part):
        return f":{part[int(place)][0]}: {rest.removeprefix('.')}"
    return f": {message}"
