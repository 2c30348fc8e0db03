"""The floor beside which `chatmesh bench` is measured: a bare aiohttp server and nothing behind it.

    python -m chatmesh.web.floor PORT

It has the two calls that the benchmark makes, and answers as the model `count` does: a loop in the handler's process, one
write for each token. No broker, nothing durable, no resume, no second process, no check of anything: whoever does more
has to be slower, as long as they write as often. It serves nobody else.
"""

from __future__ import annotations

import asyncio
import sys
from collections import defaultdict
from datetime import UTC, datetime
from typing import Any

import orjson
from aiohttp import web


class Floor:
    """Who reads which session, and what is being answered."""

    def __init__(self) -> None:
        self._readers: defaultdict[str, set[web.StreamResponse]] = defaultdict(set)
        self._answers: set[asyncio.Task[None]] = set()

    def application(self) -> web.Application:
        application = web.Application()
        application.router.add_get("/v1/sessions/{session_id}/events", self._events)
        application.router.add_post("/v1/sessions/{session_id}/messages", self._message)
        return application

    async def _events(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"}
        )
        await response.prepare(request)
        await response.write(b": open\n\n")
        readers = self._readers[request.match_info["session_id"]]
        readers.add(response)
        try:
            await asyncio.Event().wait()  # until the connection ends
        finally:
            readers.discard(response)
        return response

    async def _message(self, request: web.Request) -> web.Response:
        body = orjson.loads(await request.read())
        session_id = request.match_info["session_id"]
        answer = asyncio.create_task(self._answer(session_id, body["message_id"], body["context"]))
        self._answers.add(answer)
        answer.add_done_callback(self._answers.discard)
        return web.json_response({"message_id": body["message_id"]}, status=202)

    async def _answer(self, session_id: str, message_id: str, context: dict[str, Any]) -> None:
        count, rate = context["max_tokens"] + 1, context["tokens_per_second"]
        loop = asyncio.get_running_loop()
        begin = loop.time()
        for number in range(count):
            # A model's stream gives the loop a turn for each token: it comes from a socket.
            await asyncio.sleep(max(0.0, begin + number / rate - loop.time()) if rate else 0)
            data = orjson.dumps(_chunk(session_id, message_id, number, is_final=number == count - 1))
            await self.write(session_id, number, b"id: %d\ndata: %b\n\n" % (number, data))

    async def write(self, session_id: str, number: int, event: bytes) -> None:
        """A chunk to everybody who reads the session."""
        for reader in list(self._readers[session_id]):
            await reader.write(event)


def _chunk(session_id: str, message_id: str, number: int, *, is_final: bool) -> dict[str, Any]:
    return {
        "session_id": session_id,
        "message_id": message_id,
        "chunk_id": number,
        "chunk": "" if is_final else f"{number + 1} ",
        "chunk_type": "content",
        "is_final": is_final,
        "metadata": {"model": "count", "attempt": 1},
        "timestamp": datetime.now(UTC).isoformat(),
        "correlation_id": "",
    }


def serve(floor: Floor, port: int) -> None:
    """Until it is ended. On uvloop where it is installed."""
    loop = None
    try:
        import uvloop  # noqa: PLC0415 - an extra

        loop = uvloop.new_event_loop()
    except ImportError:
        pass
    web.run_app(
        floor.application(),
        host="127.0.0.1",
        port=port,
        access_log=None,
        print=None,
        backlog=4096,
        shutdown_timeout=0.2,
        handler_cancellation=True,
        loop=loop,
    )


if __name__ == "__main__":
    serve(Floor(), int(sys.argv[1]))
