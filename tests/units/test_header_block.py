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

NAMES = st.sampled_from([headers.WIRE, headers.SENT, headers.TRACEPARENT, headers.MSG_ID, headers.TTL])
VALUES = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(
    [" a ", "a\r\nb: c", "\n", "", "a:b"]
)


def sent(client: Client, head: dict[str, str]) -> bytes:
    """What such a client would write, without a server."""

    async def send() -> bytes:
        await client._send_publish("chat.a", "reply", b"body", 4, head)
        return b"".join(client._pending)

    return asyncio.run(send())


@given(st.dictionaries(NAMES, VALUES, min_size=1, max_size=4))
@settings(deadline=None, max_examples=60)
def test_what_is_sent_is_what_nats_py_sends(head: dict[str, str]) -> None:
    assert sent(SturdyClient(), head) == sent(Client(), head)


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


@pytest.mark.parametrize("name", ["X-Other", "", "a b"])
def test_names_of_others_are_left_to_nats_py(name: str) -> None:
    assert header_block.write({name: "x"}) is None


def test_a_value_with_a_line_end_is_left_to_nats_py() -> None:
    assert header_block.write({headers.MSG_ID: "a\r\nNats-Rollup: all"}) is None
