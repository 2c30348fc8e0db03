"""Free ports, alone and in a row."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from chatmesh.devbroker import ports
from chatmesh.operate.processes import distinct_ports
from tests.support.ports import free_port


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", free_port(5) + 2))
        listener.listen()
        yield listener.getsockname()[1]


def test_row_leaves_out_what_is_taken(taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "FIRST", taken - 2)
    monkeypatch.setattr(ports, "LAST", taken + 2)
    assert ports.free_port(2) in (taken - 2, taken + 1)
    with pytest.raises(OSError, match="no 3 free ports in a row"):
        ports.free_port(3)


def test_rows_have_no_port_in_common() -> None:
    rows = [range(first, first + 3) for first in distinct_ports(50, in_a_row=3)]
    assert len({port for row in rows for port in row}) == 150
