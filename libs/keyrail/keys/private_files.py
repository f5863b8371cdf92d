"""Files for their owner alone, written so that a crash leaves the old content or the new. Raises OSError."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def make_directory(path: Path) -> None:
    """Make a directory that only its owner may enter (0700), and its parents. What exists stays as it is."""
    if path.is_dir():
        return
    make_directory(path.parent)
    path.mkdir(mode=0o700, exist_ok=True)
    _sync_directory(path.parent)


def replace(path: Path, content: bytes) -> None:
    """Write a file (0600), in place of an existing one."""
    temporary = _written(path, content)
    try:
        temporary.replace(path)
    except OSError:
        temporary.unlink()
        raise
    _sync_directory(path.parent)


def write_new(path: Path, content: bytes) -> None:
    """Write a file (0600) that is not there yet. Raises FileExistsError."""
    temporary = _written(path, content)
    try:
        os.link(temporary, path)
    finally:
        temporary.unlink()
    _sync_directory(path.parent)


def delete(path: Path) -> None:
    """Remove a file for good. Raises FileNotFoundError."""
    path.unlink()
    _sync_directory(path.parent)


def contents(path: Path, largest: int) -> bytes | None:
    """What a file holds, None when that is more than `largest` bytes. Does not follow a symbolic link."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
        content = file.read(largest + 1)
    return content if len(content) <= largest else None


def _written(path: Path, content: bytes) -> Path:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        temporary.unlink()
        raise
    return temporary


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
