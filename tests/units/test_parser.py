"""What the server sends is taken apart as nats-py does, however it is cut."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nats.errors import ProtocolError
from nats.protocol import parser as theirs

from chatmesh.broker import client as _  # noqa: F401 - its patterns for nats-py's parser
from chatmesh.broker import parser as ours

Took = tuple[object, ...]


class Noted:
    """A client that writes down what it is given. `resets`: an error of the server's is the connection's end."""

    def __init__(self) -> None:
        self.took: list[Took] = []
        self.on_error: Callable[[], None] = lambda: None

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, head: bytes) -> None:
        self.took.append((sid, bytes(subject), bytes(reply), data, head or b""))

    async def _process_ping(self) -> None:
        self.took.append(("PING",))

    async def _process_pong(self) -> None:
        self.took.append(("PONG",))

    async def _process_err(self, text: str) -> None:
        self.took.append(("ERR", text))
        self.on_error()

    async def _process_info(self, info: dict[str, object]) -> None:
        self.took.append(("INFO", str(info)))


def read(pieces: list[bytes], *, mine: bool) -> list[Took]:
    """What came of them; the last one is `failed` where nothing more can."""
    noted = Noted()
    parser = ours.Parser(noted, noted._process_msg) if mine else theirs.Parser(noted)  # type: ignore[arg-type, no-untyped-call] # as much of a client as a parser needs

    async def parse() -> None:
        for piece in pieces:
            await parser.parse(piece)

    try:
        asyncio.run(parse())
    except ProtocolError:
        noted.took.append(("failed",))
    return noted.took


def message(subject: bytes, reply: bytes, head: bytes, body: bytes) -> bytes:
    to = b" ".join([subject, b"7", *([reply] if reply else [])])
    if head:
        return b"HMSG %b %d %d\r\n%b%b\r\n" % (to, len(head), len(head) + len(body), head, body)
    return b"MSG %b %d\r\n%b\r\n" % (to, len(body), body)


WORDS = st.binary(min_size=1, max_size=8).map(lambda raw: raw.translate(None, b" \t\r\n")).filter(bool)
BODIES = st.binary(max_size=40) | st.sampled_from([b"MSG a 1 3\r\nabc\r\n", b"\r\n", b"PING\r\n"])
MESSAGES = st.builds(message, WORDS, WORDS | st.just(b""), BODIES, BODIES)
LINES = st.sampled_from(
    [
        b"PING\r\n",
        b"PONG\r\n",
        b"+OK\r\n",
        b"-ERR 'slow'\r\n",
        b'INFO {"a":1}\r\n',
        b"MSG  a  1  1\r\nx\r\n",
        b"MSG\ta 1 1\r\nx\r\n",
        b"HMSG a 1 r 2\t3\r\nabc\r\n",
    ]
)
BROKEN = st.sampled_from([b"NONSENSE\r\n", b"MSG a\r\n", b"MSG a 1 x\r\n", b"MSG a 1 b c 1\r\n"])


@given(st.lists(MESSAGES | LINES, max_size=8), st.lists(st.integers(1, 60), min_size=1, max_size=6))
@settings(deadline=None, max_examples=200)
def test_streams_are_read_as_nats_py_reads_them(parts: list[bytes], sizes: list[int]) -> None:
    whole = b"".join(parts)
    pieces, at = [], 0
    while at < len(whole):
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(whole[at : at + size])
        at += size
    assert read(pieces, mine=True) == read([whole], mine=False)
    assert read([whole], mine=True) == read([whole], mine=False)


@given(st.lists(MESSAGES, max_size=3), BROKEN)
@settings(deadline=None, max_examples=50)
def test_what_nats_py_refuses_is_refused(parts: list[bytes], broken: bytes) -> None:
    whole = b"".join(parts) + broken
    assert read([whole], mine=True)[-1] == ("failed",)
    assert read([whole], mine=True) == read([whole], mine=False)


def test_large_payloads_come_whole_and_what_follows_too() -> None:
    large = bytes(range(256)) * (ours.LARGE_BYTES // 128)
    whole = message(b"a", b"", b"", b"x") + message(b"b", b"r", b"NATS/1.0\r\n\r\n", large)
    whole += message(b"c", b"", b"", b"y") * 3
    pieces = [whole[at : at + 1000] for at in range(0, len(whole), 1000)]
    assert read(pieces, mine=True) == read([whole], mine=False)


def test_a_line_without_an_end_is_refused() -> None:
    took = read([b"MSG " + b"a" * ours.MAX_LINE_BYTES, b"b"], mine=True)
    assert took == [("failed",)]


@pytest.mark.parametrize("rest", [b"MSG late 1 1\r\nx\r\n", b"MSG late 1 9\r\nx"])
def test_what_came_behind_the_end_of_a_connection_is_nothing(rest: bytes) -> None:
    noted = Noted()
    parser = ours.Parser(noted, noted._process_msg)  # type: ignore[arg-type] # as above
    noted.on_error = parser.reset

    async def parse() -> None:
        await parser.parse(b"-ERR 'stale connection'\r\n" + rest)
        await parser.parse(b"MSG new 1 1\r\ny\r\n")

    asyncio.run(parse())
    assert noted.took == [("ERR", "'stale connection'"), (1, b"new", b"", b"y", b"")]
