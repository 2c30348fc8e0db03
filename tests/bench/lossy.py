"""A floor that loses one chunk of each answer: `python -m tests.bench.lossy PORT`."""

from __future__ import annotations

import sys

from chatmesh.web.floor import Floor, serve


class Lossy(Floor):
    async def write(self, session_id: str, number: int, event: bytes) -> None:
        if number != 7:
            await super().write(session_id, number, event)


if __name__ == "__main__":
    serve(Lossy(), int(sys.argv[1]))
