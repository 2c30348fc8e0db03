"""Short ways to load a configuration from text and to see what was wrong with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from chatmesh.config import Config, InvalidConfigError, Loaded, Problem, load

EMPTY: Mapping[str, str] = {}


def load_text(
    directory: Path, text: str | bytes, environ: Mapping[str, str] = EMPTY, overrides: Sequence[str] = ()
) -> Loaded:
    """Load `text` as the file `chatmesh.yaml` in `directory`."""
    path = directory / "chatmesh.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return load(path, environ=environ, overrides=overrides)


def config_of(*overrides: str, environ: Mapping[str, str] = EMPTY) -> Config:
    """Load without a file."""
    return load(None, environ=environ, overrides=overrides).config


def problems_in(
    directory: Path, text: str | bytes, environ: Mapping[str, str] = EMPTY, overrides: Sequence[str] = ()
) -> tuple[Problem, ...]:
    """Give the problems of a file, with the directory taken off their origins. Fails where there is none."""
    with pytest.raises(InvalidConfigError) as caught:
        load_text(directory, text, environ, overrides)
    lead = f"{directory}/"
    return tuple(
        Problem(
            found.path, found.origin.removeprefix(lead), found.message.replace(lead, ""), found.suggestion
        )
        for found in caught.value.problems
    )


def flag_problem(*overrides: str, environ: Mapping[str, str] = EMPTY) -> Problem:
    """Give the one problem of loading without a file."""
    with pytest.raises(InvalidConfigError) as caught:
        load(None, environ=environ, overrides=overrides)
    (problem,) = caught.value.problems
    return problem
