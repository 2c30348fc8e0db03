"""Fixtures for tests in a real browser."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.browser.chromium import EXECUTABLE, Chromium


@pytest.fixture
async def chromium(tmp_path: Path) -> AsyncIterator[Chromium]:
    """A browser of this test alone. Where there is none the test is skipped, but never in continuous integration."""
    if not EXECUTABLE.exists() and "CI" not in os.environ:
        pytest.skip(f"needs {EXECUTABLE}: apt-get install chromium")
    browser = await Chromium.start(tmp_path)
    yield browser
    await browser.stop()
