"""Which processes make up the embedded stack, and what each is told. Pure."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from keyrail_embedded.children import Spec
from keyrail_embedded.home import Home

_BOUND = (sys.executable, "-I", "-S", str(Path(__file__).with_name("bound.py")))
STOP_ORDER = (
    "ingress",
    "control",
    "router",
    "racer",
    "provider-worker",
    "cost-accounting",
    "nats-server",
    "sandbox",
)
TLS_VARIABLES = ("KEYRAIL_TLS_CERT_FILE", "KEYRAIL_TLS_KEY_FILE")
SCALABLE = ("ingress", "router", "racer", "provider-worker")


@dataclass(frozen=True, slots=True)
class Vault:
    """What the two services that speak to Vault are told; nobody else is told anything of it."""

    worker: Mapping[str, str]
    control: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Places:
    """Where things are in this run."""

    nats_url: str
    nats_config: Path
    nats_binary: Path
    sandbox_url: str
    config: Path | None
    ingress_fd: int
    admin_fd: int
    sandbox_fd: int
    tls: tuple[Path, Path] | None  # certificate and key of ingress
    lock_fd: int  # held by all that write to the home, so that nobody else starts on it before they ended
    vault: Vault | None = None  # None: the keystore in the home holds the provider keys


def go_runtime(cores: int) -> dict[str, str]:
    """How nats-server's runtime is to use a machine that it shares with everything else here.

    With a thread for each core, one message wakes several of them; one thread moves what four cores of
    gateway produce. Collecting at five times what is live, not at twice, as long as that stays small.
    """
    return {"GOMAXPROCS": str(max(1, cores // 4)), "GOGC": "400", "GOMEMLIMIT": "96MiB"}


def nats_server(home: Home, places: Places, environment: Mapping[str, str]) -> Spec:
    """The real nats-server. It knows no notify protocol: connecting to it shows that it is ready."""
    command = (
        *_BOUND,
        str(places.nats_binary),
        "-c",
        str(places.nats_config),
        "-P",
        str(home.run / "nats-server.pid"),
    )
    variables = {**environment, **go_runtime(os.cpu_count() or 1)}
    return Spec("nats-server", command, variables, says_ready=False, exclusive=True, passed=(places.lock_fd,))


def services(
    home: Home, places: Places, environment: Mapping[str, str], scale: Mapping[str, int]
) -> list[Spec]:
    """All services, in the order to start them. `environment` holds no key and nothing of Keyrail."""

    def spec(name: str, own: Mapping[str, str], *, fd: int | None = None, exclusive: bool = False) -> Spec:
        variables = {
            **environment,
            "KEYRAIL_HOME": str(home.path),
            "KEYRAIL_NATS_URL": places.nats_url,
            "KEYRAIL_NATS_USER": name,
            "KEYRAIL_NATS_PASSWORD_FILE": str(home.run / f"{name}.password"),
            **own,
        }
        command = (sys.executable, "-m", "keyrail_" + name.replace("-", "_"))
        passed = (places.lock_fd,) if exclusive else ()
        return Spec(name, command, variables, listen_fd=fd, exclusive=exclusive, passed=passed)

    reads, writes = _key_store(home, places.vault)
    control = {**writes, "KEYRAIL_SANDBOX_URL": places.sandbox_url}
    if places.config is not None:
        control["KEYRAIL_CONFIG"] = str(places.config)
    once = [
        spec("cost-accounting", {"KEYRAIL_LEDGER": str(home.ledger)}, exclusive=True),
        spec("control", control, fd=places.admin_fd),
        Spec(
            "sandbox",
            (*_BOUND, sys.executable, "-m", "keyrail_sandbox"),
            environment,
            listen_fd=places.sandbox_fd,
        ),
    ]
    ingress: dict[str, str] = dict(zip(TLS_VARIABLES, map(str, places.tls or ()), strict=False))
    scaled = {
        "provider-worker": spec("provider-worker", reads),
        "racer": spec("racer", {}),
        "router": spec("router", {}),
        "ingress": spec("ingress", ingress, fd=places.ingress_fd),
    }
    return once + [one for name, one in scaled.items() for _ in range(scale.get(name, 1))]


def _key_store(home: Home, vault: Vault | None) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Where provider keys are: what the side that reads them is told, and the side that writes them."""
    if vault is not None:
        return vault.worker, vault.control
    keystore = {"KEYRAIL_KEYSTORE": str(home.keystore)}
    return {**keystore, "KEYRAIL_IDENTITY_FILE": str(home.identity)}, keystore
