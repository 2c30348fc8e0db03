"""What an answer's stream has said so far, whatever the provider's words for it: pure.

Events come in one by one, deltas go out. A finish reason is kept back until the stream has ended, since usage may stand
behind it and the last delta is the one that has it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from chatmesh.errors import ProtocolError
from chatmesh.providers.base import Delta, Usage
from chatmesh.providers.faults import incomplete, invalid
from chatmesh.providers.seam import Seam
from chatmesh.providers.splitter import Event

MAX_PIECE = 8192
"""Characters of one structured piece, so that it fits into a message of the broker; longer ones become several."""


class Answer(ABC):
    """One answer of one server. `finish_reasons`: its words → ours."""

    finish_reasons: ClassVar[Mapping[str, str]] = {}

    def __init__(self, seam: Seam | None = None) -> None:
        self._seam = seam or Seam()
        self._finish_reason: str | None = None
        self._notes: dict[str, Any] = {}
        self.usage: Usage | None = None
        self.calls = 0
        self.is_over = False

    @property
    def has_finished(self) -> bool:
        """It has said why it ends, and all that may follow is usage."""
        return self._finish_reason is not None

    def feed(self, event: Event) -> list[Delta]:
        """Raises UpstreamError where the event is an error, or makes no sense. What follows the end does not count."""
        if self.is_over:
            return []
        try:
            return list(self.read(event))
        except ProtocolError as error:
            raise invalid(f"the model's server said what makes no sense: {error}") from error

    @abstractmethod
    def read(self, event: Event) -> Iterator[Delta]: ...

    def end(self) -> Delta:
        """The last delta. Raises UpstreamError where the stream ended without a reason to."""
        if self._finish_reason is None and not self.is_over:
            raise incomplete()
        reason = self._finish_reason or "stop"
        if reason == "stop" and self.calls:
            reason = "tool_calls"  # servers that say "stop" after a call
        return Delta(self._seam.end(), reason, usage=self.usage, notes=self._notes)

    def finish(self, reason: Any) -> None:
        """`reason` in the server's words; one that is not known is taken for an ordinary end, and noted."""
        if not isinstance(reason, str) or not reason:
            return
        if reason not in self.finish_reasons:
            self._notes = {"upstream_finish_reason": reason[:80]}
        self._finish_reason = self.finish_reasons.get(reason, "stop")

    def text(self, text: Any) -> Iterator[Delta]:
        """Nothing for null and for what is held back."""
        if text is None:
            return
        if not isinstance(text, str):
            raise invalid(f"the model's server sent {type(text).__name__} where text belongs")
        said = self._seam.feed(text) if text else ""
        if said:
            yield Delta(said)

    def reasoning(self, text: Any) -> Iterator[Delta]:
        if isinstance(text, str):
            for piece in _pieces(text):
                yield Delta(data={"type": "reasoning", "text": piece})

    def tool_call(
        self, index: int, *, id: Any = None, name: Any = None, arguments: Any = None
    ) -> Iterator[Delta]:
        """One fragment as OpenAI streams it, or several where its arguments are long."""
        head = {key: value for key, value in (("id", id), ("name", name)) if isinstance(value, str) and value}
        pieces = _pieces(arguments) if isinstance(arguments, str) else []
        self.calls = max(self.calls, index + 1)
        if head and not pieces:
            pieces = [""]
        for piece in pieces:
            yield Delta(data={"type": "tool_call", "index": index, **head, "arguments": piece})
            head = {}


def count(value: Any) -> int:
    """A number of tokens; 0 for what is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _pieces(text: str) -> list[str]:
    return [text[at : at + MAX_PIECE] for at in range(0, len(text), MAX_PIECE)]
