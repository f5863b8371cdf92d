"""Where things are: the environment of every service process. What to do is in keyrail.yaml."""

from __future__ import annotations

from pathlib import Path

from pydantic_settings import BaseSettings, SettingsConfigDict


class ServiceSettings(BaseSettings):
    """Read once, at start. `nats_password_file` is a file, so that no secret is in an environment."""

    model_config = SettingsConfigDict(env_prefix="KEYRAIL_")

    nats_url: str = "nats://127.0.0.1:4222"
    nats_user: str | None = None
    nats_password_file: Path | None = None
    home: Path = Path(".keyrail")
    log_level: str = "INFO"
    listen_fd: int | None = None  # an inherited listening socket
    notify_fd: int | None = None  # where to say `ready` and `draining`
    parent: int | None = None  # the pid of the supervisor, without which this process ends
    drain_s: float = 620.0  # as long as the longest request may take
