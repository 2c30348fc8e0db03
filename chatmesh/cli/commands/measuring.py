"""`bench`."""

from __future__ import annotations

import argparse
from pathlib import Path

from chatmesh.cli.commands.shared import Commands, at_least_one, lazy

NAMES = "burst, paced, ttft, fanout, idle, resume, takeover, stop, start, long, many, slow, crowd, deep, soak"

_BENCH = (
    "Starts servers, pods and workers of its own in a temporary folder, and a client process that asks and reads; beside it, "
    "in the same round, a bare server without a broker, the floor. Every chunk is checked: a run that lost anything is no "
    "result, and the exit code is then 1. It fails on nothing else, whatever the times are."
)


def add_bench(commands: Commands) -> None:
    bench = commands.add_parser(
        "bench", help="how fast a mesh of its own is, beside a bare server", description=_BENCH
    )
    bench.add_argument(
        "scenarios", nargs="*", metavar="SCENARIO", help=f"some of {NAMES} (all but deep and soak)"
    )
    bench.add_argument("--rounds", type=at_least_one, default=3, metavar="N", help="rounds (3)")
    bench.add_argument("--pods", type=at_least_one, default=1, metavar="N", help="pods, at least (1)")
    bench.add_argument("--workers", type=at_least_one, default=1, metavar="N", help="workers, at least (1)")
    bench.add_argument(
        "--processes", type=at_least_one, default=1, metavar="N", help="of each pod, behind one port (1)"
    )
    bench.add_argument(
        "--layout",
        choices=["pinned", "free"],
        default="pinned",
        help="pinned: all servers on one core, the client on another (default); free: as the system likes",
    )
    bench.add_argument("--broker", metavar="URL", help="a broker that is there (default: one of its own)")
    bench.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="a.b=c",
        help="a setting of the pods and workers; may be given often",
    )
    bench.add_argument("--quick", action="store_true", help="smaller loads: for a first look")
    bench.add_argument(
        "--minutes", type=_minutes, metavar="M", help="how long `soak` goes on (60; with --quick 2)"
    )
    bench.add_argument(
        "--quiet",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="wait up to so long before each run until nobody else uses the machine (0)",
    )
    bench.add_argument("--json", action="store_true", help="the result as JSON instead of a table")
    bench.add_argument(
        "--save", type=Path, metavar="FILE", help="write the figures there, for a later --baseline"
    )
    bench.add_argument("--report", type=Path, metavar="FILE", help="write a page with plots there (HTML)")
    bench.add_argument(
        "--baseline", type=Path, metavar="FILE", help="show the change since that saved result"
    )
    bench.add_argument(
        "--beside",
        type=Path,
        metavar="FILE",
        help="show figures of other systems beside ours: JSON, described in docs/performance.md",
    )
    bench.add_argument("--keep", type=Path, metavar="DIR", help="put logs and stores there and leave them")
    bench.set_defaults(command=lazy("chatmesh.cli.bench", "bench"))


def _minutes(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"more than 0 minutes are expected, got {text}")
    return number
