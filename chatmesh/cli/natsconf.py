"""`chatmesh natsconf`: a nats-server's configuration with a user for each process, and the files of the processes."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from chatmesh.app.parts import stream_settings
from chatmesh.broker.nkeys import UserKey, new_user_key
from chatmesh.broker.streams import declared
from chatmesh.cli.settings import load_settings
from chatmesh.errors import ConfigError, Exit
from chatmesh.operate import natsconf as made

SERVER_FILE = "nats-server.conf"
_FIRST_HTTP_PORT = 8080
_TLS_FILES = ("server.pem", "server-key.pem", "ca.pem")


def natsconf(namespace: argparse.Namespace) -> int:
    """Raises ConfigError where a file stands in the way, or one of the certificates' is missing."""
    config = load_settings(namespace).config
    out: Path | None = namespace.out
    server = made.Server(
        namespace.host,
        namespace.port,
        (namespace.store or (out or Path()) / "jetstream").resolve(),
        _certificates(namespace.tls),
    )
    keys = {id: (role, new_user_key()) for role, id in made.processes(namespace.pods, namespace.workers)}
    users = [made.User(role, id, key.public) for id, (role, key) in keys.items()]
    text = made.server_configuration(server, users, declared(stream_settings(config)))
    if out is None:
        print("# To look at only: nobody has the seeds of these keys. --out DIR writes it with them.")
        print(text, end="")
        return Exit.OK
    out = out.resolve()
    files = {SERVER_FILE: text} | _files_of_processes(keys, server, out)
    _write(out, files, force=namespace.force)
    print(_next_steps(out, server, namespace.pods, namespace.workers))
    return Exit.OK


def _files_of_processes(
    keys: dict[str, tuple[made.Role, UserKey]], server: made.Server, out: Path
) -> dict[str, str]:
    files: dict[str, str] = {}
    port = _FIRST_HTTP_PORT
    for id, (role, key) in keys.items():
        seed = f"{id}.nk"
        files[seed] = key.seed + "\n"
        files[f"{id}.yaml"] = made.process_configuration(role, id, server, out / seed, port)
        port += role == "pod"
    return files


def _certificates(folder: Path | None) -> Path | None:
    if folder is None:
        return None
    missing = [name for name in _TLS_FILES if not (folder / name).is_file()]
    if missing:
        raise ConfigError(
            f"{' and '.join(missing)} not found",
            where=str(folder),
            mend=f"--tls expects {', '.join(_TLS_FILES)} there.",
        )
    return folder.resolve()


def _write(out: Path, files: dict[str, str], *, force: bool) -> None:
    """All or nothing where one is in the way. Nobody else can read a seed, not even for the moment of its making."""
    in_the_way = [name for name in files if (out / name).exists()]
    if in_the_way and not force:
        raise ConfigError(
            f"{in_the_way[0]} is there already",
            where=str(out),
            mend="Take another folder, or --force: it makes new keys, so that every process and the server have to be "
            "started anew with them.",
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (out / name).unlink(missing_ok=True)
            mode = 0o600 if name.endswith(".nk") else 0o644
            descriptor = os.open(out / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            with os.fdopen(descriptor, "w") as file:
                file.write(text)
    except OSError as error:
        raise ConfigError(
            f"can't be written ({error.strerror})",
            where=str(error.filename or out),
            mend="Take another folder.",
        ) from error


def _next_steps(out: Path, server: made.Server, pods: int, workers: int) -> str:
    lines = [
        f"Written to {out}: {SERVER_FILE}, a .yaml and a .nk (its secret) for each process.",
        "",
        f"  nats-server -c {out / SERVER_FILE}          # {server.url}",
        f"  chatmesh streams ensure --apply -c {out / 'deploy.yaml'}",
    ]
    lines += [
        f"  chatmesh run -c {out / f'{name}-{n}.yaml'}"
        for name, count in (("worker", workers), ("pod", pods))
        for n in range(1, count + 1)
    ]
    lines += [
        f"  chatmesh dlq list -c {out / 'monitor.yaml'}",
        "",
        "Give each machine its own .yaml and .nk, and no other.",
    ]
    return "\n".join(lines)
