"""A free port on loopback that stays ours over a restart of the server."""

from __future__ import annotations

import random
import socket

# Below the range from which Linux and macOS give local ports to outgoing connections (32768 and 49152 upwards).
# A server's port out of that range may be taken by any client while the server restarts, even by a client that is
# just trying to reconnect to it: TCP lets it connect to itself.
FIRST, LAST = 20_000, 29_999

_TRIES = 50


def free_port() -> int:
    """A TCP port on 127.0.0.1 that nothing listens on at this moment. Somebody may take it before the caller does."""
    choose = random.SystemRandom()
    for _ in range(_TRIES):
        port = choose.randint(FIRST, LAST)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError(f"no free port found between {FIRST} and {LAST} in {_TRIES} tries")
