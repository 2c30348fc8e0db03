"""The complete configuration as annotated YAML, and its JSON schema for editors. Both are generated from the types."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from chatmesh.config.expected import expected
from chatmesh.config.keys import Key, Kind, all_keys
from chatmesh.config.models import ModelConfig, plain
from chatmesh.config.tree import Config
from chatmesh.config.words import written

SCHEMA_FILE = "chatmesh.schema.json"
_WIDTH = 110
_HEAD = f"""\
# yaml-language-server: $schema={SCHEMA_FILE}
# Every key of the configuration with its default. Generated from the types by `python -m chatmesh.config.generate`.
#
# Over this file stand environment variables (the name beside each key), over those `--set section.key=value`.
# ${{NAME}} in a text is replaced by that environment variable; $${{ stands for ${{ itself.
# Sizes are in bytes; times are in the unit that the key's name ends with.
"""


def render_reference() -> str:
    """Write all keys with description, what may stand there, default and environment name. Reads as the defaults."""
    lines = [_HEAD]
    for key in all_keys().values():
        depth = "  " * (len(key.path) - 1)
        if key.kind is Kind.SECTION:
            lines += ["", *_comment(depth, key.info.description or ""), f"{depth}{key.path[-1]}:"]
        else:
            lines += _entry(key, depth)
    return "\n".join(lines) + "\n"


def _entry(key: Key, depth: str) -> Iterator[str]:
    default = key.info.get_default(call_default_factory=True)
    if len(key.path) == 1:
        yield ""
    yield from _comment(depth, key.info.description or "")
    wanted = "a mapping: model name → {provider, …}" if key.kind is Kind.MODELS else expected(key.info)
    yield from _comment(depth, f"{_upper(wanted)}. {key.environment}")
    if key.kind is Kind.MODELS:
        yield f"{depth}{key.path[-1]}:"
        for name, model in plain(default).items():
            yield f"{depth}  {name}: {written(model)}"
        yield from _model_keys()
    else:
        yield f"{depth}{key.path[-1]}: {written(default)}"


def _model_keys() -> Iterator[str]:
    """What a model may have. In comments: a provider takes only its own keys."""
    yield "  # another:"
    for name, info in ModelConfig.model_fields.items():
        yield from _comment("  #   ", f"{info.description} {_upper(expected(info))}.")
        default = "openai" if info.is_required() else written(info.get_default())
        yield f"  #   {name}: {default}"


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _comment(depth: str, text: str) -> list[str]:
    lead = f"{depth}# "
    return textwrap.wrap(text, _WIDTH, initial_indent=lead, subsequent_indent=lead, break_on_hyphens=False)


def json_schema() -> dict[str, Any]:
    """Give the JSON schema of the file: what the types say, and what a file may hold besides.

    Besides means `${NAME}` where a number or a choice is wanted, and a section left empty. Rules over more than one
    key are not in it: `chatmesh check` knows those.
    """
    schema: dict[str, Any] = _uniform(Config.model_json_schema())
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "chatmesh configuration"
    definitions = schema["$defs"]
    for section in (schema, *definitions.values()):
        properties = section.get("properties", {})
        section["properties"] = {name: _loosened(value) for name, value in properties.items()}
    definitions["Variable"] = {
        "description": "An environment variable that is filled in.",
        "type": "string",
        "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*\}",
    }
    return schema


def _uniform(schema: Any) -> Any:
    """Write what pydantic 2.8 and later versions say differently in one way, so that the generated file stays."""
    if isinstance(schema, list):
        return [_uniform(item) for item in schema]
    if not isinstance(schema, dict):
        return int(schema) if isinstance(schema, float) and schema.is_integer() else schema
    same = {name: _uniform(value) for name, value in schema.items()}
    if len(same.get("allOf", ())) == 1:
        same |= same.pop("allOf")[0]
    if "const" in same:
        same["enum"] = [same.pop("const")]
    return same


_ABOUT = ("title", "description", "default")


def _loosened(schema: Mapping[str, Any]) -> dict[str, Any]:
    about = {
        name: schema[name] for name in _ABOUT if name in schema
    }  # pydantic leaves out what a $ref says itself
    shape = {name: value for name, value in schema.items() if name not in _ABOUT}
    if "$ref" in shape or shape.get("type") == "object":
        return about | {"anyOf": [shape, {"type": "null"}]}
    alternatives = shape["anyOf"] if set(shape) == {"anyOf"} else [shape]
    return about | {"anyOf": [*alternatives, {"$ref": "#/$defs/Variable"}]}
