"""What every provider is: a function from a prompt, and from what was already said, to deltas."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

Message = dict[str, Any]
"""`{"role": "user" | "assistant" | "system" | "tool", "content": …}`, and what else OpenAI's chat completions know of it."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """What to answer, and for whom. `context` is the request's, with the provider's own keys in it; `history` are the
    messages before, oldest first, from the session or from the request. `attempt` counts the workers that have tried
    before, from 1. `traceparent`: what a request that is made for the answer says of its trace."""

    model: str
    message: str
    context: dict[str, Any] = field(default_factory=dict)
    history: tuple[Message, ...] = ()
    session_id: str = ""
    message_id: str = ""
    user_id: str = ""
    attempt: int = 1
    traceparent: str = ""

    @property
    def system(self) -> str | None:
        """The system prompt, if there is one."""
        system = self.context.get("system_prompt")
        return system if isinstance(system, str) and system else None


@dataclass(frozen=True, slots=True)
class Resume:
    """What an earlier attempt has already shown: its text, and in how many content chunks. `is_void`: it has shown what
    can't be gone on with, such as half a tool call, so that every provider begins anew."""

    text: str = ""
    chunks: int = 0
    is_void: bool = False


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the provider counts them. `more`: what else it says, such as cached tokens."""

    prompt_tokens: int
    completion_tokens: int
    more: dict[str, Any] = field(default_factory=dict)

    def wire(self) -> dict[str, Any]:
        total = self.prompt_tokens + self.completion_tokens
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": total,
            **self.more,
        }


class Delta(NamedTuple):
    """A piece of an answer; one becomes one chunk. Made for each token, so it is what is made quickest.

    `data` is a structured piece, which becomes a `metadata` chunk: `{"type": "reasoning", "text"}`, or `{"type":
    "tool_call", "index", "id"?, "name"?, "arguments"?}`, a fragment as OpenAI streams it. `finish_reason` stands in the
    last one only; `usage` in any, the last one counts. `notes` go into the final chunk's metadata.
    """

    text: str = ""
    finish_reason: str | None = None
    data: dict[str, Any] | None = None
    usage: Usage | None = None
    notes: Mapping[str, Any] = MappingProxyType({})


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
    anything to resume. One that does not read the history is spared it. `aclose` comes once, when nothing will be asked any
    more."""

    @property
    def continuation(self) -> Continuation: ...
    @property
    def reads_history(self) -> bool: ...
    def generate(self, prompt: Prompt, resume: Resume) -> AsyncIterator[Delta]: ...
    async def aclose(self) -> None: ...
