"""docs/start.md: its commands, as they stand but for the port, show what the page says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.pages import page
from tests.docs.test_tour import run_blocks
from tests.support.processes import free_port

START = page("docs/start.md")


@pytest.mark.slow
async def test_every_command_of_the_start_runs_and_shows_what_is_said(tmp_path: Path) -> None:
    checked, said, asked, read, _ = await run_blocks(
        START.blocks("sh start"), {"8080": str(free_port())}, tmp_path
    )
    assert "The configuration is valid" in checked
    assert "You said: good morning" in said
    assert '"message_id":"long"' in asked
    assert read.strip() == "You said: " + " ".join(map(str, range(1, 41)))
