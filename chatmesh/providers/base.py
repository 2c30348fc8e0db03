"""What every provider is: a function from a prompt, and from what was already said, to deltas."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Prompt:
    """What to answer, and for whom. `context` is the request's, with the provider's own keys in it. `attempt` counts the
    workers that have tried before, from 1."""

    model: str
    message: str
    context: dict[str, Any] = field(default_factory=dict)
    session_id: str = ""
    message_id: str = ""
    user_id: str = ""
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class Resume:
    """What an earlier attempt has already shown: its text, and in how many content chunks."""

    text: str = ""
    chunks: int = 0


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of an answer; one becomes one chunk. `finish_reason` stands in the last one only."""

    text: str = ""
    finish_reason: str | None = None


class Continuation(StrEnum):
    """How a provider goes on with an answer that another worker began.

    EXACT: it says only what comes behind the text that was shown, as a prefilled model or a deterministic one does.
    OVERLAP: it is asked to go on and may repeat the end of what was shown, which is trimmed. RESTART: it can only begin
    anew, so what was shown is taken back with a `reset`.
    """

    EXACT = "exact"
    OVERLAP = "overlap"
    RESTART = "restart"


class Provider(Protocol):
    """Yields deltas; the last has a `finish_reason`. Raises ProviderError where it fails. An iterator that ends without
    a finish reason has failed, too. Closing the iterator stops the work at the model at once. With RESTART it never gets
    anything to resume."""

    @property
    def continuation(self) -> Continuation: ...
    def generate(self, prompt: Prompt, resume: Resume) -> AsyncIterator[Delta]: ...
