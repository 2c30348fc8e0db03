"""What tests do to directories, in plain functions: the disk is fast, and async code has a lint against it."""

from __future__ import annotations

import stat
from pathlib import Path


def make_directory(path: Path, mode: int, *files: str) -> Path:
    """A directory with exactly these permissions, whatever the umask, with empty files in it."""
    path.mkdir()
    for name in files:
        (path / name).touch()
    path.chmod(mode)
    return path


def mode_of(path: Path) -> int:
    """The permission bits."""
    return stat.S_IMODE(path.stat().st_mode)


def names_in(path: Path) -> list[str] | None:
    """What is in a directory; None if there is no such directory."""
    return sorted(entry.name for entry in path.iterdir()) if path.is_dir() else None
