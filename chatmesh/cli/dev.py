"""`chatmesh dev`: everything in one process, with a broker of its own; a banner with every URL."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from chatmesh import __version__
from chatmesh.app import Mesh
from chatmesh.cli.dev_model import settings_of_model
from chatmesh.cli.process import run_mesh
from chatmesh.cli.settings import load_settings
from chatmesh.config import Config
from chatmesh.errors import ConfigError
from chatmesh.protocol.model_names import is_served


def dev(namespace: argparse.Namespace) -> int:
    if not namespace.ephemeral:
        return _run(namespace, namespace.data)
    try:
        folder = tempfile.TemporaryDirectory(prefix="chatmesh-")
    except OSError as error:
        raise ConfigError(
            f"there is no room for temporary data: {error.strerror}",
            mend="Set TMPDIR to a folder that this user may write to, or name one with `--data`.",
        ) from error
    with folder as name:
        return _run(namespace, Path(name) / "data")


def _run(namespace: argparse.Namespace, data: Path | None) -> int:
    more = ["nats.embedded=true"]
    if sys.stderr.isatty():
        more.append("log.level=warning")
    if data is not None:
        more.append(f"nats.data_dir={data.absolute()}")
    if namespace.port is not None:
        more.append(f"http.port={namespace.port}")
    with settings_of_model(namespace.model) as model:
        loaded = load_settings(namespace, role="all", more=(*more, *model))
        _check_model(loaded.config)
        mesh = Mesh(loaded.config, workers=namespace.workers)
        return run_mesh(
            mesh, started=lambda: print(_banner(mesh, is_kept=not namespace.ephemeral), flush=True)
        )


def _check_model(config: Config) -> None:
    """The only worker is here: a default model that it does not serve would never answer."""
    known = {name for own, model in config.served_models.items() for name in (own, *model.aliases)}
    if not is_served(config.default_model, known):
        raise ConfigError(
            f"default_model is {config.default_model!r}, and no model of that name is here",
            mend=f"Known: {', '.join(sorted(known))}. Others: --model openai:NAME, anthropic:NAME, http://HOST/v1#NAME.",
        )


def _banner(mesh: Mesh, *, is_kept: bool) -> str:
    url = mesh.server.url if mesh.server is not None else "(http.enabled is false) "
    broker = mesh.embedded.server.url if mesh.embedded is not None else "(nats.embedded is false)"
    folder = mesh.config.nats.data_dir.absolute()
    kept = "kept; delete the folder to start anew" if is_kept else "temporary; gone when this ends"
    models = ", ".join(sorted(mesh.config.served_models))
    return f"""
  chatmesh {__version__} is running: pod, worker and broker in one process

    Chat page    {url}/
    Operations   {url}/ops
    API          {url}/v1/sessions/{{session_id}}/messages
    API page     {url}/docs
    Events       {url}/v1/sessions/{{session_id}}/events
    Ready        {url}/readyz
    Metrics      {url}/metrics
    NATS         {broker}  (token in {folder / "nats-server.conf"})
    Data         {folder}  ({kept})
    Models       {models}

  Try it:  curl -N {url}/v1/sessions/hello/messages -H 'Accept: text/event-stream' \\
             -H 'Content-Type: application/json' -d '{{"message": "Hi there"}}'
  Stop:    Ctrl-C
"""
