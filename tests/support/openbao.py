"""A real server with Vault's API, in memory, with the policies of deploy/vault and a role for each service.

The dev mode of OpenBao or Vault: unsealed, its root token known, its own key printed."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx

from keyrail.keys.settings import KeyReaderSettings
from scripts import openbao
from support.nats import free_port

POLICIES = Path(__file__).parent.parent.parent / "deploy" / "vault"
ROLES = ("provider-worker", "control")
MOUNT = "llm"
ROOT = "root"
STARTS_WITHIN_S = 20.0
NO_SERVER = "no real Vault server: neither bao nor vault on the PATH, and `make openbao` has not built one"


def binary() -> Path | None:
    """The server to test with, if there is one."""
    return openbao.found(dict(os.environ))


class OpenBao:
    """A server in dev mode. Tests talk to it as root by `ask`, never through the code under test."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.directory = directory
        self._log = directory / "bao.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._http = httpx.Client(base_url=f"{self.url}/v1/", headers={"x-vault-token": ROOT}, timeout=10)

    def start(self) -> OpenBao:
        server = binary()
        assert server is not None
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    str(server),
                    "server",
                    "-dev",
                    f"-dev-root-token-id={ROOT}",
                    f"-dev-listen-address=127.0.0.1:{self.port}",
                    "-dev-no-store-token",
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={"PATH": os.environ["PATH"], "HOME": str(self.directory)},
            )
        until = time.monotonic() + STARTS_WITHIN_S
        while not self._active():
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < until, self._log.read_text()
            time.sleep(0.02)
        self.ask("POST", f"sys/mounts/{MOUNT}", {"type": "kv", "options": {"version": "2"}})
        until = time.monotonic() + STARTS_WITHIN_S
        while self._http.get(f"{MOUNT}/config").status_code != 200:  # it upgrades to version 2 for a moment
            assert time.monotonic() < until
            time.sleep(0.02)
        self.ask("POST", "sys/auth/approle", {"type": "approle"})
        for role in ROLES:
            self.ask("POST", f"sys/policies/acl/{role}", {"policy": (POLICIES / f"{role}.hcl").read_text()})
            self.role(role)
        return self

    def role(self, name: str, **options: Any) -> Path:
        """An AppRole and the folder with its credentials."""
        policy = options.pop("policy", name)
        body = {"token_policies": [policy], "token_ttl": "20m", "token_max_ttl": "1h", **options}
        self.ask("POST", f"auth/approle/role/{name}", body)
        folder = self.directory / name
        folder.mkdir(exist_ok=True)
        role_id = self.ask("GET", f"auth/approle/role/{name}/role-id")["data"]["role_id"]
        secret_id = self.ask("POST", f"auth/approle/role/{name}/secret-id")["data"]["secret_id"]
        (folder / "role_id").write_text(role_id + "\n")
        (folder / "secret_id").write_text(secret_id + "\n")
        return folder

    def ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """As root. Fails unless Vault does it."""
        answer = self._http.request(method, path, json=body)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else {}

    def status(self, token: str, method: str, path: str, body: object = None) -> int:
        """What Vault answers to somebody else."""
        headers = {"x-vault-token": token}
        return self._http.request(method, path, json=body, headers=headers).status_code

    def token(self, role: str) -> str:
        """A token of a role."""
        folder = self.directory / role
        body = {name: (folder / name).read_text().strip() for name in ("role_id", "secret_id")}
        return self.ask("POST", "auth/approle/login", body)["auth"]["client_token"]

    def put(self, path: str, **content: object) -> None:
        """Store a secret under `tenants/`, as an operator would by hand."""
        self.ask("POST", f"{MOUNT}/data/tenants/{path}", {"data": content})

    def settings(self, role: str, **options: Any) -> KeyReaderSettings:
        """What a service with this role is told."""
        told: dict[str, Any] = {
            "vault_addr": self.url,
            "vault_role_id_file": self.directory / role / "role_id",
            "vault_secret_id_file": self.directory / role / "secret_id",
        }
        return KeyReaderSettings(**{**told, **options})

    def enable_kubernetes(self, api_port: int, api_ca: str) -> None:
        """Kubernetes auth with that API server, and the role that deploy/vault/README.md describes."""
        self.ask("POST", "sys/auth/kubernetes", {"type": "kubernetes"})
        host = {"kubernetes_host": f"https://127.0.0.1:{api_port}", "kubernetes_ca_cert": api_ca}
        self.ask("POST", "auth/kubernetes/config", {**host, "disable_local_ca_jwt": True})
        bound = {
            "bound_service_account_names": ["provider-worker"],
            "bound_service_account_namespaces": ["keyrail"],
            "audience": "vault",
        }
        role = {**bound, "token_policies": ["provider-worker"], "token_ttl": "20m"}
        self.ask("POST", "auth/kubernetes/role/provider-worker", role)

    def empty(self) -> None:
        """Remove all keys."""
        for path in self._below("tenants/"):
            self.ask("DELETE", f"{MOUNT}/metadata/{path}")

    def _below(self, folder: str) -> list[str]:
        answer = self._http.request("LIST", f"{MOUNT}/metadata/{folder}")
        if answer.status_code == 404:
            return []
        names = [folder + name for name in answer.json()["data"]["keys"]]
        return [path for name in names for path in (self._below(name) if name.endswith("/") else [name])]

    def revoke_tokens(self) -> None:
        """All tokens that came from AppRole logins, under the feet of who uses them."""
        self.ask("PUT", "sys/leases/revoke-prefix/auth/approle/login")

    def seal(self) -> None:
        """Really seal it."""
        self.ask("PUT", "sys/seal")

    def unseal(self) -> None:
        """Give the key that it printed at its start."""
        key = next(
            line.split(":", 1)[1].strip()
            for line in self._log.read_text().splitlines()
            if line.startswith("Unseal Key:")
        )
        self.ask("PUT", "sys/unseal", {"key": key})

    def stop(self) -> None:
        """It forgets everything."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait()

    def close(self) -> None:
        self.stop()
        self._http.close()

    def _active(self) -> bool:
        try:
            return self._http.get("sys/health").status_code == 200
        except httpx.TransportError:
            return False


async def within(seconds: float, condition: Any) -> None:
    """Wait until an async condition is true."""
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.01)
