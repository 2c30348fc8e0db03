"""Server-sent events as bytes (WHATWG HTML, 9.2).

`data` is always one line of JSON and `id` is always ours, so nothing that a user or a model wrote can forge an event.
"""

from __future__ import annotations

from typing import Any, Protocol

import orjson

from chatmesh.protocol.records import Record

_LINE_ENDS = ((b"\xe2\x80\xa8", b"\\u2028"), (b"\xe2\x80\xa9", b"\\u2029"), (b"\xc2\x85", b"\\u0085"))

KEEPALIVE = b":\n\n"
"""A comment: keeps proxies from cutting a silent stream, moves no position."""


class Ids(Protocol):
    """Writes the `id:` of events: a `Scope`, as a rule."""

    def write(self, offset: int, index: int, seq: int) -> str: ...
    def frame(self, offset: int, seq: int) -> tuple[bytes, bytes]: ...


def opening(position: str, retry_ms: int, user_agent: str = "") -> bytes:
    """The first block. Its `id` has no data: EventSource keeps it, so that one cut before the first chunk loses none. A browser
    that forgets it is told again, by an event that nobody listens to."""
    block = f": open\nid: {position}\nretry: {retry_ms}\n\n"
    if _forgets(user_agent):
        block += f"id: {position}\nevent: position\ndata: {{}}\n\n"
    return block.encode()


def _forgets(user_agent: str) -> bool:
    """Whether its EventSource forgets, against the standard, the `id` of a block without data: Firefox (seen: 153), and what is
    WebKit, as Safari and every browser on iOS are. Chromium, which calls itself WebKit too, keeps it."""
    return "Firefox/" in user_agent or ("AppleWebKit/" in user_agent and "Chrome/" not in user_agent)


def retry_only(retry_ms: int) -> bytes:
    """All that a stream says which can't be served now: come back."""
    return f"retry: {retry_ms}\n\n".encode()


def drain(reason: str, retry_ms: int) -> bytes:
    """This pod is leaving; reconnect."""
    return b"event: drain\nretry: %d\ndata: %b\n\n" % (retry_ms, orjson.dumps({"reason": reason}))


def reset(
    reason: str,
    *,
    message_id: str | None = None,
    position: str | None = None,
    session_id: str | None = None,
) -> bytes:
    """Drop the shown text: of one message, or of all where none is named. `session_id`: where the stream has several."""
    body: dict[str, Any] = {"reason": reason}
    if session_id is not None:
        body["session_id"] = session_id
    if message_id is not None:
        body["message_id"] = message_id
    head = b"id: %b\n" % position.encode() if position is not None else b""
    return b"%bevent: reset\ndata: %b\n\n" % (head, orjson.dumps(body))


def chunk(data: bytes) -> bytes:
    """A chunk without a position: one that no transcript holds."""
    return b"data: %b\n\n" % _one_line(data)


def events(record: Record, ids: Ids, *, skip: int = 0, names_session: bool = False) -> bytes:
    """A record's events after the first `skip`; each with the position behind it. `names_session`: a reset does too."""
    blocks: list[bytes] = []
    first = 0
    if record.reset is not None:
        first = 1
        if skip == 0:
            position = ids.write(record.offset, 1, record.seq)
            message_id = None if record.resets_all else record.message_id
            session_id = record.session_id if names_session else None
            blocks.append(
                reset(record.reset, message_id=message_id, position=position, session_id=session_id)
            )
    head, tail = ids.frame(record.offset, record.seq)
    skipped = max(0, skip - first)
    blocks += [
        b"id: %b%d%b\ndata: %b\n\n" % (head, index, tail, line)
        for index, line in enumerate(record.chunks.lines[skipped:], first + skipped + 1)
    ]
    return _one_line(b"".join(blocks))


def _one_line(payload: bytes) -> bytes:
    """U+2028, U+2029 and U+0085 end no line in server-sent events, but they do for clients that split lines as Python
    does; as JSON escapes they mean the same to everybody. Rarely there, so they are looked for first, and not at all in
    ASCII, which is known a hundred times quicker."""
    if payload.isascii():
        return payload
    if b"\xe2\x80\xa8" in payload or b"\xe2\x80\xa9" in payload or b"\xc2\x85" in payload:
        for raw, escaped in _LINE_ENDS:
            payload = payload.replace(raw, escaped)
    return payload
