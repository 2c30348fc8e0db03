"""The section `models`: who answers for a model's name, and how its server is asked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, SecretStr, WithJsonSchema

from chatmesh.config.model_rules import keys_of
from chatmesh.config.section import (
    Amount,
    Count,
    File,
    Line,
    ModelName,
    Seconds,
    Section,
    Wants,
    one_or_more,
    split_commas,
)


def _base_url(address: str) -> str:
    """Check the address of a model's server. What is quoted in the error holds no credentials and no query."""
    expected = "expected an address such as https://host/v1"
    try:
        parts = urlsplit(address)
        host, _port = parts.hostname, parts.port
    except ValueError:
        raise ValueError(f"{expected}, got one that is none") from None
    if "@" in address or parts.query or parts.fragment:
        raise ValueError(
            f"{expected}, without credentials and without anything behind the path; a key is api_key"
        )
    if parts.scheme not in ("http", "https") or not host or not re.fullmatch("[!-~]+", address):
        raise ValueError(f"{expected}, got {address!r}")
    return address


def _key(value: SecretStr) -> SecretStr:
    if not re.fullmatch("[!-~]+", value.get_secret_value()):
        raise ValueError("expected a key of visible ASCII characters, got something else, which is not shown")
    return value


BaseUrl = Annotated[str, AfterValidator(_base_url), Wants("an address such as https://host/v1")]
ApiKey = Annotated[SecretStr, AfterValidator(_key)]
Aliases = Annotated[
    tuple[ModelName, ...],
    BeforeValidator(split_commas),
    WithJsonSchema(one_or_more({"type": "string"})),
    Wants("a list of names"),
]
Version = Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$"), Wants("a date such as 2023-06-01")]
Price = Annotated[Amount, Field(ge=0, le=1_000_000)]


class ModelConfig(Section):
    """Who answers for a model's name. Which keys a provider takes is in `model_rules`."""

    provider: Literal["demo", "python", "openai", "anthropic"] = Field(
        description="Who answers. openai: any server with OpenAI's chat completions; anthropic: its Messages API; "
        "python: a function of yours; demo: built in."
    )
    aliases: Aliases = Field(
        default=(),
        description="Other names for it. Models of different providers may share one: context.ai_provider picks.",
    )
    fallbacks: Aliases = Field(
        default=(),
        description="Models of this configuration that go on, in this order, where it fails: before its first piece or in "
        "mid-answer.",
    )
    function: Line | None = Field(
        default=None, description="python: module:function, an async generator of the answer's text."
    )
    model: Line | None = Field(
        default=None,
        description="openai, anthropic: its name at the server; null: the name here, for a pattern the name asked for.",
    )
    base_url: BaseUrl | None = Field(
        default=None,
        description="openai, anthropic: where the server is; null: https://api.openai.com/v1 or "
        "https://api.anthropic.com.",
    )
    api_key: ApiKey | None = Field(default=None, description="openai, anthropic: the key, if one is needed.")
    api_key_file: File | None = Field(default=None, description="File with the key, instead of api_key.")
    api_version: Version = Field(
        default="2023-06-01",
        description="anthropic: version of the API. Later ones take no temperature, top_p, top_k: they are dropped.",
    )
    continuation: Literal["exact", "overlap", "restart"] | None = Field(
        default=None,
        description="How it goes on with a half answer. exact: says only the rest (openai, anthropic: given the text as "
        "the beginning of its answer); overlap: may repeat the end, which is trimmed (asked to go on); restart: begins "
        "anew, and readers drop what was shown. null: restart for python, else overlap.",
    )
    max_tokens: Annotated[Count, Field(ge=1, le=10_000_000)] | None = Field(
        default=None,
        description="openai, anthropic: most tokens of an answer whose request names no number; null: the server's own "
        "limit, 4096 for anthropic.",
    )
    connect_seconds: Seconds = Field(
        default=5, description="openai, anthropic: how long a connection to the server may take, in seconds."
    )
    first_token_seconds: Seconds = Field(
        default=120,
        description="openai, anthropic: how long the first piece of an answer may take, in seconds.",
    )
    idle_seconds: Seconds = Field(
        default=60, description="openai, anthropic: the longest silence between two pieces, in seconds."
    )
    total_seconds: Seconds = Field(
        default=900, description="openai, anthropic: how long a whole answer may take, in seconds."
    )
    retries: Annotated[Count, Field(ge=0, le=10)] = Field(
        default=2,
        description="openai, anthropic: how often a request that failed before its first piece is made again.",
    )
    price_input: Price | None = Field(
        default=None,
        description="openai, anthropic, python: price of a million input tokens, in your currency.",
    )
    price_output: Price | None = Field(
        default=None, description="openai, anthropic, python: price of a million output tokens."
    )

    @property
    def is_demo(self) -> bool:
        """Whether the built-in provider answers."""
        return self.provider == "demo"

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys that count for its provider."""
        return tuple(name for name in type(self).model_fields if name in keys_of(self.provider))


def plain(models: Mapping[str, ModelConfig]) -> dict[str, Any]:
    """What was given, as rules and dumps want it."""
    return {name: model.model_dump(exclude_unset=True) for name, model in models.items()}


Models = Annotated[
    Mapping[ModelName, ModelConfig],
    AfterValidator(MappingProxyType),
    PlainSerializer(plain, return_type=dict[str, Any]),
]


def demo_only() -> Mapping[str, ModelConfig]:
    """What stands in `models` where nobody wrote anything."""
    return MappingProxyType({"demo": ModelConfig(provider="demo")})
