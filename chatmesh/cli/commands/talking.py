"""Talking to a mesh."""

from __future__ import annotations

import argparse
from pathlib import Path

from chatmesh.cli.commands.shared import Commands, lazy

_SEND = (
    "Sends one message to a mesh and prints its answer as it comes. What comes through a pipe stands below TEXT. Ctrl-C "
    "stops the answer at the mesh. Exit codes: 0 answered, 1 failed or stopped, 2 can't be sent as it is, 3 nobody "
    "reachable, 4 not authorised, 130 Ctrl-C."
)


def add_chat(commands: Commands) -> None:
    chat = commands.add_parser("chat", help="talk to a mesh: type, read, Ctrl-C stops an answer")
    _add_talk(chat)
    chat.add_argument("--plain", action="store_true", help="no markdown, no colour, no line editor")
    chat.add_argument("--thoughts", action="store_true", help="show a model's reasoning too")
    chat.add_argument(
        "--history-file", type=Path, metavar="FILE", help="keep typed lines there (default: nowhere)"
    )
    chat.set_defaults(command=lazy("chatmesh.cli.talk.chat", "chat"))


def add_send(commands: Commands) -> None:
    send = commands.add_parser("send", help="send one message and print its answer", description=_SEND)
    send.add_argument("message", nargs="?", metavar="TEXT", help="the message; `-` or nothing reads stdin")
    _add_talk(send)
    send.add_argument(
        "--message-id", metavar="ID", help="names the message, so that repeating it is safe (a new one)"
    )
    send.add_argument(
        "--timeout", type=float, metavar="SECONDS", help="give up so long after the start (default: never)"
    )
    send.add_argument("--json", action="store_true", help="one JSON object at the end instead of the text")
    send.set_defaults(command=lazy("chatmesh.cli.talk.send", "send"))


def _add_talk(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--url",
        action="append",
        metavar="URL",
        help="a pod; may be given often: it goes on at another one (or $CHATMESH_URL; http://127.0.0.1:8080)",
    )
    parser.add_argument("--session", metavar="ID", help="the session (default: a new one)")
    parser.add_argument("--model", metavar="NAME", help="the model to ask (default: the mesh's)")
    parser.add_argument("--system", metavar="TEXT", help="the system prompt")
    parser.add_argument(
        "--token-file", type=Path, metavar="FILE", help="send the token in it as bearer (or $CHATMESH_TOKEN)"
    )
