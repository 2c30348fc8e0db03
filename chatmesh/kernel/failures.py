"""What the kernel raises: refusals of a mailbox, reasons for a crash, and what a supervisor escalates.

What it does not do: know the families of errors of the application. Whoever runs the root translates.
"""

# A refusal is an answer and not always a mistake, so names follow `asyncio.QueueFull` and carry no suffix.
# ruff: noqa: N818

from __future__ import annotations


class MailboxFull(Exception):
    """`send_nowait` found no room, or only room that is promised to senders who came first. Nothing was stored."""


class MailboxClosed(Exception):
    """The mailbox takes no more messages or, for its reader, is closed and empty. Nothing was stored."""


class ChildReturned(Exception):
    """A child that should stay returned though nobody drained it."""


class ChildCancelled(Exception):
    """A child ended with a CancelledError that its supervisor had not asked for. `__cause__` is that error."""


class Unrepairable(Exception):
    """What no restart can mend: raised by a service, `from` the reason. Its supervisor gives up at once, and so does each
    one above it."""


class SupervisionFailed(Exception):
    """A supervisor stopped its children and gave up; `__cause__` is the crash that made it do so.

    `path` is the supervisor's place in the tree, `child_path` that of the child that crashed last. With nested
    supervisors the causes form a chain; `real_cause` goes to its end.
    """

    def __init__(self, what: str, *, path: str, child_path: str) -> None:
        super().__init__(what)
        self.path = path
        self.child_path = child_path


class StartFailed(SupervisionFailed):
    """A child crashed on its very first start, before it was up. A first start is never retried."""


class RestartIntensityExceeded(SupervisionFailed):
    """Children crashed more often than the supervisor's `Intensity` allows."""


class Unrepaired(SupervisionFailed, Unrepairable):
    """A child raised Unrepairable."""


class DrainInterrupted(Exception):
    """A second signal came before the drain was over: the tree was cancelled and work may be unfinished.

    `signal_name` is the name of that signal, like "SIGTERM".
    """

    def __init__(self, signal_name: str) -> None:
        super().__init__(f"{signal_name} came while draining, so the tree was cancelled before it was done")
        self.signal_name = signal_name


def real_cause(error: BaseException) -> BaseException:
    """The exception that a child really raised, below every `SupervisionFailed` and `Unrepairable`; `error` itself if it is
    none."""
    while isinstance(error, SupervisionFailed | Unrepairable) and error.__cause__ is not None:
        error = error.__cause__
    return error
