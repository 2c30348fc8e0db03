"""`chatmesh send`: one message, its answer on stdout as it comes, everything else on stderr."""

from __future__ import annotations

import argparse
import asyncio
import os
import stat
import sys

import orjson

from chatmesh.cli.named import named
from chatmesh.cli.talk import words
from chatmesh.cli.talk.exchange import Exchange
from chatmesh.cli.talk.target import Target, target
from chatmesh.cli.talk.views import PlainView
from chatmesh.client import Client
from chatmesh.errors import ConfigError, Exit, UnansweredError
from chatmesh.protocol.tokens import new_message_id

LOST_SECONDS = 60.0
"""Without any pod that serves, so long until it gives up: longer than a rolling restart, short enough for a script."""


def send(namespace: argparse.Namespace) -> int:
    """Raises ConfigError for what can't be sent."""
    to = target(namespace)
    if namespace.timeout is not None and not namespace.timeout > 0:
        raise ConfigError(f"--timeout expects seconds above 0, got {namespace.timeout:g}")
    given = namespace.message_id
    message_id = new_message_id() if given is None else named(given, "--message-id")
    try:
        message = words.composed(namespace.message, _piped(namespace.message))
        return asyncio.run(_send(to, message_id, message, namespace.timeout, is_json=namespace.json))
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # What is still buffered has nowhere to go, and Python would complain at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.FAILED


async def _send(
    to: Target, message_id: str, message: str, timeout_seconds: float | None, *, is_json: bool
) -> int:
    view = PlainView(is_quiet=is_json)
    if to.is_new:
        view.note(f"session {to.session_id}")
    async with Client(to.urls, token=to.token) as client:
        exchange = Exchange(
            client,
            view,
            to.urls,
            to.session_id,
            message_id,
            timeout_seconds=timeout_seconds,
            lost_seconds=LOST_SECONDS,
        )
        view.begin()
        error = await exchange.run(message, to.context)
        view.end()
    if is_json:
        _print_json(exchange, error)
    if exchange.told_stop:
        view.note(exchange.told_stop)
    if error is not None:
        view.note(f"chatmesh: {words.safe(str(error))}")
    if exchange.is_interrupted:
        return Exit.INTERRUPTED
    return Exit.OK if error is None else error.exit_code


def _print_json(exchange: Exchange, error: UnansweredError | None) -> None:
    found = words.result(exchange.answer, reconnects=exchange.reconnects, error=error)
    sys.stdout.write(orjson.dumps(found).decode() + "\n")
    sys.stdout.flush()


def _piped(argument: str | None) -> str | None:
    """What came through a pipe or from a file; all of stdin where it alone is the message."""
    if sys.stdin is None:  # closed before we began
        return None
    mode = os.fstat(sys.stdin.fileno()).st_mode
    has_more = stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or stat.S_ISSOCK(mode)
    is_alone = argument == "-" or (argument is None and not sys.stdin.isatty())
    if not is_alone and (argument is None or not has_more):
        return None
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise ConfigError("stdin is not text in UTF-8", mend=f"Byte {error.start} is none.") from error
