"""What a body of the Vercel AI SDK says, in the words of a WorkflowRequest: pure. UI messages become chat completions'."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from chatmesh.ingress.vercel.bodies import PostChat, UiMessage, UiPart
from chatmesh.protocol.tokens import Token, is_token
from chatmesh.web import Problem


@dataclass(frozen=True, slots=True)
class Understood:
    """`message_id` None: a new one. An empty `message`: the conversation ends with what a tool has answered. `history`
    None: the session's own."""

    message_id: Token | None
    message: str
    system: str
    history: list[dict[str, Any]] | None


def understand(body: PostChat) -> Understood:
    """Raises Problem 422 `unsupported` for what is well-formed and can't be done."""
    if body.message is not None:
        return Understood(_message_id(body, body.message), _words(body.message), "", None)
    if not body.messages:
        raise Problem(422, "unsupported", "Send messages, or one message.")
    last = body.messages[-1]
    is_users = last.role == "user"
    before = body.messages[:-1] if is_users else body.messages
    return Understood(
        _message_id(body, last),
        _words(last) if is_users else "",
        "\n\n".join(_text(message) for message in before if message.role == "system"),
        [entry for message in before if message.role != "system" for entry in _entries(message)],
    )


def _message_id(body: PostChat, said: UiMessage) -> Token | None:
    """Sent twice, it is one message. But what is edited or answered anew is another one, and so is what a client goes on
    with after its tools: all of these name a message."""
    is_new = body.trigger in (None, "submit-message") and body.message_id is None and said.role == "user"
    return Token(said.id) if is_new and said.id is not None and is_token(said.id) else None


def _words(message: UiMessage) -> str:
    """What a person says now: nothing of it may be lost."""
    if any(part.type == "file" for part in message.parts):
        raise Problem(422, "unsupported", "Files can't be sent to a model here, only text.")
    return _text(message)


def _text(message: UiMessage) -> str:
    return "".join(part.text or "" for part in message.parts if part.type == "text")


def _entries(message: UiMessage) -> Iterator[dict[str, Any]]:
    """The message, and behind it what its tools have answered. A call without an answer is left out: models refuse it."""
    called = [part for part in message.parts if part.tool_call_id is not None and _result(part) is not None]
    text = _text(message)
    if not called:
        if text:
            yield {"role": message.role, "content": text}
        return
    yield {"role": message.role, "content": text or None, "tool_calls": [_call(part) for part in called]}
    for part in called:
        yield {"role": "tool", "tool_call_id": part.tool_call_id, "content": _result(part)}


def _result(part: UiPart) -> str | None:
    match part.state:
        case "output-available":
            return part.output if isinstance(part.output, str) else orjson.dumps(part.output).decode()
        case "output-error":
            return part.error_text or "error"
    return None


def _call(part: UiPart) -> dict[str, Any]:
    name = part.tool_name or part.type.removeprefix("tool-")
    arguments = orjson.dumps(part.input if part.input is not None else {}).decode()
    return {"id": part.tool_call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
