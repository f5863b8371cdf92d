"""A tour of Keyrail: starts a stack in a temporary home, uses it with the official client, shows its ledger.

Exits 0 when every step did what it says, 1 with the reason otherwise.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import httpx2  # what the official client is built on
import openai

BIN = Path(sys.executable).parent
WITHIN_S = 55  # for everything
STARTS_WITHIN_S = 40.0
LEDGER_WITHIN_S = 10.0
STOPS_WITHIN_S = 20.0
WEIGHTED_REQUESTS = 20

CONFIG = """\
routes:
  steady:                       # the first target refuses, the second answers
    strategy: fallback
    targets: [sandbox/status-429, sandbox/echo]
  split:                        # three in four, one in four
    strategy: weighted
    targets:
      - {model: sandbox/echo, weight: 3}
      - {model: sandbox/metered, weight: 1}
"""

TEXT = "Every team brings its own keys and every token of spend has a row that ties out"
STREAMED = "sandbox/echo+slow-60ms"


class DemoFailed(Exception):
    """A step did not do what it should; the text says which and how."""


class Stack:
    """`keyrail up` in a home of its own, on a port that the OS chose."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self._said = folder / "up.log"
        config = folder / "keyrail.yaml"
        config.write_text(CONFIG)
        # nothing else of the environment: the demo takes no provider key into its keystore
        self._environment = {
            "PATH": os.environ["PATH"],  # noqa: TID251 - a script has no settings module
            "KEYRAIL_HOME": str(self.home),
            "KEYRAIL_CONFIG": str(config),
            "KEYRAIL_PORT": "0",
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Return once the stack is ready."""
        with self._said.open("wb") as said:
            self._process = subprocess.Popen(
                [str(BIN / "keyrail"), "up"],
                env=self._environment,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        until = time.monotonic() + STARTS_WITHIN_S
        while "ready: " not in self.said():
            if self._process.poll() is not None:
                raise DemoFailed(f"keyrail up ended with {self._process.returncode}")
            if time.monotonic() > until:
                raise DemoFailed(f"keyrail up was not ready after {STARTS_WITHIN_S:.0f} s")
            time.sleep(0.05)

    def stop(self) -> None:
        """SIGTERM, as Ctrl-C does; raises DemoFailed when it does not end well."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            code = self._process.wait(STOPS_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise DemoFailed(f"keyrail up did not stop within {STOPS_WITHIN_S:.0f} s") from None
        if code != 0:
            raise DemoFailed(f"keyrail up ended with {code}")

    def said(self) -> str:
        """What `keyrail up` has printed."""
        return self._said.read_text(errors="replace") if self._said.exists() else ""

    @property
    def url(self) -> str:
        """Where applications go."""
        return str(json.loads((self.home / "run.json").read_text())["url"])

    @property
    def key(self) -> str:
        """The first virtual key."""
        return (self.home / "default.key").read_text().strip()

    def cli(self, *arguments: str) -> str:
        """What the command line prints."""
        done = subprocess.run(
            [str(BIN / "keyrail"), *arguments],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        if done.returncode != 0:
            raise DemoFailed(f"keyrail {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout.rstrip()

    def ledger(self, *arguments: str, until: Callable[[Any], bool]) -> Any:
        """The JSON answer of the command line, asked again until the ledger has caught up."""
        give_up = time.monotonic() + LEDGER_WITHIN_S
        while not until(answer := json.loads(self.cli(*arguments, "--json"))):
            if time.monotonic() > give_up:
                raise DemoFailed(f"the ledger has after {LEDGER_WITHIN_S:.0f} s: {json.dumps(answer)}")
            time.sleep(0.1)
        return answer


def ask(client: openai.OpenAI, model: str, text: str = TEXT) -> tuple[str, Mapping[str, str]]:
    """An answer's text and headers."""
    raw = client.chat.completions.with_raw_response.create(
        model=model,
        messages=[{"role": "user", "content": text}],
        extra_headers={"x-keyrail-team": "demo"},
    )
    return raw.parse().choices[0].message.content or "", raw.headers


def step_answer(client: openai.OpenAI) -> None:
    """One question, one answer."""
    text, headers = ask(client, "sandbox/echo")
    show(f"answer     {text}")
    show_headers(headers)
    must(text == TEXT, f"the answer is {text!r}")
    must(headers.get("x-keyrail-attempts") == "1", "not one attempt")


def step_stream(client: openai.OpenAI) -> None:
    """A stream, printed as it comes."""
    began = time.monotonic()
    raw = client.chat.completions.with_raw_response.create(
        model=STREAMED,
        messages=[{"role": "user", "content": TEXT}],
        stream=True,
        extra_headers={"x-keyrail-team": "demo"},
    )
    pieces: list[str] = []
    times: list[float] = []
    write("  stream     ")
    for chunk in raw.parse():
        for choice in chunk.choices:
            if choice.delta.content:
                pieces.append(choice.delta.content)
                times.append(time.monotonic() - began)
                write(choice.delta.content)
    write("\n")
    show_headers(raw.headers)
    must("".join(pieces) == TEXT, f"the stream is {''.join(pieces)!r}")
    show(f"{len(pieces)} pieces, the first after {times[0]:.2f} s, the last after {times[-1]:.2f} s")
    must(times[-1] - times[0] > 0.3, "the pieces came all at once")


def step_fallback(client: openai.OpenAI) -> str:
    """A route whose first target answers 429. Returns the request's id."""
    text, headers = ask(client, "steady")
    show(f"answer     {text}")
    show_headers(headers)
    must(text == TEXT, f"the answer is {text!r}")
    must(headers.get("x-keyrail-attempts") == "2", "the second target was not tried")
    must(headers.get("x-keyrail-model") == "echo", "not the second target answered")
    return headers["x-keyrail-request-id"]


def step_weighted(client: openai.OpenAI) -> None:
    """A route that draws its target."""
    served = Counter(ask(client, "split", "hello")[1]["x-keyrail-model"] for _ in range(WEIGHTED_REQUESTS))
    for model, weight in (("echo", 3), ("metered", 1)):
        show(f"{model:<10} weight {weight}  {'#' * served[model]} {served[model]}")
    must(served.total() == WEIGHTED_REQUESTS and set(served) <= {"echo", "metered"}, f"served by {served}")


def step_ledger(stack: Stack, fallback_id: str) -> None:
    """What it cost, and one request in full. The sums must be exactly what was sent."""
    requests = 3 + WEIGHTED_REQUESTS
    expected = (requests, requests + 1)  # the 429 is an attempt of its own

    def complete(rows: Any) -> bool:
        return bool(rows) and (rows[0]["requests"], rows[0]["attempts"]) >= expected

    (total,) = stack.ledger("costs", until=complete)
    must((total["requests"], total["attempts"]) == expected, f"expected {expected}, the ledger has {total}")
    command(stack, "costs", "--by", "model")

    def settled(request: Any) -> bool:
        return request["status"] != "running" and len(request["attempts"]) == 2

    request = stack.ledger("requests", "show", fallback_id, until=settled)
    write("\n")
    command(stack, "requests", "show", fallback_id)
    must([a["status"] for a in request["attempts"]] == ["failed", "ok"], "the attempts are not as they were")


def command(stack: Stack, *arguments: str) -> None:
    """Run a command of the CLI and show what it prints."""
    show(f"$ keyrail {' '.join(arguments)}")
    for line in stack.cli(*arguments).splitlines():
        show(line)


def must(condition: bool, otherwise: str) -> None:
    """Raise DemoFailed unless the condition holds."""
    if not condition:
        raise DemoFailed(otherwise)


def show_headers(headers: Mapping[str, str]) -> None:
    """The headers that Keyrail adds."""
    for name, value in sorted(headers.items()):
        if name.startswith("x-keyrail-"):
            show(f"{name}: {value}")


def show(line: str) -> None:
    """One line of a step."""
    write(f"  {line}".rstrip() + "\n")


def write(text: str) -> None:
    """Print at once."""
    sys.stdout.write(text)
    sys.stdout.flush()


@contextmanager
def step(title: str) -> Generator[None]:
    """Name the step, and say so in what goes wrong in it."""
    write(f"\n== {title}\n")
    try:
        yield
    except DemoFailed as error:
        raise DemoFailed(f"{title}: {error}") from error
    except (openai.OpenAIError, httpx2.HTTPError, OSError, ValueError, LookupError) as error:
        raise DemoFailed(f"{title}: {type(error).__name__}: {error}") from error
    except subprocess.TimeoutExpired as error:
        raise DemoFailed(f"{title}: {error}") from error


def tour(stack: Stack) -> None:
    """All steps. Raises DemoFailed."""
    with step("Start: keyrail up"):
        began = time.monotonic()
        stack.start()
        show(f"{stack.url} is ready after {time.monotonic() - began:.1f} s")
    client = openai.OpenAI(
        base_url=f"{stack.url}/v1",
        api_key=stack.key,
        max_retries=0,
        timeout=15.0,
        http_client=openai.DefaultHttpxClient(trust_env=False),  # no proxy between two ports of this machine
    )
    with client:
        with step("An answer from the sandbox, a provider that costs nothing"):
            step_answer(client)
        with step("A stream, shown as it comes"):
            step_stream(client)
        with step("A fallback: the route's first target answers 429, the second one serves"):
            fallback_id = step_fallback(client)
        with step(f"A weighted route: {WEIGHTED_REQUESTS} requests over weights 3 and 1"):
            step_weighted(client)
    with step("The ledger: every upstream call is a row"):
        step_ledger(stack, fallback_id)


def main() -> int:
    """Run the tour and stop everything."""
    signal.signal(signal.SIGALRM, _out_of_time)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.alarm(WITHIN_S)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="keyrail-demo-") as folder:
        stack = Stack(Path(folder))
        try:
            try:
                tour(stack)
            finally:
                signal.alarm(0)
                write("\n== Stop\n")
                stack.stop()
        except DemoFailed as error:
            sys.stderr.write(f"\ndemo failed: {error}\n{_tail(stack.said())}")
            return 1
        except KeyboardInterrupt:
            sys.stderr.write("\ndemo interrupted\n")
            return 130
    show(f"all steps did what they say, in {time.monotonic() - began:.1f} s")
    return 0


def _out_of_time(number: int, frame: FrameType | None) -> None:
    raise DemoFailed(f"it took more than {WITHIN_S} s")


def _tail(text: str, lines: int = 10) -> str:
    return "".join(f"  up: {line}\n" for line in text.splitlines()[-lines:])


if __name__ == "__main__":
    sys.exit(main())
