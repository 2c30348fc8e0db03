"""What the steps of a batch cost by themselves, without a network: `python -m chatmesh.operate.bench.parts`.

Each figure is the best of several passes, in microseconds: for a token where a batch has a hundred, as in a burst, and
where it has two, as when 200 people read 50 tokens a second. The step that follows a name in brackets is what it stands
in for: how it is done where nothing is known of the message.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from timeit import repeat

import orjson

from chatmesh.broker import header_block
from chatmesh.protocol import headers, sse
from chatmesh.protocol.chunks import Chunks
from chatmesh.protocol.encoder import ChunkEncoder
from chatmesh.protocol.positions import Scope
from chatmesh.protocol.records import Record, RecordHead
from chatmesh.protocol.tokens import Token

SIZES = (100, 2)
PASSES = 7
SECONDS = 0.02
"""Of one pass, about."""

SESSION, MESSAGE = Token("sess_0123456789abcdef01234567"), Token("msg_0123456789abcdef01234567")
HEADERS = {
    headers.WIRE: headers.WIRE_VERSION,
    headers.TRACEPARENT: "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01",
    headers.MSG_ID: f"{SESSION}:{MESSAGE}:123456:7",
    headers.EXPECTED_SUBJECT_SEQUENCE: "123456",
    headers.EXPECTED_SUBJECT: f"chat.session.{SESSION}.claim",
}

Step = Callable[[], object]


def cost(step: Step) -> float:
    """Microseconds of one call."""
    once = max(min(repeat(step, number=10, repeat=3)) / 10, 1e-8)
    number = max(1, round(SECONDS / once))
    return min(repeat(step, number=number, repeat=PASSES)) / number * 1e6


def steps(size: int) -> dict[str, Step]:
    """Of a batch of so many tokens, on its way from a worker to a reader."""
    now = time.time()
    encoder = ChunkEncoder(
        SESSION, MESSAGE, "corr_0123456789abcdef", model="count", attempt=1, max_text=65_536
    )
    drafts = [("token ", now)] * size
    chunks = encoder.content(drafts)
    head = RecordHead(SESSION, MESSAGE, 7, 1, 123_456)
    live = head.encode(chunks, seq=123_457)
    plain = orjson.dumps(orjson.loads(live))
    scope = Scope("0123456789ab", SESSION)
    shown, objects = Record.decode(live), Record.decode(plain).chunks.read()

    def rewrite() -> object:
        again = Record(SESSION, MESSAGE, 7, 1, 123_456, 123_457, Chunks(objects))
        return sse.events(again, scope)

    return {
        "write the chunks": lambda: encoder.content(drafts),
        "[as JSON of a dict each]": lambda: [
            orjson.dumps(chunk | {"timestamp": stamp(now)}) for chunk in objects
        ],
        "make a record of them": lambda: head.encode(chunks, seq=123_457),
        "take it apart": lambda: Record.decode(live),
        "[by its JSON]": lambda: Record.decode(plain),
        "make events": lambda: sse.events(shown, scope),
        "[by their JSON]": rewrite,
    }


def stamp(unix_seconds: float) -> str:
    """As one writes a time with the standard library."""
    return datetime.fromtimestamp(unix_seconds, UTC).isoformat(timespec="milliseconds")


def main() -> None:
    """Writes the table."""
    tell(f"{'µs a token, in a batch of':34}" + "".join(f"{size:>8}" for size in SIZES))
    columns = [{name: cost(step) / size for name, step in steps(size).items()} for size in SIZES]
    for name in columns[0]:
        tell(f"{name:34}" + "".join(f"{column[name]:8.2f}" for column in columns))
    block = header_block.write(HEADERS)
    lines = block[len(b"NATS/1.0\r\n") :]
    tell("\nµs a message")
    for name, step in {
        "write its headers": lambda: header_block.write(HEADERS),
        "read its headers": lambda: header_block.read(lines),
    }.items():
        tell(f"{name:34}{cost(step):8.2f}")


def tell(line: str) -> None:
    """One line of it."""
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    main()
