"""What shows a mesh that runs."""

from __future__ import annotations

import argparse

from chatmesh.cli.commands.shared import Commands, add_settings, at_least_one, lazy

_MOST = 500

_SESSIONS = (
    "What is queued or running first, then the others, the latest claim first. A row costs the same, however many sessions "
    "there are."
)

_TAIL = (
    "Prints what is asked and answered in a session as it is stored, until Ctrl-C; over a restart of the broker nothing is "
    "lost and nothing comes twice. It shows what people wrote."
)

_TOP = (
    "Pods, workers, the queue and how fast it goes, each second anew, until Ctrl-C. Where stdout is no terminal, and with "
    "--once or --json, one frame."
)


def add_ps(commands: Commands) -> None:
    ps = commands.add_parser("ps", help="pods and workers: who lives, and what they do")
    ps.add_argument("--role", choices=["pod", "worker"], help="of this role only")
    _finish(ps, "members", "ps")


def add_sessions(commands: Commands) -> None:
    sessions = commands.add_parser(
        "sessions", help="sessions: what they do, at which worker, read at which pods", description=_SESSIONS
    )
    sessions.add_argument(
        "ids", nargs="?", default="*", metavar="IDS", help="only these; `*` and `?` stand for letters (all)"
    )
    sessions.add_argument("--state", choices=["running", "queued", "idle"], help="only those")
    sessions.add_argument("--worker", metavar="ID", help="last claimed by this worker only")
    sessions.add_argument("--pod", metavar="ID", help="with readers at this pod only")
    sessions.add_argument("--limit", type=_limit, default=50, metavar="N", help="so many at most (50)")
    sessions.add_argument(
        "--before", type=at_least_one, default=0, metavar="SEQ", help="the next page, as the page before says"
    )
    _finish(sessions, "sessions", "sessions")


def add_queue(commands: Commands) -> None:
    queue = commands.add_parser(
        "queue", help="unanswered messages, oldest first; and how full the streams are"
    )
    queue.add_argument("--limit", type=_limit, default=50, metavar="N", help="so many at most (50)")
    _finish(queue, "queue", "queue")


def add_tail(commands: Commands) -> None:
    tail = commands.add_parser(
        "tail", help="follow a session: what is asked and answered, as it is stored", description=_TAIL
    )
    tail.add_argument("session", metavar="SESSION", help="the session's id")
    tail.add_argument(
        "--from-start", action="store_true", help="from the beginning of what is kept (from now on)"
    )
    _finish(tail, "tail", "tail")


def add_top(commands: Commands) -> None:
    top = commands.add_parser(
        "top", help="pods, workers, the queue and rates, each second anew", description=_TOP
    )
    top.add_argument("--once", action="store_true", help="one frame, after a second")
    _finish(top, "top", "top")


def _finish(parser: argparse.ArgumentParser, module: str, function: str) -> None:
    parser.add_argument("--json", action="store_true", help="as JSON")
    add_settings(parser)
    parser.set_defaults(command=lazy(f"chatmesh.cli.watch.{module}", function))


def _limit(text: str) -> int:
    number = at_least_one(text)
    if number > _MOST:
        raise argparse.ArgumentTypeError(f"at most {_MOST} are read at once, got {number}")
    return number
