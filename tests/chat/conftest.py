"""`chatmesh chat` and `chatmesh send` as people use them: real processes, in a directory of the test."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.chat.terminal import Terminal


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the person who runs the tests has set for their own chatmesh."""
    for name in [name for name in os.environ if name.startswith("CHATMESH_")]:
        monkeypatch.delenv(name)


@pytest.fixture
async def terminal(tmp_path: Path) -> AsyncIterator[Callable[..., Terminal]]:
    """Starts `chatmesh ARGUMENTS…` on a terminal; all are ended at teardown."""
    begun: list[Terminal] = []

    def start(*arguments: str, rows: int = 24, columns: int = 80) -> Terminal:
        begun.append(Terminal(tmp_path, *arguments, rows=rows, columns=columns))
        return begun[-1]

    yield start
    for each in begun:
        each.close()
