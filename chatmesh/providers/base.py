"""What every provider is: a function from a prompt, and from what was already said, to deltas."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Prompt:
    """What to answer. `context` is the request's, with the provider's own keys in it."""

    model: str
    message: str
    context: dict[str, Any] = field(default_factory=dict)


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


class Provider(Protocol):
    """Yields deltas; the last has a `finish_reason`. Raises ProviderError where it fails. An iterator that ends without
    a finish reason has failed, too. Closing the iterator stops the work at the model at once."""

    def generate(self, prompt: Prompt, resume: Resume) -> AsyncIterator[Delta]: ...
