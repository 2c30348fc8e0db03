"""What can't be meant is refused before anybody is asked."""

from __future__ import annotations

import pytest

from chatmesh.cli import main


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["queue", "--limit", "501"], "at most 500"),
        (["sessions", "--limit", "0"], "at least 1"),
        (["sessions", "--state", "dead"], "invalid choice"),
        (["ps", "--role", "all"], "invalid choice"),
        (["tail"], "SESSION"),
    ],
)
def test_argument_that_makes_no_sense_is_refused(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert said in capsys.readouterr().err


def test_name_that_is_no_session_is_a_mistake_of_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tail", "a.b"]) == 2
    assert "SESSION" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["top", "ps", "sessions", "queue", "tail"])
def test_server_of_ones_own_is_nobody_to_ask(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [command, *(["s"] if command == "tail" else []), "--set", "nats.embedded=true"]
    assert main(arguments) == 2
    assert "nobody to ask" in capsys.readouterr().err
