"""Keys: who may come in, and what is sealed with."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from chatmesh.cli.commands.shared import Commands, add_settings, lazy


def add_keys(commands: Commands) -> None:
    keys = commands.add_parser("keys", help="API keys of auth.mode api_keys, in a file that pods read")
    actions = keys.add_subparsers(title="actions", required=True, metavar="ACTION")
    new = actions.add_parser("new", help="make one; its secret is printed once")
    _add_caller(new)
    new.add_argument(
        "--expires", type=_argument("duration"), metavar="90d", help="after that it is void (never)"
    )
    listing = actions.add_parser("list", help="whose they are")
    listing.add_argument("--json", action="store_true", help="as JSON")
    revoke = actions.add_parser("revoke", help="remove one; its streams end within seconds")
    revoke.add_argument("id", metavar="ID", help="as `list` shows it")
    for action, function in ((new, "new_key"), (listing, "list_keys"), (revoke, "revoke_key")):
        action.add_argument("--file", type=Path, required=True, metavar="FILE", help="the file of keys")
        action.set_defaults(command=lazy("chatmesh.cli.callers", function))


def add_keyring(commands: Commands) -> None:
    keyring = commands.add_parser(
        "keyring", help="keys that seal what is stored, in a file that all processes read"
    )
    actions = keyring.add_subparsers(title="actions", required=True, metavar="ACTION")
    new = actions.add_parser("new", help="make a key ring with one key")
    rotate = actions.add_parser("rotate", help="add a key, which wraps what is new")
    rotate.add_argument("--later", action="store_true", help="add it only; `use` makes it current")
    use = actions.add_parser("use", help="make a key current that every process knows")
    drop = actions.add_parser("drop", help="remove a key: what it still wraps is unreadable for good")
    for action in (use, drop):
        action.add_argument("id", metavar="ID", help="as `list` shows it")
    listing = actions.add_parser("list", help="the keys' ids and ages")
    functions = {"new": new, "rotate": rotate, "use": use, "drop": drop, "list_keys": listing}
    for function, action in functions.items():
        action.add_argument("--file", type=Path, required=True, metavar="FILE", help="the key ring")
        action.set_defaults(command=lazy("chatmesh.cli.keyring", function))
    rewrap = actions.add_parser(
        "rewrap", help="wrap all sessions' keys by the current one, so that an old one can go"
    )
    for action in (listing, rewrap):
        action.add_argument("--json", action="store_true", help="as JSON")
    add_settings(rewrap)
    rewrap.set_defaults(command=lazy("chatmesh.cli.keyring", "rewrap"))


def add_token(commands: Commands) -> None:
    token = commands.add_parser("token", help="make a token for development, with auth.jwt.secret")
    _add_caller(token)
    token.add_argument(
        "--ttl", type=_argument("duration"), default=3600.0, metavar="1h", help="how long it is valid (1h)"
    )
    add_settings(token)
    token.set_defaults(command=lazy("chatmesh.cli.callers", "token"))


def _add_caller(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--user", required=True, metavar="USER", help="whose sessions they are")
    parser.add_argument("--tenant", default="default", metavar="TENANT", help="of which customer (default)")
    parser.add_argument(
        "--scopes",
        type=_argument("scopes"),
        default="chat,read",
        metavar="chat,read",
        help="chat, read, operate",
    )


def _argument(name: str) -> Callable[[str], object]:
    """A type of an argument, imported when one is given."""

    def parse(text: str) -> object:
        value: object = getattr(import_module("chatmesh.cli.callers"), name)(text)
        return value

    return parse
