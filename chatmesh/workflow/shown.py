"""What readers have been shown of an answer so far, by whichever model: pure. It is what the next one goes on from."""

from __future__ import annotations

from typing import Any

from chatmesh.providers import Resume


class Shown:
    """Begins with what earlier attempts have shown."""

    def __init__(self, resume: Resume) -> None:
        self._texts = [resume.text] if resume.text else []
        self._chunks = resume.chunks
        self._is_void = resume.is_void
        self._has_thoughts = False

    def add(self, *texts: str) -> None:
        """Pieces of the answer, as they were written."""
        self._texts += texts
        self._chunks += len(texts)

    def add_data(self, data: dict[str, Any]) -> None:
        """A structured piece."""
        self._has_thoughts = True
        self._is_void = self._is_void or data.get("type") == "tool_call"

    def restart(self) -> None:
        """All of it was taken back."""
        self._texts.clear()
        self._chunks = 0
        self._is_void = self._has_thoughts = False

    @property
    def resume(self) -> Resume:
        """Half a tool call, or thoughts before any text, is nothing to go on from: see `plan.Told`."""
        is_void = self._is_void or (self._has_thoughts and not self._texts)
        return Resume("".join(self._texts), self._chunks, is_void)
