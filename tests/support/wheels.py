"""Python packages that a few tests need and nothing else: installed once in a folder outside the checkout, from hashes."""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.node import missing


def installed_wheels(requirements: Path, what: str) -> Path:
    """The folder for PYTHONPATH with what `requirements` pins; later runs use it again.

    `what` is not tested where a package can't be had."""
    pins = requirements.read_bytes()
    version = f"{sys.version_info.major}{sys.version_info.minor}"
    name = f"chatmesh-wheels-{version}-{os.getuid()}-{hashlib.sha256(pins).hexdigest()[:12]}"
    folder = Path(tempfile.gettempdir()) / name
    folder.mkdir(mode=0o700, exist_ok=True)
    with (folder / "lock").open("w") as lock_file:
        fcntl.flock(lock_file, fcntl.LOCK_EX)  # another worker of the test run may be at it
        if not (folder / "installed").exists():
            _install(requirements, folder / "packages", what)
            (folder / "installed").touch()
    return folder / "packages"


def _install(requirements: Path, target: Path, what: str) -> None:
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:"]
    command = [sys.executable, "-m", "pip", "install", *options, "--require-hashes"]
    done = subprocess.run(
        [*command, "--target", str(target), "--upgrade", "-r", str(requirements)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if done.returncode:
        missing(f"pip could not install {requirements.name}: {what} not tested: {done.stderr[-500:]}")
