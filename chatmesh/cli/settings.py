"""`check`, `config` and `version`: what is known without a broker."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from chatmesh import __version__
from chatmesh.config import Loaded, json_schema, load, render_reference, render_show
from chatmesh.errors import Exit


def load_settings(
    namespace: argparse.Namespace,
    *,
    role: str | None = None,
    id: str | None = None,
    more: tuple[str, ...] = (),
) -> Loaded:
    """The configuration that the arguments name; `more` are overrides of the command itself, under the user's own."""
    default = os.environ.get("CHATMESH_CONFIG")
    path: Path | None = namespace.config or (Path(default) if default else None)
    return load(path, environ=os.environ, overrides=[*more, *namespace.overrides], role=role, id=id)


def check(namespace: argparse.Namespace) -> int:
    """Raises InvalidConfigError with every problem."""
    loaded = load_settings(namespace)
    roles = " and ".join(loaded.config.roles)
    print(f"The configuration is valid: {roles}, NATS at {', '.join(loaded.config.nats.servers)}.")
    return Exit.OK


def show(namespace: argparse.Namespace) -> int:
    match namespace.what:
        case "reference":
            print(render_reference(), end="")
        case "schema":
            print(json.dumps(json_schema(), indent=2))
        case _:
            print(render_show(load_settings(namespace)), end="")
    return Exit.OK


def version(_namespace: argparse.Namespace) -> int:
    print(f"chatmesh {__version__}")
    return Exit.OK
