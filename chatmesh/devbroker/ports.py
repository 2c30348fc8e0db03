"""A free port on loopback that stays ours over a restart of the server."""

from __future__ import annotations

import random
import socket

# Below the range from which Linux and macOS give local ports to outgoing connections (32768 and 49152 upwards).
# A server's port out of that range may be taken by any client while the server restarts, even by a client that is
# just trying to reconnect to it: TCP lets it connect to itself.
FIRST, LAST = 20_000, 29_999

_TRIES = 50


def free_port(in_a_row: int = 1) -> int:
    """A TCP port on 127.0.0.1 that nothing listens on at this moment, the first of so many such ports in a row. Somebody may
    take them before the caller does. Raises OSError where none are found."""
    choose = random.SystemRandom()
    for _ in range(_TRIES):
        first = choose.randint(FIRST, LAST - in_a_row + 1)
        if all(_is_free(port) for port in range(first, first + in_a_row)):
            return first
    raise OSError(f"no {in_a_row} free ports in a row found between {FIRST} and {LAST} in {_TRIES} tries")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
