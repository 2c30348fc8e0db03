"""One attempt to answer: the provider's deltas become chunks in a lane, up to the final one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import cast

from chatmesh.errors import ProtocolError, ProviderError
from chatmesh.providers import Continuation, Delta, Prompt, Provider, Resume
from chatmesh.providers.overlap import Overlap
from chatmesh.telemetry import get_logger
from chatmesh.telemetry.tracing import Kind, Span
from chatmesh.workflow.shown import Shown
from chatmesh.workflow.writing import Writing

log = get_logger("workflow")

UNMENDED = frozenset({"provider_refused"})
"""Failures that are the request's own: another model is not asked."""

RESTARTED = "restarted"
"""Why a reader is told to drop what was shown: the provider can't go on behind it."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A model that may answer, and what it is asked. `label` is its name in the configuration: what people ask for by a
    pattern has no bounds."""

    provider: Provider
    prompt: Prompt
    label: str = ""


async def generate(choices: Sequence[Choice], resume: Resume, writing: Writing) -> str:
    """Runs the first model into the lane and ends it with exactly one final chunk. Returns the finish reason.

    Where a model fails, the next one goes on behind what was shown, as it can. The last one's failure is an answer too (an
    error-final). What the lane raises goes through: another worker has the session, or the broker stayed away.
    """
    lane, encoder = writing.lane, writing.encoder
    shown = Shown(resume)
    failed: list[dict[str, str]] = []
    for number, choice in enumerate(choices, start=1):
        encoder.model = choice.prompt.model
        writing.pace.begin(choice.label)
        if failed:
            encoder.note(failed_over=list(failed))
        writing.span.note(model=choice.label)
        try:
            with writing.span.child("provider", {"model": choice.label}, Kind.CLIENT) as span:
                asked = replace(choice.prompt, traceparent=span.traceparent)
                finish_reason = await _write(replace(choice, prompt=asked), shown, writing, span)
                span.note(finish_reason=finish_reason)
                return finish_reason
        except ProviderError as error:
            failed.append({"model": encoder.model, "code": error.code})
            is_last = number == len(choices) or error.code in UNMENDED
            log.warning(
                "workflow.provider_failed",
                session_id=lane.session_id,
                message_id=lane.message_id,
                model=encoder.model,
                code=error.code,
                goes_on=not is_last,
            )
            if is_last:
                writing.fail(error.code, error.what)
                return "error"
            writing.ledger.end(error.code)
    raise ValueError("nobody was chosen to answer")


async def _write(choice: Choice, shown: Shown, writing: Writing, span: Span) -> str:
    lane, provider, resume = writing.lane, choice.provider, shown.resume
    restarts = resume.is_void or (bool(resume.text) and provider.continuation is Continuation.RESTART)
    repeats = provider.continuation is Continuation.OVERLAP and not restarts
    overlap = Overlap(resume.text if repeats else "")
    writing.ledger.begin(choice.prompt.model, 0 if restarts else len(resume.text))
    generated = provider.generate(choice.prompt, Resume() if restarts else resume)
    is_first, is_plain = True, False
    async with _settled(generated, shown, writing) as deltas:
        async for delta in deltas:
            text, finish_reason, data, usage, notes = delta
            if is_plain and text and finish_reason is None and data is None and usage is None and not notes:
                # Nearly all of an answer comes this way, so it is a short one.
                if not lane.say(text, time.time()):
                    await lane.wait_room()
                continue
            lane.settle()
            if restarts:
                # Only now: as long as nothing better is there, what was shown stays. What is still on its way belongs to
                # what is taken back, and goes first.
                restarts = False
                lane.flush()
                await lane.wait_stored()
                writing.encoder.restart()
                lane.reset(RESTARTED)
                shown.restart()
                writing.ledger.take_back()
            now = time.time()
            chunks = _chunks(delta, overlap, shown, writing, now)
            has_room = True
            for chunk in chunks:
                has_room = lane.write(chunk, urgent=is_first)
            if chunks:
                writing.pace.wrote(now)
            if finish_reason is not None:
                writing.end(finish_reason, by_itself=True)
                return finish_reason
            if is_first and chunks:
                # A provider that never waits would keep the batcher from sending the first chunk at once.
                is_first = False
                span.event("first_token")
                await asyncio.sleep(0)
            elif not has_room:
                await lane.wait_room()
            is_plain = overlap.is_over and not is_first
    raise ProviderError("the model's answer ended without saying why", code="provider_incomplete")


@asynccontextmanager
async def _settled(
    generated: AsyncIterator[Delta], shown: Shown, writing: Writing
) -> AsyncIterator[AsyncIterator[Delta]]:
    """Closes the provider, and what it has said becomes chunks, however it ends: nothing else is encoded before. Of an answer
    that has its end nothing is to be mended where that fails."""
    lane = writing.lane
    lane.encode_by(partial(_encode, shown, writing))
    try:
        async with aclosing(cast("AsyncGenerator[Delta, None]", generated)) as deltas:
            yield deltas
    except Exception as error:
        if not lane.is_ended:
            raise
        log.warning("workflow.provider_not_closed", session_id=lane.session_id, error=repr(error))
    finally:
        lane.settle()
        lane.encode_by(None)  # the lane would hold the answer, which holds the lane


def _encode(shown: Shown, writing: Writing, drafts: Sequence[tuple[str, float]]) -> list[bytes]:
    """What was plainly said, once its batch leaves."""
    texts, times = zip(*drafts, strict=True)
    shown.add(*texts)
    writing.ledger.count(len(texts), shown=len(texts))
    writing.pace.wrote(*times)
    return writing.encoder.content(drafts)


def _chunks(delta: Delta, overlap: Overlap, shown: Shown, writing: Writing, now: float) -> list[bytes]:
    """What becomes of a delta; nothing while it may still be a repetition."""
    encoder, ledger = writing.encoder, writing.ledger
    if delta.usage is not None:
        ledger.learn(delta.usage)
    if delta.notes:
        encoder.note(**delta.notes)
    text = overlap.feed(delta.text) if delta.text else ""
    if delta.data is not None or delta.finish_reason is not None:
        text += overlap.end()
    chunks = encoder.content([(text, now)]) if text else []
    if delta.data is not None:
        try:
            chunks.append(encoder.structured(delta.data, now))
        except ProtocolError as error:
            raise ProviderError(error.what, code="provider_invalid") from error
    if text:
        shown.add(text)
    if delta.data is not None:
        shown.add_data(delta.data)
    if delta.text or delta.data is not None:
        ledger.count(1, shown=int(bool(chunks)))
    return chunks
