"""`chatmesh dlq`: requests that could not be answered: list them, look at one, queue it once more, or drop it.

A body is what a user wrote: only `show` prints it.
"""

from __future__ import annotations

import argparse
import base64
from functools import partial
from typing import Any

import orjson

from chatmesh.cli import table
from chatmesh.cli.named import named
from chatmesh.cli.settings import load_settings
from chatmesh.cli.short import ask
from chatmesh.errors import Exit
from chatmesh.operate import letters
from chatmesh.operate.letters import Letter, Retried

_HEAD = ("SEQ", "WHEN", "SESSION", "MESSAGE", "BYTES", "REASON")
_SECOND = len("2026-11-26T01:02:03")


def list_letters(namespace: argparse.Namespace) -> int:
    session_id = None if namespace.session is None else named(namespace.session, "--session")
    config = load_settings(namespace).config
    question = partial(
        letters.list_letters, session_id=session_id, after=namespace.after, limit=namespace.limit
    )
    found, following = ask(config, question)
    if namespace.json:
        _print_json({"letters": [_wire(letter) for letter in found], "next": following})
        return Exit.OK
    if found:
        print(table.render(_HEAD, [_row(letter) for letter in found], ["red"] * len(found)) + "\n")
    more = "" if following is None else f" There are more: --after {following}."
    print(f"{len(found)} dead letters.{more}")
    return Exit.OK


def show(namespace: argparse.Namespace) -> int:
    letter = ask(load_settings(namespace).config, partial(letters.find_letter, seq=namespace.seq))
    if namespace.json:
        body = base64.b64encode(letter.body).decode()
        request = None if letter.request is None else letter.request.wire()
        _print_json(_wire(letter) | {"headers": letter.headers, "request": request, "body_base64": body})
        return Exit.OK
    for name, value in _wire(letter).items():
        print(f"{name}: {table.plain('' if value is None else str(value))}")
    print("\nheaders:")
    for name, value in letter.headers.items():
        print(f"  {table.plain(name)}: {table.plain(value)}")
    print(f"\nbody:\n{_body(letter)}")
    return Exit.OK


def retry(namespace: argparse.Namespace) -> int:
    retried = ask(load_settings(namespace).config, partial(letters.retry, seq=namespace.seq))
    if namespace.json:
        _print_json(
            {
                "seq": retried.letter.seq,
                "session_id": retried.letter.session,
                "message_id": retried.message_id,
                "retry_of": retried.retry_of,
                "duplicate": retried.is_duplicate,
            }
        )
    else:
        print(_told(retried))
    return Exit.OK


def drop(namespace: argparse.Namespace) -> int:
    letter = ask(load_settings(namespace).config, partial(letters.drop, seq=namespace.seq))
    if namespace.json:
        _print_json(_wire(letter))
    else:
        print(f"Dead letter {letter.seq} of session {table.plain(letter.session)} is removed.")
    return Exit.OK


def _print_json(value: dict[str, Any]) -> None:
    print(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())


def _wire(letter: Letter) -> dict[str, Any]:
    """All but what a user wrote."""
    return {
        "seq": letter.seq,
        "time": letter.time,
        "session_id": letter.session,
        "message_id": None if letter.request is None else letter.request.message_id,
        "bytes": len(letter.body),
        "reason": letter.reason,
    }


def _row(letter: Letter) -> tuple[str, ...]:
    message_id = "(undecodable)" if letter.request is None else letter.request.message_id
    when = f"{letter.time[:_SECOND]}Z"
    cells = (str(letter.seq), when, letter.session, message_id, str(len(letter.body)), letter.reason)
    return tuple(table.plain(cell) for cell in cells)


def _body(letter: Letter) -> str:
    if letter.request is not None:
        text = orjson.dumps(letter.request.wire(), option=orjson.OPT_INDENT_2).decode()
    else:
        text = letter.body.decode(errors="backslashreplace")
    return "\n".join(map(table.plain, text.split("\n")))


def _told(retried: Retried) -> str:
    letter = retried.letter
    where = f"session {table.plain(letter.session)}"
    again = ", as it was before already" if retried.is_duplicate else ""
    if retried.retry_of is not None:
        return (
            f"Dead letter {letter.seq} is queued in {where} as the new message {retried.message_id}{again}: "
            f"{retried.retry_of} has ended with an error, and a message ends once."
        )
    name = "its request" if retried.message_id is None else f"message {retried.message_id}"
    return f"Dead letter {letter.seq} is out of the dead letters: {name} is queued in {where} exactly as it was{again}."
