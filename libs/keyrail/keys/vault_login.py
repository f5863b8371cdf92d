"""The ways to log in at Vault. They run in a thread; their credentials live as long as the call."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import hvac

from keyrail.keys.settings import KeyStoreSettings


class NoCredential(Exception):
    """A credential's file cannot be read. It says which one, never what is in it."""


class Login(Protocol):
    """A way to log in."""

    def enter(self, vault: hvac.Client) -> Any:
        """Vault's answer to a login. Raises NoCredential and whatever hvac raises."""
        ...


@dataclass(frozen=True, slots=True)
class AppRole:
    """For machines: two files, of which the second one is the secret."""

    mount: str
    role_id_file: Path
    secret_id_file: Path

    def enter(self, vault: hvac.Client) -> Any:
        """Log in with what the files hold now."""
        return vault.auth.approle.login(
            _content(self.role_id_file),
            _content(self.secret_id_file),
            use_token=False,
            mount_point=self.mount,
        )


@dataclass(frozen=True, slots=True)
class Kubernetes:
    """For pods: the projected token of their service account, which the kubelet replaces now and then."""

    mount: str
    role: str
    jwt_file: Path

    def enter(self, vault: hvac.Client) -> Any:
        """Log in with the token that is in the file now."""
        return vault.auth.kubernetes.login(
            self.role, _content(self.jwt_file), use_token=False, mount_point=self.mount
        )


def of(settings: KeyStoreSettings) -> Login:
    """The way that the settings choose."""
    mount = settings.vault_auth_mount or settings.vault_auth
    if settings.vault_auth == "kubernetes":
        assert settings.vault_role is not None
        return Kubernetes(mount, settings.vault_role, settings.vault_jwt_file)
    assert settings.vault_role_id_file is not None
    assert settings.vault_secret_id_file is not None
    return AppRole(mount, settings.vault_role_id_file, settings.vault_secret_id_file)


def _content(path: Path) -> str:
    try:
        return path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        raise NoCredential(f"{path} cannot be read") from None
