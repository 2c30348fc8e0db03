"""The embedded broker's data directory: nobody else may read it, for it holds the token and everybody's messages."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from chatmesh.errors import ConfigError


def prepare_directory(path: Path) -> None:
    """Make sure that `path` is a directory of ours alone (0700) that we can write to; raise `ConfigError` otherwise.

    A directory that exists is tightened only while it is empty. One with content may be somebody's home or /tmp.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
            raise PermissionError(13, os.strerror(13))
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            _tighten(path)
    except OSError as error:
        raise ConfigError(
            f"The embedded broker can't use its data directory: {error.strerror}",
            where=str(path),
            mend="Choose a directory that this user may write to.",
        ) from error


def write_private(path: Path, text: str) -> None:
    """Write `text` to a file that only this user can read, from its first byte on."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        os.fchmod(descriptor, 0o600)
        file.write(text)


def _tighten(path: Path) -> None:
    if any(path.iterdir()):
        raise ConfigError(
            "The embedded broker's data directory can be read by other users",
            where=str(path),
            mend="Run chmod 700 on it, or choose a directory of its own.",
        )
    path.chmod(0o700)
