"""A disk so small that a test can fill it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_SUDO = [] if os.geteuid() == 0 else ["sudo", "-n"]
_CHUNK = bytes(4096)


class SmallDisk:
    """A file system of its own in memory. Full, a write to it fails with ENOSPC, as on any disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ballast = path / "ballast"

    def fill(self) -> None:
        """Not a page is left."""
        with self._ballast.open("wb", buffering=0) as ballast:
            try:
                while ballast.write(_CHUNK):
                    pass
            except OSError:
                return

    def make_room(self) -> None:
        self._ballast.unlink()


@contextmanager
def small_disk(path: Path, *, megabytes: int) -> Iterator[SmallDisk]:
    """Mounted at `path`; the test is skipped where nobody may mount."""
    path.mkdir()
    mount = [*_SUDO, "mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=1777", "tmpfs", str(path)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(
            f"a disk that can be filled needs the right to mount a tmpfs, as root or with sudo: {error}"
        )
    try:
        yield SmallDisk(path)
    finally:
        subprocess.run([*_SUDO, "umount", "--lazy", str(path)], check=True, capture_output=True)
