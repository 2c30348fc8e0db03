"""Pages of one session's messages in a stream of millions.

The server goes forward to the next message that matches a pattern through the index of every block in between: 130 ms at two
million messages, and ever more. It does so behind the last one, where it is asked for more than there is, and over the time in which
a session said nothing. So it is asked how many there are, for no more than these, and is led over the gaps.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence

from chatmesh.broker.direct_get import PAGE_BYTES, DirectGet, Page, Stored
from chatmesh.kernel.together import together

FAR = 20_000
"""Messages from which on a gap is one: two blocks, which cost the server 2 ms."""

MAX_ISLANDS = 32
"""That are looked at for one page."""

Hints = Callable[[], Awaitable[Sequence[int]]]
"""Sequences at which the session went on, rising; some may be missing."""

Follows = Callable[[Stored, Stored], Awaitable[bool]]
"""Whether nothing of the session can lie between two of its messages, as they say themselves."""


async def no_hints() -> Sequence[int]:
    """Where nobody knows."""
    return ()


async def sparse_page(
    direct_get: DirectGet,
    stream: str,
    subject: str,
    *,
    seq: int,
    limit: int,
    seconds: float,
    max_bytes: int = PAGE_BYTES,
    hints: Hints = no_hints,
    follows: Follows | None = None,
) -> Page:
    """The same as `DirectGet.page`, which says more. `hints` are asked for where there is more than one message. `follows` has to
    be given where several servers answer: how many messages lie in front of a gap is the difference of two counts, and one that
    is behind counts less. Then it decides what is led over a gap, and counts only say what to ask for."""
    until = time.monotonic() + seconds

    async def read(seq: int, limit: int = 1, max_bytes: int = PAGE_BYTES) -> Page:
        left = until - time.monotonic()
        return await direct_get.page(stream, subject, seq=seq, limit=limit, seconds=left, max_bytes=max_bytes)

    first: Page | None = None
    if seq <= 1:
        first = await read(seq)
        if not first.more or limit == 1:
            return first
        seq = first.messages[0].seq
    last, known = await together(direct_get.last(stream, subject, seconds=seconds), _asked(hints))
    if last is None or last.seq <= seq:
        return Page([last] if last is not None and last.seq == seq else [])
    starts = islands(known, seq, last.seq)
    # Before what lies in front of them: what comes in between makes that look longer, and never shorter.
    beyond = await together(*map(read, starts)) if limit > 1 else ()
    found = first if first is not None and not starts else await read(seq)
    for start, there in zip(starts, beyond, strict=limit > 1):
        found = await _filled(found, behind=_size(there), limit=limit, max_bytes=max_bytes, read=read)
        if not found.messages or not there.messages or found.messages[-1].seq >= start:
            break
        counts_agree = found.pending == _size(there)
        is_next = await follows(found.messages[-1], there.messages[0]) if follows else counts_agree
        if not is_next or not _has_room(found, limit, max_bytes):
            break
        found = Page(found.messages + there.messages, there.pending)
    else:
        found = await _filled(found, behind=0, limit=limit, max_bytes=max_bytes, read=read)
    return found


def islands(known: Sequence[int], after: int, last: int) -> list[int]:
    """Those behind `after`, up to `last`, that lie far behind the one before."""
    wanted = [at for at in known if after < at <= last]
    return [at for before, at in zip([after, *wanted], wanted, strict=False) if at - before > FAR][
        :MAX_ISLANDS
    ]


async def _filled(
    page: Page, *, behind: int, limit: int, max_bytes: int, read: Callable[..., Awaitable[Page]]
) -> Page:
    """With what follows it, but for the last `behind` messages."""
    count = min(limit - len(page.messages), page.pending - behind)
    if count < 1 or not _has_room(page, limit, max_bytes):
        return page
    rest = await read(page.messages[-1].seq + 1, count, max_bytes - _bytes(page))
    return Page(page.messages + rest.messages, rest.pending)


def _has_room(page: Page, limit: int, max_bytes: int) -> bool:
    return len(page.messages) < limit and _bytes(page) < max_bytes


def _bytes(page: Page) -> int:
    return sum(len(stored.body) for stored in page.messages)


def _size(page: Page) -> int:
    """Of what matches from its first message on."""
    return len(page.messages) + page.pending


async def _asked(hints: Hints) -> Sequence[int]:
    return await hints()
