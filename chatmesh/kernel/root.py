"""The tree as a process: signals in, an orderly end out."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from chatmesh.kernel.events import EventKind, KernelEvent, tell
from chatmesh.kernel.failures import DrainInterrupted
from chatmesh.kernel.supervisor import Supervisor


async def run_root(
    supervisor: Supervisor,
    *,
    signals: Iterable[signal.Signals] = (signal.SIGTERM, signal.SIGINT),
    started: Callable[[], None] = lambda: None,
) -> None:
    """Run `supervisor` until it is drained. Call it in the main thread, since only that one hears signals.

    The first of `signals` drains, each further one cancels at once; each is told to the supervisor's observer. The
    handlers that were there before are back when this ends. `started` is called once the whole tree is up.

    Returns after a drain. Raises what the supervisor escalated; DrainInterrupted if a second signal cut the drain
    short; CancelledError if the caller was cancelled, after the tree has stopped.
    """
    heard: list[str] = []

    def hear(number: signal.Signals) -> None:
        heard.append(number.name)
        tell(supervisor.observe, KernelEvent(EventKind.SIGNAL, supervisor.path, signal_name=number.name))
        if len(heard) == 1:
            supervisor.drain()
        else:
            tree.cancel()

    with _handlers(signals, hear):
        tree = asyncio.create_task(supervisor.run(started), name=supervisor.path)
        await _wait_passing_on_cancels(tree)
    if tree.cancelled() and len(heard) > 1:
        raise DrainInterrupted(heard[-1])
    tree.result()


@contextmanager
def _handlers(signals: Iterable[signal.Signals], hear: Callable[[signal.Signals], None]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in signals}
    try:
        for number in before:
            loop.add_signal_handler(number, hear, number)
        yield
    finally:
        for number, handler in before.items():
            # None: it was set from outside Python, and can't be put back from here.
            if loop.remove_signal_handler(number) and handler is not None:
                signal.signal(number, handler)


async def _wait_passing_on_cancels(task: asyncio.Task[None]) -> None:
    """Wait for the end of `task`, whatever it is. Cancels of the caller go to the task, and are raised afterwards.

    They win over a failure of the task that comes at the same moment: the observer has seen that one.
    """
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
            task.cancel()
    if cancelled is not None:
        raise cancelled
