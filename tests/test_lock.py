"""What CI installs is what the lock names: every dependency is in it, in its range, with the hashes of its files.

All of it is read from the files; nothing is fetched.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
BESIDE = (ROOT / ".ci/requirements.in").read_text(encoding="utf-8")
LOCK = (ROOT / ".ci/requirements.lock").read_text(encoding="utf-8")
CI = (ROOT / ".ci/run").read_text(encoding="utf-8")

SHA256 = re.compile(r"--hash=sha256:[0-9a-f]{64}(?= |$)", re.MULTILINE)


class Pin(NamedTuple):
    """An entry of the lock."""

    requirement: Requirement
    hashes: int

    @property
    def name(self) -> str:
        return canonicalize_name(self.requirement.name)

    @property
    def version(self) -> Version | None:
        """None: it is not pinned to a single one."""
        found = re.fullmatch(r"==([^*,]+)", str(self.requirement.specifier))
        return Version(found[1]) if found is not None else None


def pins(lock: str) -> list[Pin]:
    uncommented = "\n".join(line for line in lock.splitlines() if not line.lstrip().startswith("#"))
    entries = uncommented.replace("\\\n", " ").splitlines()
    return [
        Pin(Requirement(entry.partition("--hash")[0].rstrip(" \\")), len(SHA256.findall(entry)))
        for entry in entries
        if entry.strip()
    ]


def wanted() -> list[str]:
    """Every direct requirement: of what runs, of every extra, of the build, and of CI alone."""
    extras = PROJECT["project"]["optional-dependencies"].values()
    lists = [PROJECT["project"]["dependencies"], PROJECT["build-system"]["requires"], *extras]
    beside = [line for line in BESIDE.splitlines() if line and not line.startswith("#")]
    return [entry for entries in lists for entry in entries] + beside


def violations(requirements: list[str], lock: str) -> list[str]:
    """Whatever of the requirements the lock does not hold, and entries of the lock that let anything in."""
    held = pins(lock)
    found = [f"{pin.name}: not pinned to one version" for pin in held if pin.version is None]
    found += [f"{pin.name}: no hash" for pin in held if not pin.hashes]
    for text in requirements:
        asked = Requirement(text)
        name = canonicalize_name(asked.name)
        versions = [pin.version for pin in held if pin.name == name and pin.version is not None]
        if not versions:
            found.append(f"{name}: not in the lock")
        found += [
            f"{name}: {version} is not {asked.specifier}"
            for version in versions
            if version not in asked.specifier
        ]
    return found


def test_every_dependency_is_in_the_lock_with_hashes_and_within_its_range() -> None:
    assert violations(wanted(), LOCK) == [], "run `make lock`"


def test_extras_of_dependencies_are_in_the_lock_too() -> None:
    """What they bring is seen by name: nats-py's NKeys and PyJWT's cryptography."""
    assert {"nkeys", "pynacl", "cryptography"} <= {pin.name for pin in pins(LOCK)}


GOOD = f"aiohttp==3.14.5 ; sys_platform != 'win32' \\\n    --hash=sha256:{'0' * 64}\n    # via chatmesh\n"


@pytest.mark.parametrize(
    ("lock", "violation"),
    [
        (GOOD, None),
        ("", "aiohttp: not in the lock"),
        (GOOD.replace("3.14.5", "4.0.0"), "aiohttp: 4.0.0 is not <4,>=3.11"),
        (GOOD.replace("==", ">="), "aiohttp: not pinned to one version"),
        (GOOD.replace("3.14.5", "3.14.*"), "aiohttp: not pinned to one version"),
        (GOOD.replace("sha256", "md5"), "aiohttp: no hash"),
        (GOOD.replace("0" * 64, "0" * 63), "aiohttp: no hash"),
        (GOOD.replace("    --hash", "    # --hash"), "aiohttp: no hash"),
        (GOOD + "yarl==1.25.1\n", "yarl: no hash"),
    ],
    ids=[
        "good",
        "missing",
        "out of range",
        "a range",
        "a pattern",
        "md5",
        "short",
        "commented",
        "another one",
    ],
)
def test_what_a_lock_lacks_is_found(lock: str, violation: str | None) -> None:
    found = violations(["aiohttp>=3.11,<4"], lock)
    assert (violation in found) if violation is not None else found == []


def test_ci_installs_nothing_without_hashes_but_this_project() -> None:
    installs = [line.strip() for line in CI.splitlines() if re.match(r"\s*install\s", line)]
    assert [line for line in installs if "--require-hashes" not in line] == ["install -e ."]
    assert CI.count("pip install") == 1, "there is another way in than `install`"
    assert "--no-deps --no-build-isolation" in CI
