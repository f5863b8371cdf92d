"""Where the peers are installed, and what a measured process sees of the environment."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """From the environment, prefix BENCH_. A peer that is not given is not measured."""

    model_config = SettingsConfigDict(env_prefix="BENCH_")

    litellm_python: Path | None = None
    portkey_dir: Path | None = None


def child_environment(home: Path, **more: str) -> dict[str, str]:
    """An environment with a home of its own and none of the caller's keys or proxies."""
    path = os.environ.get("PATH", os.defpath)  # noqa: TID251
    return {"PATH": path, "HOME": str(home), "LANG": "C.UTF-8", "TMPDIR": str(home), **more}
