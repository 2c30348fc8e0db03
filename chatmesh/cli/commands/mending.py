"""What changes what the broker has, or how it is configured; and `chaos`."""

from __future__ import annotations

import argparse
from importlib import import_module
from pathlib import Path

from chatmesh.cli.commands.shared import Commands, add_settings, at_least_one, lazy

_STREAMS_ENSURE = (
    "Compares the broker's streams and their consumer with the declared ones, field by field. Changes nothing without "
    "--apply, and deletes nothing in any case. Give it the configuration that the workers have."
)

_CHAOS = (
    "Starts servers, pods and workers of its own in a temporary folder, has people talk to them, kills, freezes and "
    "restarts them at random, and checks that nothing was lost, repeated or reordered. Exit code 1 if anything was."
)

_NATSCONF = (
    "Makes an NKey for each process: its public half stands in the server's file, its seed in a file that nobody else "
    "can read. The server lets each process do what it needs and nothing else."
)

FAULTS = "worker-kill,worker-stop,worker-term,pod-kill,pod-stop,pod-term,broker-kill,broker-stop,reader-cut"


def add_streams(commands: Commands) -> None:
    streams = commands.add_parser("streams", help="the broker's streams beside the declared ones")
    actions = streams.add_subparsers(title="actions", required=True, metavar="ACTION")
    ensure = actions.add_parser(
        "ensure", help="show what differs; exit code 1 if anything does", description=_STREAMS_ENSURE
    )
    ensure.add_argument(
        "--apply", action="store_true", help="create what is missing, change what can be changed"
    )
    ensure.add_argument("--json", action="store_true", help="the differences as JSON")
    add_settings(ensure)
    ensure.set_defaults(command=lazy("chatmesh.cli.streams", "ensure"))


def add_dlq(commands: Commands) -> None:
    dlq = commands.add_parser("dlq", help="dead letters: requests that could not be answered")
    actions = dlq.add_subparsers(title="actions", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="the dead letters, oldest first")
    listing.add_argument("--session", metavar="SESSION", help="of this session only")
    listing.add_argument("--after", type=int, default=0, metavar="SEQ", help="those behind this one")
    listing.add_argument("--limit", type=at_least_one, default=50, metavar="N", help="so many at most (50)")
    _finish_dlq(listing, "list_letters")
    for name, text in (
        ("show", "everything of one, its headers and its body too"),
        ("retry", "queue its request once more, then remove it"),
        ("drop", "remove it"),
    ):
        action = actions.add_parser(name, help=text)
        action.add_argument("seq", type=int, metavar="SEQ", help="as `list` shows it")
        _finish_dlq(action, name)


def _finish_dlq(action: argparse.ArgumentParser, function: str) -> None:
    action.add_argument("--json", action="store_true", help="the answer as JSON")
    add_settings(action)
    action.set_defaults(command=lazy("chatmesh.cli.letters", function))


def add_chaos(commands: Commands) -> None:
    chaos = commands.add_parser(
        "chaos", help="break a mesh of its own and see whether every promise holds", description=_CHAOS
    )
    chaos.add_argument(
        "--seconds", type=float, default=60.0, metavar="N", help="so long are there faults (60)"
    )
    chaos.add_argument(
        "--seed", type=int, metavar="S", help="of the schedule of faults (default: a random one)"
    )
    chaos.add_argument("--pods", type=int, default=2, metavar="N", help="pods (2)")
    chaos.add_argument("--workers", type=int, default=3, metavar="N", help="workers (3)")
    chaos.add_argument("--servers", type=int, default=1, choices=[1, 3], help="nats-servers (1)")
    chaos.add_argument("--sessions", type=int, default=20, metavar="N", help="people who talk (20)")
    chaos.add_argument(
        "--faults", type=_fault_names, default=FAULTS, metavar="NAME,…", help=f"some of {FAULTS} (all)"
    )
    chaos.add_argument(
        "--unfenced",
        action="store_true",
        help="freeze workers that write without a fence: shows that violations are found",
    )
    chaos.add_argument("--json", type=Path, metavar="FILE", help="write the report there as JSON")
    chaos.add_argument("--keep", type=Path, metavar="DIR", help="put logs and stores there and leave them")
    chaos.set_defaults(command=lazy("chatmesh.cli.chaos", "chaos"))


def add_natsconf(commands: Commands) -> None:
    natsconf = commands.add_parser(
        "natsconf",
        help="write a nats-server configuration with a user for each process, and the processes' files",
        description=_NATSCONF,
    )
    natsconf.add_argument("--pods", type=at_least_one, default=2, metavar="N", help="pods (2)")
    natsconf.add_argument("--workers", type=at_least_one, default=2, metavar="N", help="workers (2)")
    natsconf.add_argument(
        "--out", type=Path, metavar="DIR", help="write there (default: print the server's only)"
    )
    natsconf.add_argument("--store", type=Path, metavar="DIR", help="where the server stores (OUT/jetstream)")
    natsconf.add_argument("--host", default="127.0.0.1", help="where the server listens (127.0.0.1)")
    natsconf.add_argument("--port", type=int, default=4222, help="and its port (4222)")
    natsconf.add_argument(
        "--tls",
        type=Path,
        metavar="DIR",
        help="encrypt, with server.pem, server-key.pem and ca.pem from there",
    )
    natsconf.add_argument(
        "--force", action="store_true", help="write over files that are there; makes new keys"
    )
    add_settings(natsconf)
    natsconf.set_defaults(command=lazy("chatmesh.cli.natsconf", "natsconf"))


def _fault_names(text: str) -> list[str]:
    """Imported when it is needed: `--help` and every other command cost nothing."""
    names: list[str] = import_module("chatmesh.cli.chaos").faults(text)
    return names
