"""The process around the model's server: started, waited for, and ended with us."""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from chatmesh.devmodel.weights import INSTALL, NAME, weights
from chatmesh.errors import ConfigError

START_SECONDS = 60.0
END_SECONDS = 5.0
_ADDRESS = re.compile(rb"listening on (http://\S+)")


@contextmanager
def local_model() -> Iterator[str]:
    """Starts the server (about a second) and gives its address, such as "http://127.0.0.1:34567", until the block ends.

    Raises ConfigError where the model is not installed, or its server does not start within a minute.
    """
    if weights() is None:
        raise ConfigError(f"the model {NAME} is not installed", mend=f"Run: {INSTALL}")
    process = subprocess.Popen(
        [sys.executable, "-m", "chatmesh.devmodel"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        # Out of the terminal's group: Ctrl-C is ours, and what is being answered then still has its model.
        start_new_session=True,
    )
    try:
        yield _address(process)
    finally:
        with suppress(OSError):
            process.communicate(timeout=END_SECONDS)
        process.kill()
        process.wait()


def _address(process: subprocess.Popen[bytes]) -> str:
    if process.stdout is None:
        raise TypeError("its output has to be a pipe")
    said, deadline = b"", time.monotonic() + START_SECONDS
    while (found := _ADDRESS.search(said)) is None:
        left = deadline - time.monotonic()
        ready, _, _ = select.select([process.stdout], [], [], max(0.0, left))
        piece = os.read(process.stdout.fileno(), 4096) if ready else b""
        if not piece:
            why = "said nothing for a minute" if not ready else f"ended with {process.wait()}"
            raise ConfigError(
                f"the local model's server {why}",
                mend=f"See why: {sys.executable} -m chatmesh.devmodel",
            )
        said += piece
    return found[1].decode()
