"""Ports that no other process of this run of the tests chooses, however long it takes until they are bound."""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Iterator

from chatmesh.devbroker import ports


def _own() -> Iterator[int]:
    """One after the other, so that none comes again soon: a broker that is restarted finds its port free."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    size = (ports.LAST - ports.FIRST + 1) // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    own = range(ports.FIRST + worker * size, ports.FIRST + (worker + 1) * size)
    begin = random.SystemRandom().randrange(size)
    return itertools.cycle([*own[begin:], *own[:begin]])


_ports = _own()


def free_port(in_a_row: int = 1) -> int:
    """A TCP port on 127.0.0.1 that nothing listens on at this moment, the first of so many such ports in a row."""
    while True:
        row = [next(_ports) for _ in range(in_a_row)]
        if row[-1] - row[0] == in_a_row - 1 and all(map(ports._is_free, row)):
            return row[0]
