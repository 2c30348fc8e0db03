"""Fixtures for tests in a real browser."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import pytest

from tests.browser.chromium import EXECUTABLE, Chromium
from tests.support.processes import Process

# 100 tokens in seven seconds: long enough to reload in between on a slow machine, and twice.
PACE = ("--set", "demo.tokens_per_second=15")

# In fifteen seconds: time for another tab, or seven, to be opened and shown on a busy machine.
SLOW_PACE = ("--set", "demo.tokens_per_second=6.5")


@pytest.fixture
async def chromium(tmp_path: Path) -> AsyncIterator[Chromium]:
    """A browser of this test alone. Where there is none the test is skipped, but never in continuous integration."""
    if not EXECUTABLE.exists() and "CI" not in os.environ:
        pytest.skip(f"needs {EXECUTABLE}: apt-get install chromium")
    browser = await Chromium.start(tmp_path)
    yield browser
    await browser.stop()


@pytest.fixture
async def server(chatmesh: Callable[..., Process]) -> str:
    """The URL of a chatmesh of this test alone."""
    process = chatmesh("dev", "--ephemeral", "--port", "0", *PACE)
    return (await process.wait_for_line(r"Chat page\s+(http://\S+)/"))[1]


@pytest.fixture
async def slow_server(chatmesh: Callable[..., Process]) -> str:
    """The same, whose answers last longer."""
    process = chatmesh("dev", "--ephemeral", "--port", "0", *SLOW_PACE)
    return (await process.wait_for_line(r"Chat page\s+(http://\S+)/"))[1]


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session
