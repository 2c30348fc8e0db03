"""Header blocks of ours are, byte by byte, what nats-py makes and reads; the rest is left to it."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nats.aio.client import Client

from chatmesh.broker import header_block
from chatmesh.broker.client import SturdyClient
from chatmesh.protocol import headers

NAMES = st.sampled_from(
    [headers.WIRE, headers.SENT, headers.TRACEPARENT, headers.MSG_ID, headers.TTL, "X-Other"]
)
VALUES = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(
    [" a ", "a\r\nb: c", "\n", "", "a:b"]
)


@given(
    st.dictionaries(NAMES, VALUES, max_size=4),
    st.sampled_from(["", "reply"]),
    st.sampled_from([b"", b"body"]),
)
@settings(deadline=None, max_examples=100)
def test_what_is_sent_is_what_nats_py_sends(head: dict[str, str], reply: str, body: bytes) -> None:
    """Without a server, byte by byte."""

    async def sent() -> tuple[bytes, bytes]:
        ours, theirs = SturdyClient(), Client()
        for client in (ours, theirs):
            client._max_pending_size = client._max_payload = 1 << 20
        await theirs._send_publish("chat.a", reply, body, len(body), head or None)
        ours.send("chat.a", body, reply, head)
        assert ours.stats == theirs.stats
        return b"".join(ours._pending), b"".join(theirs._pending)

    ours, theirs = asyncio.run(sent())
    assert ours == theirs


LINES = st.lists(
    st.binary(max_size=12)
    | st.sampled_from([b"a: b", b"a:b", b"a : b", b"a b: c", b"a", b": b", b"a:b:c", b"\tA: b"]),
    max_size=5,
)
VERSIONS = st.sampled_from(
    [
        b"NATS/1.0",
        b"NATS/1.0 404 No Results",
        b"NATS/1.0 503",
        b"NATS/1.0 100 Idle",
        b"NATS/1.0 x",
        b"NATS/1.1",
    ]
)


@given(VERSIONS, LINES)
@settings(deadline=None, max_examples=300)
def test_what_is_read_is_what_nats_py_reads(version: bytes, lines: list[bytes]) -> None:
    block = b"\r\n".join([version, *lines]) + b"\r\n\r\n"
    found = header_block.of_message(block)
    if found is not None:
        assert found == asyncio.run(Client()._process_headers(block))


def test_what_the_server_says_by_itself_is_plain() -> None:
    for block in (b"NATS/1.0 404 No Results\r\n\r\n", b"NATS/1.0 204 EOB\r\nNats-Num-Pending: 0\r\n\r\n"):
        assert header_block.of_message(block) == asyncio.run(Client()._process_headers(block))
        assert header_block.of_message(block) is not None


@pytest.mark.parametrize("name", ["", "a b", "a\r\nb", "ä"])
def test_what_can_not_be_a_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="name of a header"):
        header_block.write({name: "x"})


def test_a_value_can_not_become_a_header() -> None:
    block = header_block.write({headers.MSG_ID: "a\r\nNats-Rollup: all"})
    assert header_block.of_message(block) == {headers.MSG_ID: "a  Nats-Rollup: all"}
