"""`chatmesh tail SESSION`: what is asked and answered in a session, as it is stored, until Ctrl-C.

Text, or with `--json` a line for each event. This is the one command for operators that shows what people wrote.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from typing import Any

import orjson

from chatmesh.broker import Broker
from chatmesh.cli.named import named
from chatmesh.cli.settings import load_settings
from chatmesh.cli.short import ask
from chatmesh.cli.talk.words import safe
from chatmesh.errors import Exit
from chatmesh.operate.tail import Notice, Unreadable, follow
from chatmesh.protocol.records import Record


def tail(namespace: argparse.Namespace) -> int:
    """Ctrl-C is how it ends, and no failure."""
    session_id = named(namespace.session, "SESSION")
    shown = _Lines() if namespace.json else _Text()

    async def question(broker: Broker) -> None:
        async for told in follow(broker, session_id, from_start=namespace.from_start):
            if isinstance(told, Notice):
                shown.note(told)
            else:
                shown.show(told)
                sys.stdout.flush()

    try:
        ask(load_settings(namespace).config, question, is_quiet=True)
    except KeyboardInterrupt:
        shown.end()
    except BrokenPipeError:
        # Nobody reads any more; nothing of ours may be written at the end of the process either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.FAILED
    return Exit.OK


class _Lines:
    """One JSON object a line: a request, a chunk, a reset, or what can't be read."""

    def show(self, told: Record | Unreadable) -> None:
        for line in events(told):
            sys.stdout.write(orjson.dumps(line).decode() + "\n")

    def note(self, notice: Notice) -> None:
        _complain(notice.what)

    def end(self) -> None:
        return


class _Text:
    """Questions behind a `>`, answers as they are, and lines that begin with `--` about both."""

    def __init__(self) -> None:
        self._message = ("", 0)
        self._is_in_line = False

    def show(self, told: Record | Unreadable) -> None:
        if isinstance(told, Unreadable):
            self._tell(f"{told.message_id}: what lies at sequence {told.seq} can't be read: {safe(told.why)}")
            return
        if told.reset is not None:
            what = "the whole session" if told.resets_all else told.message_id
            self._tell(f"{what}: what was shown is taken back: {safe(told.reset)}")
        self._begin(told)
        for chunk in told.chunks:
            self._chunk(told, chunk)

    def note(self, notice: Notice) -> None:
        self.end()
        _complain(notice.what)

    def end(self) -> None:
        """Whatever comes next begins a line."""
        if self._is_in_line:
            sys.stdout.write("\n")
            sys.stdout.flush()
        self._is_in_line = False

    def _begin(self, record: Record) -> None:
        """Says whose answer follows, where it is another one than before."""
        if record.request is not None:
            self.end()
            for line in _text(record.request.get("message")).split("\n"):
                sys.stdout.write(f"{record.message_id}> {line}\n")
        elif record.chunks and self._message != (record.message_id, record.attempt):
            self._tell(f"{record.message_id} goes on, attempt {record.attempt}")
        self._message = (record.message_id, record.attempt)

    def _chunk(self, record: Record, chunk: dict[str, Any]) -> None:
        if chunk.get("chunk_type") == "content" and (text := _text(chunk.get("chunk"))):
            sys.stdout.write(text)
            self._is_in_line = not text.endswith("\n")
        if chunk.get("is_final") is True:
            self._tell(f"{record.message_id}: {_ending(chunk)}")

    def _tell(self, what: str) -> None:
        self.end()
        sys.stdout.write(f"-- {what}\n")


def events(told: Record | Unreadable) -> Iterator[dict[str, Any]]:
    """What `--json` prints of a record."""
    if isinstance(told, Unreadable):
        yield {"seq": told.seq, "message_id": told.message_id, "unreadable": told.why}
        return
    place = {"seq": told.seq, "offset": told.offset, "attempt": told.attempt, "message_id": told.message_id}
    if told.reset is not None:
        yield place | {"reset": told.reset, "resets_all": told.resets_all}
    if told.request is not None:
        yield place | {"request": told.request}
    for chunk in told.chunks:
        yield place | {"chunk": chunk}


def _ending(chunk: dict[str, Any]) -> str:
    error, metadata = chunk.get("error"), chunk.get("metadata")
    if isinstance(error, dict):
        return f"error {_text(error.get('code'))}: {_text(error.get('message'))}"
    reason = metadata.get("finish_reason") if isinstance(metadata, dict) else None
    return _text(reason) or "ended"


def _text(value: object) -> str:
    return safe(value) if isinstance(value, str) else ""


def _complain(what: str) -> None:
    print(f"chatmesh: {safe(what)}", file=sys.stderr, flush=True)
