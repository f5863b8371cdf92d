"""What the environment says of the key store, and what is refused before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from keyrail.keys import stores
from keyrail.keys.keystore import KeystoreReader, KeystoreWriter, create
from keyrail.keys.settings import KeyReaderSettings, KeyStoreSettings
from keyrail_embedded.settings import EmbeddedSettings

ROLE = {"KEYRAIL_VAULT_ROLE_ID_FILE": "/r/role_id", "KEYRAIL_VAULT_SECRET_ID_FILE": "/r/secret_id"}


def set_all(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def test_without_an_address_the_keystore_is_used(tmp_path: Path) -> None:
    create(tmp_path / "keystore", tmp_path / "identity")
    settings = KeyReaderSettings(keystore=tmp_path / "keystore", identity_file=tmp_path / "identity")
    assert isinstance(stores.reader(settings), KeystoreReader)
    assert isinstance(stores.writer(settings), KeystoreWriter)


@pytest.mark.parametrize(
    ("variables", "missing"),
    [
        ({}, "KEYRAIL_VAULT_ROLE_ID_FILE"),
        ({"KEYRAIL_VAULT_ROLE_ID_FILE": "/r"}, "KEYRAIL_VAULT_SECRET_ID_FILE"),
        ({"KEYRAIL_VAULT_AUTH": "kubernetes"}, "KEYRAIL_VAULT_ROLE"),
        ({**ROLE, "KEYRAIL_VAULT_HARD_TTL_S": "30"}, "KEYRAIL_VAULT_HARD_TTL_S"),
        ({**ROLE, "KEYRAIL_VAULT_SOFT_TTL_S": "0"}, "vault_soft_ttl_s"),
        ({**ROLE, "KEYRAIL_VAULT_AUTH": "token"}, "vault_auth"),
    ],
)
def test_a_login_that_is_not_complete_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], missing: str
) -> None:
    set_all(monkeypatch, KEYRAIL_VAULT_ADDR="https://vault:8200", **variables)
    with pytest.raises(ValidationError, match=missing):
        KeyStoreSettings()


def test_the_embedded_stack_tells_each_side_of_its_own_role_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, KEYRAIL_VAULT_ADDR="https://vault:8200", KEYRAIL_VAULT_MOUNT="keys")
    set_all(monkeypatch, KEYRAIL_VAULT_WORKER_APPROLE="/w", KEYRAIL_VAULT_CONTROL_APPROLE="/c")
    told = EmbeddedSettings().vault()
    assert told is not None
    common = {
        "KEYRAIL_VAULT_ADDR": "https://vault:8200",
        "KEYRAIL_VAULT_MOUNT": "keys",
        "KEYRAIL_VAULT_AUTH": "approle",
    }
    assert told.worker == common | {
        "KEYRAIL_VAULT_ROLE_ID_FILE": "/w/role_id",
        "KEYRAIL_VAULT_SECRET_ID_FILE": "/w/secret_id",
    }
    assert told.control == common | {
        "KEYRAIL_VAULT_ROLE_ID_FILE": "/c/role_id",
        "KEYRAIL_VAULT_SECRET_ID_FILE": "/c/secret_id",
    }


def test_the_embedded_stack_needs_both_roles(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, KEYRAIL_VAULT_ADDR="https://vault:8200", KEYRAIL_VAULT_WORKER_APPROLE="/w")
    with pytest.raises(ValidationError, match="KEYRAIL_VAULT_CONTROL_APPROLE"):
        EmbeddedSettings()
