"""The SDK's packages, installed once."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from tests.support.node import installed
from tests.vercel.chats import PROGRAMS, SDKS, Chats, chat


@pytest.fixture(scope="session")
def programs() -> Path:
    return installed(PROGRAMS, "the Vercel AI SDK is")


@pytest.fixture(params=[SDKS[0], *(pytest.param(sdk, marks=pytest.mark.slow) for sdk in SDKS[1:])])
def chats(programs: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Chats:
    """Begins a chat of either version at a pod's URL: `chats(url, "hello", RESUME, id=…, body=…)`."""
    return partial(chat, programs, request.param, tmp_path)
