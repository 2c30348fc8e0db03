"""`chatmesh chat`: type, read the answer while it comes, Ctrl-C stops it, go on."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, NoReturn

from chatmesh.cli.talk import failures, words
from chatmesh.cli.talk.exchange import Exchange
from chatmesh.cli.talk.history import Turn, turns
from chatmesh.cli.talk.prompt import Prompt
from chatmesh.cli.talk.room import Room
from chatmesh.cli.talk.target import Target, target
from chatmesh.client import Client, Fate
from chatmesh.errors import ChatmeshError, ConfigError, Exit, UnansweredError
from chatmesh.protocol.tokens import new_message_id, new_session_id

SHOWN_TURNS = 5
"""Of a session that somebody comes back to."""

_PAGE = "500"

_ENDS = ("cancelled", "content_filter")
"""What the line below an answer says anyway."""


def chat(namespace: argparse.Namespace) -> int:
    """Until the person leaves. Raises ConfigError for what can't be meant, and UnansweredError where nobody is reachable
    at the beginning, or does not let us in; in a script for every message without a good answer."""
    to = target(namespace)
    room = Room(is_plain=namespace.plain, has_thoughts=namespace.thoughts)
    prompt = Prompt(is_plain=room.is_plain, history_file=namespace.history_file)
    signal.signal(signal.SIGTERM, _leave)
    try:
        with asyncio.Runner() as runner:
            return _Chat(runner, to, room, prompt).run()
    except KeyboardInterrupt:
        room.gap()
        return Exit.OK if prompt.is_person else Exit.INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.FAILED
    finally:
        prompt.close()


class _Chat:
    """The loop turns only while something is asked; at the prompt everything stands still."""

    def __init__(self, runner: asyncio.Runner, to: Target, room: Room, prompt: Prompt) -> None:
        self._runner = runner
        self._to = to
        self._room = room
        self._prompt = prompt
        self._client = Client(to.urls, token=to.token)
        self._unsent = ("", "")
        """A message that may have been accepted, and its id: the same text again is the same message."""
        self._orders: dict[str, Callable[[str], None]] = {
            "help": self._help,
            "new": self._new,
            "session": self._session,
            "history": self._history,
            "model": self._model,
            "models": self._models,
            "stop": self._stop,
        }

    def run(self) -> int:
        self._runner.run(self._client.__aenter__())
        try:
            self._greet()
            return self._talk()
        finally:
            self._runner.run(self._client.__aexit__(None, None, None))

    def _talk(self) -> int:
        while True:
            try:
                line = self._prompt.ask()
            except EOFError:
                if self._prompt.has_editor:
                    self._room.gap()
                return Exit.OK
            try:
                said = words.understood(line)
            except ConfigError as error:
                self._room.complain(str(error))
                continue
            if isinstance(said, words.Order):
                if said.name == "quit":
                    return Exit.OK
                self._obey(said)
            elif said:
                self._say(said)

    # --- messages ------------------------------------------------------------------------------------------------------

    def _say(self, text: str) -> None:
        known, message_id = self._unsent
        if text != known:
            message_id = new_message_id()
        self._unsent = ("", "")
        exchange, error = self._exchange(message_id, text)
        if not self._prompt.is_person:
            _end_script(exchange, error)
        elif error is not None and exchange.fate is not Fate.ACCEPTED:
            if exchange.fate is Fate.UNKNOWN:
                self._unsent = (text, message_id)
            self._prompt.offer(text)
            if not self._prompt.has_editor:
                self._room.tell("not sent; Enter alone sends it again")

    def _join(self, turn: Turn) -> None:
        self._room.typed(turn.message)
        self._exchange(turn.message_id, None)

    def _exchange(self, message_id: str, text: str | None) -> tuple[Exchange, UnansweredError | None]:
        """Says it, or joins what is said already, and shows what comes of it."""

        async def run() -> tuple[Exchange, UnansweredError | None]:
            exchange = Exchange(self._client, self._room.view, self._to.urls, self._to.session_id, message_id)
            self._room.view.begin()
            try:
                return exchange, await exchange.run(text, self._to.context)
            finally:
                self._room.view.end()

        with self._prompt.hushed():
            exchange, error = self._runner.run(run())
        answer = exchange.answer
        if error is not None and error.code not in _ENDS and self._prompt.is_person:
            self._room.complain(words.safe(str(error)))
        elif exchange.is_interrupted and answer.finish_reason != "cancelled":
            self._room.tell(exchange.told_stop)
        if answer.finish_reason is not None:
            first = exchange.first_seconds if text is not None else None
            self._room.tell(words.summary(answer, first_seconds=first, seconds=exchange.seconds))
        self._room.gap()
        return exchange, error

    # --- orders --------------------------------------------------------------------------------------------------------

    def _obey(self, order: words.Order) -> None:
        try:
            self._orders[order.name](order.argument)
        except ChatmeshError as error:
            self._room.complain(str(error))

    def _help(self, _: str) -> None:
        for name, text in words.COMMANDS.items():
            self._room.tell(f"/{name:<9}{text}")
        self._room.tell(
            "Ctrl-C stops an answer. A line that ends with \\ goes on in the next one. // begins a message with /."
        )

    def _new(self, _: str) -> None:
        self._to.session_id = new_session_id()
        self._session("")

    def _session(self, _: str) -> None:
        urls = "".join(f" --url {url}" for url in self._to.urls)
        self._room.tell(f"session {self._to.session_id}")
        self._room.tell(f"come back with: chatmesh chat{urls} --session {self._to.session_id}")

    def _model(self, name: str) -> None:
        if name:
            self._to.context["model"] = name
        self._room.tell(f"model: {self._to.context.get('model', 'the one that the mesh takes by default')}")

    def _models(self, _: str) -> None:
        for model in self._get("/v1/models").get("data", []):
            mark = "*" if model.get("id") == self._to.context.get("model") else " "
            self._room.tell(f"{mark} {model.get('id')}")

    def _history(self, _: str) -> None:
        known = self._turns()
        self._show(known)
        if not known:
            self._room.tell("nothing was said in this session yet")

    def _stop(self, _: str) -> None:
        """What runs, not what waits behind it."""
        running = [turn for turn in self._turns() if not turn.is_over]
        if not running:
            self._room.tell("nothing is being answered in this session")
            return
        stop = self._client.stop(self._to.session_id, running[0].message_id)
        status, body = self._runner.run(stop)
        if status not in (200, 202):
            raise failures.refused(status, body, self._to.urls)
        self._room.tell(f"stopped: message {running[0].message_id}")

    # --- what the mesh knows -------------------------------------------------------------------------------------------

    def _greet(self) -> None:
        """Whether somebody is there, and lets us in, shows before anything is typed."""
        self._get("/v1/models")
        model = self._to.context.get("model")
        parts = [
            "chatmesh",
            f"session {self._to.session_id}",
            *([f"model {model}"] if model else []),
            "/help",
        ]
        self._room.tell(" · ".join(parts))
        if self._to.is_new:
            return
        known = self._turns()
        if self._prompt.is_person:
            self._show([turn for turn in known if turn.is_over][-SHOWN_TURNS:])
        for turn in known:
            if not turn.is_over:
                self._join(turn)

    def _turns(self) -> list[Turn]:
        """Of the session, oldest first; none where nobody has said anything."""
        rows: list[dict[str, Any]] = []
        query = {"limit": _PAGE}
        while True:
            page = self._get(f"/v1/sessions/{self._to.session_id}/messages", query, or_none=True)
            rows += page.get("messages", [])
            if not page.get("next"):
                return turns(rows)
            query["after"] = str(page["next"])

    def _show(self, known: list[Turn]) -> None:
        for turn in known:
            self._room.typed(turn.message)
            if turn.answer:
                self._room.answer(turn.answer)
            if turn.status != "done":
                self._room.tell(f"{turn.status}{f': {turn.reason}' if turn.reason else ''}")
            self._room.gap()

    def _get(
        self, path: str, query: dict[str, str] | None = None, *, or_none: bool = False
    ) -> dict[str, Any]:
        """Raises UnansweredError for what is no answer; with `or_none` what is not there is empty."""
        status, body = self._runner.run(self._client.get(path, **(query or {})))
        if status == 404 and or_none:
            return {}
        if status != 200:
            raise failures.refused(status, body, self._to.urls)
        return body


def _leave(number: int, _frame: FrameType | None) -> NoReturn:
    """Not at once: the terminal gets back what was changed on it."""
    raise SystemExit(128 + number)


def _end_script(exchange: Exchange, error: UnansweredError | None) -> None:
    """Lines of a pipe belong together: after one without a good answer the next ones are not asked."""
    if exchange.is_interrupted:
        raise KeyboardInterrupt
    if error is not None:
        raise error
