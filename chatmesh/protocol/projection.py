"""What every format is that an answer can be read in beside the native one: fed with its chunks in order, bytes out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol


class Encoder(Protocol):
    """A format's view of one answer. See `openai_chat`, `openai_responses` and `vercel_ui`."""

    def opening(self) -> bytes: ...
    def chunk(self, chunk: dict[str, Any]) -> bytes: ...


Encode = Callable[[int], Encoder]
"""Makes the encoder of an answer that was begun anew so many times; it gets the chunks since then."""
