"""Admin keys: apart from the keys that calls are made with, by identity and by role."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from keyrail.keys import keystore, report_keys
from keyrail.keys.base import InvalidKey, KeyName, KeyNotFound
from keyrail.keys.keystore import KeystoreReader, KeystoreWriter
from keyrail.keys.report_settings import ReportKeySettings
from keyrail.keys.sealed import Opener
from keyrail.keys.secret import Secret
from keyrail_embedded.home import Home

POLICIES = Path(__file__).parents[3] / "deploy" / "vault"
CANARY = "sk-admin-canary-of-the-report-keys-5511"
RULE = re.compile(r'^path "([^"]+)" \{\s*capabilities = \[([^\]]*)\]\s*\}', re.MULTILINE)


async def test_a_key_is_put_listed_read_and_removed(tmp_path: Path) -> None:
    async with report_keys.opened(ReportKeySettings(home=tmp_path)) as store:
        assert await store.providers() == []
        await store.put("openai", Secret("first"))
        await store.put("openai", Secret(CANARY))
        assert await store.providers() == ["openai"]
        assert (await store.value("openai")).reveal() == CANARY
        for absent in ("anthropic", "groq"):
            with pytest.raises(KeyNotFound, match=f"report-keys add {absent}"):
                await store.value(absent)
        await store.remove("openai")
        with pytest.raises(KeyNotFound):
            await store.remove("openai")
        with pytest.raises(InvalidKey):
            await store.put("openai", Secret("two\nlines"))


def files(home: Path) -> list[Path]:
    return list(home.rglob("*"))


async def test_nothing_is_there_before_the_first_key(tmp_path: Path) -> None:
    async with report_keys.opened(ReportKeySettings(home=tmp_path)) as store:
        for ask in (store.value, store.remove):
            with pytest.raises(KeyNotFound):
                await ask("openai")
    assert files(tmp_path) == []


async def test_only_its_owner_can_open_the_files_and_no_value_is_in_them(tmp_path: Path) -> None:
    async with report_keys.opened(ReportKeySettings(home=tmp_path)) as store:
        await store.put("openai", Secret(CANARY))
    for path in files(tmp_path):
        assert path.stat().st_mode & 0o077 == 0, path
        assert path.is_dir() or CANARY.encode() not in path.read_bytes()


async def test_what_the_worker_and_control_are_given_does_not_open_an_admin_key(tmp_path: Path) -> None:
    home = Home(tmp_path)
    keystore.create(home.keystore, home.identity)
    await KeystoreWriter(home.keystore).put("default", "openai", "main", Secret("sk-call"))
    async with report_keys.opened(ReportKeySettings(home=tmp_path)) as store:
        await store.put("openai", Secret(CANARY))

    worker = KeystoreReader(home.keystore, home.identity)
    assert await worker.keys("admin", "openai") == []
    assert [name.tenant for name in await KeystoreWriter(home.keystore).list()] == ["default"]
    (sealed,) = (tmp_path / "report-keys").rglob("*.age")
    identity = Opener.of_file(Secret(home.identity.read_text()))
    with pytest.raises(ValueError, match="another identity"):
        identity.open(KeyName("admin", "openai", "reports"), sealed.read_bytes())
    ours = Opener.of_file(Secret((tmp_path / "report-identity.key").read_text()))
    assert ours.open(KeyName("admin", "openai", "reports"), sealed.read_bytes())[1].reveal() == CANARY


def test_vault_needs_a_role_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYRAIL_VAULT_ADDR", "http://127.0.0.1:1")
    monkeypatch.setenv("KEYRAIL_VAULT_ROLE_ID_FILE", "/worker/role_id")
    monkeypatch.setenv("KEYRAIL_VAULT_SECRET_ID_FILE", "/worker/secret_id")
    with pytest.raises(ValidationError, match="KEYRAIL_VAULT_REPORTS_APPROLE"):
        ReportKeySettings()
    monkeypatch.setenv("KEYRAIL_VAULT_REPORTS_APPROLE", "/reports")
    settings = ReportKeySettings().vault()
    assert settings is not None
    assert settings.vault_role_id_file == Path("/reports/role_id")
    assert settings.vault_secret_id_file == Path("/reports/secret_id")


def rules(role: str) -> dict[str, set[str]]:
    """The policy of a role: paths and what may be done there."""
    text = (POLICIES / f"{role}.hcl").read_text()
    found = {path: set(re.findall(r'"(\w+)"', what)) for path, what in RULE.findall(text)}
    assert len(found) == text.count("path "), text
    return found


def granted(role: str, path: str) -> set[str]:
    return {
        what
        for pattern, capabilities in rules(role).items()
        if re.fullmatch(re.escape(pattern).replace(r"\+", "[^/]+"), path)
        for what in capabilities
    }


@pytest.mark.parametrize("role", ["provider-worker", "control"])
def test_no_service_may_do_anything_with_admin_keys(role: str) -> None:
    for kind in ("data", "metadata"):
        for path in (f"llm/{kind}/{report_keys.vault_path('openai')}", f"llm/{kind}/admin/"):
            assert granted(role, path) == set()


def test_who_fetches_reports_reaches_admin_keys_alone() -> None:
    role = "keyrail-reports"
    assert granted(role, f"llm/data/{report_keys.vault_path('openai')}") == {"create", "update", "read"}
    assert granted(role, "llm/data/tenants/default/providers/openai/main") == set()
    assert granted(role, "llm/metadata/tenants/default/providers/openai/") == set()
    assert all("*" not in path and "sudo" not in what for path, what in rules(role).items())
    assert "read" in granted("provider-worker", "llm/data/tenants/default/providers/openai/main")
