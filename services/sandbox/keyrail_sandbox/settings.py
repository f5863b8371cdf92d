"""Where the sandbox listens, from the environment."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """`listen_fd` is an inherited listening socket and wins over `port` (127.0.0.1; 0: the OS chooses).

    `notify_fd` gets the line `ready` once requests are answered. `grace_s` is what running calls get to end
    after SIGTERM.
    """

    model_config = SettingsConfigDict(env_prefix="KEYRAIL_SANDBOX_")

    port: int = Field(default=0, ge=0, le=65535)
    grace_s: int = Field(default=5, ge=0)
    listen_fd: int | None = Field(default=None, ge=0, validation_alias="KEYRAIL_LISTEN_FD")
    notify_fd: int | None = Field(default=None, ge=0, validation_alias="KEYRAIL_NOTIFY_FD")
