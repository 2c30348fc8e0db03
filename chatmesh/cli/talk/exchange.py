"""One message at a mesh: said, its answer read to the end and shown, stopped where Ctrl-C says so.

In: a message, or the id of one that is being answered. Out: an Answer; UnansweredError where there is no good one. It goes
on over any number of connections, and says so where somebody waits.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from chatmesh.cli.talk import failures, words
from chatmesh.cli.talk.views import View
from chatmesh.client import Answer, BegunAnew, Called, Client, Fate, Piece, Said, Thought
from chatmesh.errors import ProtocolError, RefusedError, UnansweredError

REACH_SECONDS = 3.0
"""So long is tried to reach anybody at all before a message is accepted."""

PATIENCE_SECONDS = 60.0
"""So long is tried to be accepted by pods that can't now: a full queue, a broker that is away."""

TELL_SECONDS = 1.0
"""A connection that is back before is not worth a word."""

ACCEPT_SECONDS = 2.0
"""After Ctrl-C, for a message that is on its way: what is accepted can be stopped."""

END_SECONDS = 10.0
"""After a stop is stored, for the final chunk."""


_Task = asyncio.Task[UnansweredError | None]


class Exchange:
    """Of one task, once. `answer` holds what there is so far, also after an error."""

    def __init__(
        self,
        client: Client,
        view: View,
        urls: list[str],
        session_id: str,
        message_id: str,
        *,
        timeout_seconds: float | None = None,
        lost_seconds: float | None = None,
    ) -> None:
        """`timeout_seconds` bounds all of it, `lost_seconds` each time without a pod that serves."""
        self.answer = Answer(session_id, message_id)
        self.is_interrupted = False
        self.told_stop = ""
        """After an interrupt: what became of the answer, for the one who did it."""
        self.reconnects = 0
        self.first_seconds: float | None = None
        self.seconds = 0.0
        """From the first token to the last."""
        self.fate = Fate.REFUSED
        self._client = client
        self._view = view
        self._urls = urls
        self._timeout_seconds = timeout_seconds
        self._lost_seconds = lost_seconds
        self._interrupted = asyncio.Event()
        self._settled = asyncio.Event()
        self._is_unread = False
        self._going: _Task | None = None
        self._stopping: _Task | None = None
        self._lost: asyncio.Timeout | None = None
        self._telling: asyncio.TimerHandle | None = None
        self._has_told = False
        self._began = asyncio.get_running_loop().time()

    async def run(self, message: str | None, context: Mapping[str, str]) -> UnansweredError | None:
        """`message` None joins one that was accepted before. Returns what is wrong, None where all is well, and where it
        was interrupted and the mesh knows. Raises BrokenPipeError where nobody reads any more; the answer is stopped then."""
        with self._listening():
            async with asyncio.TaskGroup() as group:
                self._going = group.create_task(self._go(message, context), name="exchange")
                self._stopping = group.create_task(self._stop_when_told(self._going), name="stop")
                await asyncio.wait({self._going})
                if not self.is_interrupted:
                    self._stopping.cancel()
        if self._is_unread:
            await self._client.stop(self.answer.session_id, self.answer.message_id)
            raise BrokenPipeError
        if not self._stopping.cancelled():
            return self._stopping.result()
        return self._left() if self._going.cancelled() else self._going.result()

    # --- the answer ----------------------------------------------------------------------------------------------------

    async def _go(self, message: str | None, context: Mapping[str, str]) -> UnansweredError | None:
        try:
            async with asyncio.timeout(self._timeout_seconds):
                if message is not None:
                    await self._send(message, context)
                self.fate = Fate.ACCEPTED
                self._settled.set()
                await self._read()
        except TimeoutError:
            return self._late()
        except UnansweredError as error:
            return error
        except RefusedError as error:
            return failures.no_stream(error, self._urls)
        except ProtocolError as error:
            return UnansweredError(str(error), code="protocol")
        except BrokenPipeError:
            self._is_unread = True
            return None
        finally:
            self._settled.set()
            self._forget_loss()
        return failures.failure(self.answer)

    async def _send(self, message: str, context: Mapping[str, str]) -> None:
        self.fate = Fate.UNKNOWN  # until it is told
        sent = await self._client.send(
            self.answer.session_id,
            self.answer.message_id,
            message,
            context=context,
            patience_seconds=PATIENCE_SECONDS,
            reach_seconds=REACH_SECONDS,
        )
        self.fate = sent.fate
        if sent.fate is not Fate.ACCEPTED:
            raise failures.not_sent(sent, self.answer.session_id, self._urls)

    async def _read(self) -> None:
        answer = self.answer
        reader = self._client.read(answer.session_id, message_id=answer.message_id, on_link=self._on_link)
        try:
            async with asyncio.timeout(None) as self._lost, reader:
                async for event in reader:
                    for piece in answer.take(event):
                        self._show(piece)
                    if answer.is_over:
                        break
        except TimeoutError as error:
            lost = failures.unreachable(self._urls)
            lost.mend = failures.come_back(answer)
            raise lost from error
        finally:
            self.reconnects = max(0, reader.connects - 1)
            self._lost = None

    def _show(self, piece: Piece) -> None:
        now = asyncio.get_running_loop().time() - self._began
        if self.first_seconds is None and not isinstance(piece, BegunAnew):
            self.first_seconds = now
        match piece:
            case Said(text):
                self._view.say(text)
            case Thought(text):
                self._view.think(text)
            case Called(name, arguments):
                self._view.call(words.called(name, arguments))
            case BegunAnew(reason):
                self.first_seconds = None
                why = f" ({words.safe(reason)})" if reason else ""
                self._view.anew(f"the answer begins anew{why}; what is above does not count")
        self.seconds = now - (now if self.first_seconds is None else self.first_seconds)

    def _late(self) -> UnansweredError:
        if self.fate is not Fate.ACCEPTED:
            error = failures.unreachable(self._urls)
            error.mend = failures.maybe(self.answer.session_id, self.answer.message_id)
            return error
        return UnansweredError(
            f"the answer has not ended within {self._timeout_seconds:g} s",
            code="timeout",
            mend=failures.come_back(self.answer),
        )

    # --- the connection ------------------------------------------------------------------------------------------------

    def _on_link(self, is_served: bool) -> None:
        if is_served:
            if self._has_told:
                self._view.note(f"resumed at chunk {self.answer.next_chunk}")
            self._forget_loss()
        elif self._telling is None:
            loop = asyncio.get_running_loop()
            self._telling = loop.call_later(TELL_SECONDS, self._tell_loss)
            if self._lost_seconds is not None:
                self._give_up_at(loop.time() + self._lost_seconds)

    def _tell_loss(self) -> None:
        self._has_told = True
        self._view.note("reconnecting…")

    def _forget_loss(self) -> None:
        if self._telling is not None:
            self._telling.cancel()
        self._telling, self._has_told = None, False
        self._give_up_at(None)

    def _give_up_at(self, when: float | None) -> None:
        if self._lost is not None and not self._lost.expired():
            self._lost.reschedule(when)

    # --- Ctrl-C --------------------------------------------------------------------------------------------------------

    @contextmanager
    def _listening(self) -> Iterator[None]:
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            yield  # a shell's background job: Ctrl-C is meant for others
            return
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, self._interrupt)
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGINT)

    def _interrupt(self) -> None:
        """The first stops the answer, the second leaves at once."""
        if self.is_interrupted:
            for task in (self._going, self._stopping):
                if task is not None:
                    task.cancel()
        self.is_interrupted = True
        self._interrupted.set()

    async def _stop_when_told(self, going: _Task) -> UnansweredError | None:
        await self._interrupted.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(ACCEPT_SECONDS):
                await self._settled.wait()
        if self.fate is not Fate.ACCEPTED:
            going.cancel()
        status, body = await self._client.stop(self.answer.session_id, self.answer.message_id)
        if status in (200, 202):
            await asyncio.wait({going}, timeout=END_SECONDS)
        going.cancel()
        if status not in (200, 202, 404):
            return self._not_stopped(failures.refused(status, body, self._urls))
        ended = self.answer.finish_reason
        told = "nothing was asked" if status == 404 else "it had ended already"
        if status == 202 and ended in (None, "cancelled"):
            told = f"stopped after {words.counted(self.answer.tokens)}"
        self.told_stop = f"{told}: session {self.answer.session_id}, message {self.answer.message_id}"
        return None

    def _not_stopped(self, error: UnansweredError) -> UnansweredError:
        if self.fate is Fate.ACCEPTED:
            error.what = f"the answer is not stopped: {error.what}"
            error.mend = failures.come_back(self.answer)
        else:
            error.mend = failures.maybe(self.answer.session_id, self.answer.message_id)
        return error

    def _left(self) -> UnansweredError:
        return UnansweredError(
            "left before it was stopped", code="left", mend=failures.come_back(self.answer)
        )
