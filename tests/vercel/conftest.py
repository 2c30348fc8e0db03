"""The SDK's packages, installed once."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from tests.support.node import installed
from tests.vercel.chats import PROGRAMS, Chats, chat


@pytest.fixture(scope="session")
def programs() -> Path:
    return installed(PROGRAMS, "the Vercel AI SDK is")


@pytest.fixture
def chats(programs: Path, tmp_path: Path) -> Chats:
    """Begins a chat at a pod's URL: `chats(url, "hello", RESUME, id=…, body=…)`."""
    return partial(chat, programs, tmp_path)
