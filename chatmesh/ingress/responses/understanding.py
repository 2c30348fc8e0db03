"""What a body of OpenAI's responses says, in the words of a WorkflowRequest: pure.

The model gets chat completions' messages, so items become those. With `previous_response_id` the session knows what was
said before, so only what is new may be sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from chatmesh.ingress.responses.bodies import ContentPart, CreateResponse, Function, InputItem
from chatmesh.protocol.exchanges import Exchange
from chatmesh.protocol.tool_results import KEY
from chatmesh.web import Problem

_SAME = ("metadata", "previous_response_id", "temperature", "top_p", "parallel_tool_calls")
_TEXTS = ("input_text", "output_text", "text")
_SYSTEM = ("system", "developer")


@dataclass(slots=True)
class Understood:
    """What the user says, and how to answer. An empty `message`: the conversation ends with what a tool has answered."""

    message: str
    context: dict[str, Any] = field(default_factory=dict)


def understand(body: CreateResponse, default_model: str) -> Understood:
    """Raises Problem 422 `unsupported` for what is well-formed and can't be done."""
    if body.background and body.store is False:
        raise unsupported("store", "what goes on in the background has to be come back to, so it is stored")
    for name in ("conversation", "prompt"):
        if getattr(body, name) is not None:
            raise unsupported(name, "it is not supported")
    items = [InputItem(role="user", content=body.input)] if isinstance(body.input, str) else body.input
    system = [body.instructions] if body.instructions else []
    system += [_text(item.content, path) for path, item in _numbered(items) if item.role in _SYSTEM]
    said = [(path, item) for path, item in _numbered(items) if item.role not in _SYSTEM]
    understood = _continued(said) if body.previous_response_id is not None else _whole(said)
    understood.context |= _context(body, default_model)
    if system:
        understood.context["system_prompt"] = "\n\n".join(system)
    return understood


def check_results(body: CreateResponse, previous: Exchange) -> None:
    """Models refuse a call without its result, and a result without its call. Problem 422 `unsupported`."""
    items = body.input if isinstance(body.input, list) else []
    answered = {item.call_id for item in items if item.type == "function_call_output"}
    called = {call["id"] for call in previous.calls}
    if answered and previous.final is not None and answered != called:
        raise unsupported(
            "input",
            f"previous_response_id calls for {sorted(called)}, and there are results of {sorted(map(str, answered))}",
        )


def unsupported(path: str, why: str) -> Problem:
    return Problem(
        422,
        "unsupported",
        f"{path}: {why}.",
        more={"errors": [{"path": path, "message": why, "code": "unsupported"}]},
    )


def _numbered(items: Sequence[InputItem]) -> Iterator[tuple[str, InputItem]]:
    return ((f"input.{number}", item) for number, item in enumerate(items))


Numbered = Sequence[tuple[str, InputItem]]


def _continued(said: Numbered) -> Understood:
    """Only what the user says, and what tools have answered: the rest is in the session."""
    texts: list[str] = []
    results: list[dict[str, Any]] = []
    for path, item in said:
        if item.type == "function_call_output" and item.call_id:
            results.append({"tool_call_id": item.call_id, "content": _text(item.output, path)})
        elif item.type == "message" and item.role == "user":
            texts.append(_text(item.content, path))
        else:
            raise unsupported(
                path,
                "with previous_response_id only messages of the user and function_call_output with its call_id are taken",
            )
    return Understood("\n\n".join(texts), {KEY: results} if results else {})


def _whole(said: Numbered) -> Understood:
    """The last message of the user, if it is the last item, and before it the conversation."""
    *before, (path, last) = said or [("input", InputItem(role="user", content=""))]
    if last.type == "message" and last.role == "user":
        understood = Understood(_text(last.content, path))
    else:
        before, understood = [*said], Understood("")
    if before:
        understood.context["conversation_history"] = list(_messages(before))
    return understood


def _messages(items: Numbered) -> Iterator[dict[str, Any]]:
    """Calls of one turn stand in one message, as chat completions have it."""
    calls: list[dict[str, Any]] = []
    for path, item in items:
        if item.type == "function_call":
            calls.append(_call(path, item))
            continue
        if calls:
            yield {"role": "assistant", "content": None, "tool_calls": calls}
            calls = []
        if item.type == "reasoning":  # a model's own; no other one can read it
            continue
        yield _message(path, item)
    if calls:
        yield {"role": "assistant", "content": None, "tool_calls": calls}


def _message(path: str, item: InputItem) -> dict[str, Any]:
    match item.type, item.role:
        case "message", "user" | "assistant":
            return {"role": item.role, "content": _text(item.content, path)}
        case "function_call_output", _:
            return {"role": "tool", "tool_call_id": item.call_id or "", "content": _text(item.output, path)}
    raise unsupported(path, f"items of type {item.type!r:.40} and role {item.role!r:.40} are not supported")


def _call(path: str, item: InputItem) -> dict[str, Any]:
    if not item.call_id or not item.name:
        raise unsupported(path, "a function_call needs call_id and name")
    function = {"name": item.name, "arguments": item.arguments or ""}
    return {"id": item.call_id, "type": "function", "function": function}


def _text(content: str | Iterable[ContentPart] | None, path: str) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    texts: list[str] = []
    for part in content:
        if part.type not in _TEXTS:
            raise unsupported(path, f"parts of type {part.type!r:.40} are not supported, only text")
        texts.append(part.text or "")
    return "".join(texts)


def _context(body: CreateResponse, default_model: str) -> dict[str, Any]:
    context = {name: getattr(body, name) for name in _SAME}
    context |= {
        "model": body.model or default_model,
        "max_tokens": body.max_output_tokens,
        "background": body.background or None,
        "store": False if body.store is False else None,
        "tools": [_tool(number, tool) for number, tool in enumerate(body.tools)] if body.tools else None,
        "tool_choice": _tool_choice(body.tool_choice) if body.tools else None,
        "response_format": _response_format(body.text.format) if body.text else None,
        "reasoning_effort": body.reasoning.effort if body.reasoning else None,
    }
    return {name: value for name, value in context.items() if value is not None}


def _tool(number: int, tool: Function) -> dict[str, Any]:
    if tool.type != "function" or not tool.name:
        raise unsupported(f"tools.{number}", "only functions with a name can be offered to a model here")
    return {"type": "function", "function": tool.model_dump(exclude={"type"}, exclude_none=True)}


def _tool_choice(choice: str | dict[str, Any] | None) -> str | dict[str, Any] | None:
    if not isinstance(choice, dict):
        return choice
    if choice.get("type") != "function" or not isinstance(choice.get("name"), str):
        raise unsupported("tool_choice", "only a function can be chosen")
    return {"type": "function", "function": {"name": choice["name"]}}


def _response_format(wanted: dict[str, Any] | None) -> dict[str, Any] | None:
    """Chat completions have the schema's members one level deeper."""
    if wanted is None or wanted.get("type") == "text":
        return None
    if wanted.get("type") == "json_schema":
        return {"type": "json_schema", "json_schema": {k: v for k, v in wanted.items() if k != "type"}}
    return wanted
