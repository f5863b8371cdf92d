"""Admin keys in Vault."""

from __future__ import annotations

import pytest
from support.vault_fake import FakeVault

from keyrail.keys import report_keys
from keyrail.keys.base import KeyDamaged, KeyNotFound
from keyrail.keys.report_settings import ReportKeySettings
from keyrail.keys.secret import Secret

CANARY = "sk-admin-canary-in-vault-1907"


def settings(fake: FakeVault) -> ReportKeySettings:
    return ReportKeySettings(
        vault_addr=f"http://127.0.0.1:{fake.port}", vault_reports_approle=fake.role_id_file.parent
    )


async def test_a_key_is_one_secret_below_admin(fake: FakeVault) -> None:
    async with report_keys.opened(settings(fake)) as store:
        await store.put("openai", Secret(CANARY))
        assert [each[-1][1] for each in fake.secrets.values()] == [{"api_key": CANARY}]
        assert list(fake.secrets) == ["admin/openai"]
        assert (await store.value("openai")).reveal() == CANARY
        with pytest.raises(KeyNotFound, match="report-keys add anthropic"):
            await store.value("anthropic")


async def test_a_secret_without_a_key_is_damaged(fake: FakeVault) -> None:
    fake.secrets["admin/openai"] = [("2026-01-01T00:00:00.000000001Z", {"value": CANARY})]
    async with report_keys.opened(settings(fake)) as store:
        with pytest.raises(KeyDamaged, match="no api_key") as raised:
            await store.value("openai")
    assert CANARY not in str(raised.value)
