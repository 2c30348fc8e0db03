"""`chatmesh top`: who is there, what waits and how fast it goes, each second anew, until Ctrl-C.

On a terminal it has a screen of its own, and leaves the terminal as it was. Elsewhere, and with `--once`, one frame.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import orjson

from chatmesh.broker import Broker
from chatmesh.cli.settings import load_settings
from chatmesh.cli.short import ask
from chatmesh.cli.watch import members as members_view
from chatmesh.cli.watch import queue as queue_view
from chatmesh.cli.watch.words import ago
from chatmesh.config import Config
from chatmesh.errors import BrokerError, Exit, NotAuthorisedError
from chatmesh.operate.overview import Frame, Overview
from chatmesh.operate.rates import Rates

if TYPE_CHECKING:
    from chatmesh.cli.watch.screen import Screen

INTERVAL_SECONDS = 1.0
LOOK_SECONDS = 3.0
"""A look takes some milliseconds; after that the broker counts as away."""

REQUESTS_SHOWN = 50
"""Read at each look; a screen shows fewer."""


def top(namespace: argparse.Namespace) -> int:
    config = load_settings(namespace).config
    if namespace.once or namespace.json or not _is_screen():
        frame = ask(config, lambda broker: _once(broker, config))
        print(
            orjson.dumps(wire(frame), option=orjson.OPT_INDENT_2).decode() if namespace.json else text(frame)
        )
    else:
        ask(config, lambda broker: _watch(broker, config), is_quiet=True)
    return Exit.OK


def wire(frame: Frame) -> dict[str, Any]:
    return {
        "at": frame.at,
        "server": frame.server,
        "rates": None if frame.rates is None else asdict(frame.rates),
        **members_view.wire(frame.members),
        "queue": queue_view.wire(frame.queue),
    }


def text(frame: Frame) -> str:
    """A frame for a pipe or a file."""
    parts = [members_view.text(frame.members), queue_view.text(frame.queue), pace(frame.rates)]
    return "\n\n".join(parts)


def pace(rates: Rates | None) -> str:
    if rates is None:
        return "No rates yet."
    tokens = "?" if rates.tokens_per_second is None else f"{rates.tokens_per_second:,.0f}"
    return (
        f"{rates.accepted_per_minute:,.0f} messages/min, {rates.ended_per_minute:,.0f} ended/min, "
        f"{tokens} tokens/s, {rates.takeovers_per_minute:,.0f} takeovers/min, "
        f"{rates.dead_letters_per_minute:,.0f} dead letters/min, over {ago(rates.seconds)}"
    )


def _is_screen() -> bool:
    return sys.stdout.isatty() and os.environ.get("TERM") not in ("dumb", None)


def _overview(broker: Broker, config: Config) -> Overview:
    interval = config.heartbeat.interval_seconds
    return Overview(broker, interval_seconds=interval, limit=REQUESTS_SHOWN)


async def _once(broker: Broker, config: Config) -> Frame:
    """The second of two looks: the first one has no rates."""
    overview = _overview(broker, config)
    await overview.look()
    await asyncio.sleep(INTERVAL_SECONDS)
    return await overview.look()


async def _watch(broker: Broker, config: Config) -> None:
    """Until somebody leaves. What it needs to draw is imported here: a script needs none of it."""
    from chatmesh.cli.watch.screen import Screen  # noqa: PLC0415 - rich costs a start 0.1 s

    leaving = asyncio.Event()
    with _leaves_by_signal(leaving), Screen() as screen:
        drawing = asyncio.create_task(_draw(_overview(broker, config), screen), name="draw")
        leave = asyncio.create_task(leaving.wait(), name="leave")
        try:
            await asyncio.wait({drawing, leave}, return_when=asyncio.FIRST_COMPLETED)
            if drawing.done():
                drawing.result()
        finally:
            drawing.cancel()
            leave.cancel()
            await asyncio.wait({drawing, leave})


async def _draw(overview: Overview, screen: Screen) -> None:
    while True:
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                frame = await overview.look()
            screen.show(frame)
        except NotAuthorisedError:
            raise
        except BrokerError as error:
            screen.lose(error.what)
        except TimeoutError:
            screen.lose(f"it did not answer within {LOOK_SECONDS:g} s")
        await asyncio.sleep(INTERVAL_SECONDS)


@contextmanager
def _leaves_by_signal(leaving: asyncio.Event) -> Iterator[None]:
    """Ctrl-C and SIGTERM end it in good order, so that the terminal gets its own screen back."""
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)
    for number in signals:
        loop.add_signal_handler(number, leaving.set)
    try:
        yield
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
