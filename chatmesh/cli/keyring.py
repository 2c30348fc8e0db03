"""`chatmesh keyring`: the keys that wrap the data keys of sealed sessions, in a file that every pod and worker reads. No key
is ever printed."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import orjson

from chatmesh.broker import Broker
from chatmesh.cli import table
from chatmesh.cli.replaced import alone, read_text, replace_text
from chatmesh.cli.settings import load_settings
from chatmesh.cli.short import ask
from chatmesh.errors import ConfigError, Exit
from chatmesh.operate import rewrapping
from chatmesh.protocol.keyring import KeyRing, new_key, parse_ring, render_ring, with_key
from chatmesh.protocol.timestamps import iso


def new(namespace: argparse.Namespace) -> int:
    path: Path = namespace.file
    with alone(path):
        if path.exists():
            raise ConfigError(
                "there is a key ring already",
                where=str(path),
                mend="`chatmesh keyring rotate` adds a key to it.",
            )
        ring = with_key(None, new_key(iso(time.time())), is_current=True)
        replace_text(path, render_ring(ring))
    print(f"The key ring has one key, {ring.current}. Copy the file to every pod and worker, workers first.")
    return Exit.OK


def rotate(namespace: argparse.Namespace) -> int:
    path: Path = namespace.file
    with alone(path):
        ring = _read(path)
        key = new_key(iso(time.time()))
        replace_text(path, render_ring(with_key(ring, key, is_current=not namespace.later)))
    if namespace.later:
        print(
            f"Key {key.id} is added and wraps nothing yet. When every pod and worker has the file: "
            f"chatmesh keyring use {key.id} --file {path}"
        )
    else:
        print(f"Key {key.id} is current. Copy the file to every worker, then to every pod.")
    return Exit.OK


def use(namespace: argparse.Namespace) -> int:
    path: Path = namespace.file
    with alone(path):
        ring = _known(path, namespace.id)
        replace_text(path, render_ring(KeyRing(ring.keys, namespace.id)))
    print(f"Key {namespace.id} is current. Copy the file to every pod and worker.")
    return Exit.OK


def drop(namespace: argparse.Namespace) -> int:
    path: Path = namespace.file
    with alone(path):
        ring = _known(path, namespace.id)
        if namespace.id == ring.current:
            raise ConfigError("the current key can't be dropped", where=str(path), mend="Rotate first.")
        left = {name: key for name, key in ring.keys.items() if name != namespace.id}
        replace_text(path, render_ring(KeyRing(left, ring.current)))
    print(
        f"Key {namespace.id} is dropped. What it still wraps can't be read by anybody without a copy of it."
    )
    return Exit.OK


def list_keys(namespace: argparse.Namespace) -> int:
    ring = _read(namespace.file)
    keys = [
        {"id": key.id, "created_at": key.created_at, "current": key.id == ring.current}
        for key in ring.keys.values()
    ]
    if namespace.json:
        print(orjson.dumps({"keys": keys}, option=orjson.OPT_INDENT_2).decode())
        return Exit.OK
    rows = [
        (
            table.plain(str(key["id"])),
            table.plain(str(key["created_at"])),
            "current" if key["current"] else "",
        )
        for key in keys
    ]
    print(table.render(("ID", "CREATED", ""), rows, [""] * len(rows)))
    return Exit.OK


def rewrap(namespace: argparse.Namespace) -> int:
    config = load_settings(namespace).config

    async def question(broker: Broker) -> rewrapping.Rewrapped:
        return await rewrapping.rewrap(broker)

    done = ask(config, question)
    if namespace.json:
        print(
            orjson.dumps(
                {"rewrapped": done.changed, "current": done.current, "unreadable": done.unreadable},
                option=orjson.OPT_INDENT_2,
            ).decode()
        )
    else:
        print(
            f"{done.changed} sessions are wrapped by the current key now, {done.current} were before, "
            f"{done.unreadable} can't be opened with this key ring."
        )
    return Exit.FAILED if done.unreadable else Exit.OK


def _read(path: Path) -> KeyRing:
    return parse_ring(read_text(path), str(path))


def _known(path: Path, id: str) -> KeyRing:
    ring = _read(path)
    if id not in ring.keys:
        raise ConfigError(
            f"there is no key {id!r:.80}", where=str(path), mend=f"There are {', '.join(ring.keys)}."
        )
    return ring
