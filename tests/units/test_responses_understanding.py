"""What a body of OpenAI's responses says, in our words."""

from __future__ import annotations

from typing import Any

import pytest

from chatmesh.ingress.responses.bodies import CreateResponse
from chatmesh.ingress.responses.understanding import Understood, understand
from chatmesh.web import Problem

USER = {"role": "user", "content": "hi"}
CALL = {"type": "function_call", "call_id": "c", "name": "look", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "c", "output": "seen"}


def understood(**body: Any) -> Understood:
    return understand(CreateResponse.model_validate({"input": "hi"} | body), "demo")


def test_text_is_the_message_and_the_session_has_the_history() -> None:
    assert understood() == Understood("hi", {"model": "demo"})


def test_instructions_and_system_items_are_the_system_prompt() -> None:
    found = understood(instructions="Be brief.", input=[{"role": "developer", "content": "Be kind."}, USER])
    assert found == Understood("hi", {"model": "demo", "system_prompt": "Be brief.\n\nBe kind."})


def test_items_before_the_last_are_the_history_and_calls_of_a_turn_stand_together() -> None:
    items = [USER, CALL, CALL | {"call_id": "d"}, OUTPUT, {"type": "reasoning"}, USER | {"content": "so?"}]
    found = understood(input=items)
    assert found.message == "so?"
    first, calls, output = found.context["conversation_history"]
    assert first == USER
    assert [call["id"] for call in calls["tool_calls"]] == ["c", "d"]
    assert output == {"role": "tool", "tool_call_id": "c", "content": "seen"}


def test_conversation_that_ends_with_a_tools_result_has_no_message() -> None:
    found = understood(input=[USER, CALL, OUTPUT])
    assert found.message == ""
    assert [entry["role"] for entry in found.context["conversation_history"]] == ["user", "assistant", "tool"]


def test_with_a_previous_response_all_that_the_user_says_is_the_message() -> None:
    parts = [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]
    found = understood(input=[USER, USER | {"content": parts}], previous_response_id="resp_1_s_m")
    assert found.message == "hi\n\nab"
    assert "conversation_history" not in found.context


def test_tools_and_forms_are_those_of_chat_completions() -> None:
    tool = {"type": "function", "name": "look", "parameters": {"type": "object"}, "strict": True}
    schema = {"type": "json_schema", "name": "n", "schema": {}, "strict": True}
    found = understood(
        tools=[tool],
        tool_choice={"type": "function", "name": "look"},
        text={"format": schema},
        reasoning={"effort": "low"},
        max_output_tokens=5.0,
    ).context
    assert found["tools"] == [
        {"type": "function", "function": {name: value for name, value in tool.items() if name != "type"}}
    ]
    assert found["tool_choice"] == {"type": "function", "function": {"name": "look"}}
    assert found["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "n", "schema": {}, "strict": True},
    }
    assert (found["reasoning_effort"], found["max_tokens"]) == ("low", 5)


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"conversation": "c"}, "conversation"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"input": [{"type": "item_reference"}, USER]}, "input.0"),
        ({"input": [{"role": "wizard", "content": ""}, USER]}, "input.0"),
        ({"input": [CALL | {"call_id": None}, OUTPUT]}, "input.0"),
        ({"input": [USER | {"content": [{"type": "input_image"}]}]}, "input.0"),
        ({"input": [CALL, OUTPUT], "previous_response_id": "resp_1_s_m"}, "input.0"),
        ({"tools": [{"type": "web_search"}]}, "tools.0"),
        ({"tools": [{"type": "function", "name": "f"}], "tool_choice": {"type": "mcp"}}, "tool_choice"),
    ],
)
def test_what_can_not_be_done_is_refused_with_its_place(body: dict[str, Any], path: str) -> None:
    with pytest.raises(Problem) as refused:
        understood(**body)
    assert refused.value.code == "unsupported"
    assert refused.value.more["errors"][0]["path"] == path
