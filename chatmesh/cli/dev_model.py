"""What `chatmesh dev --model` names becomes settings: a model that is there, one at a server, or one in the box."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from chatmesh.devmodel import NAME, local_model
from chatmesh.errors import ConfigError

_KEYS = {"openai": "OPENAI_API_KEY", "anthropic": "ANTHROPIC_API_KEY"}


@contextmanager
def settings_of_model(text: str | None) -> Iterator[tuple[str, ...]]:
    """The settings (`a.b=c`) for `--model`: nothing for None, and the local model runs as long as the block does.

    Raises ConfigError where a key is missing from the environment, or the local model isn't installed.
    """
    if text is None:
        yield ()
    elif text == NAME:
        with local_model() as url:
            # llama.cpp goes on behind the half answer that it is given.
            yield _settings(NAME, provider="openai", base_url=f"{url}/v1", continuation="exact")
    elif text.startswith(("http://", "https://")):
        url, _, name = text.partition("#")
        if not name:
            raise ConfigError(
                f"--model {text} does not say which model of that server",
                mend="Put its name behind the address: http://127.0.0.1:11434/v1#llama3.2",
            )
        yield _settings(name, provider="openai", base_url=url, **_key("openai", is_needed=False))
    elif (provider := text.partition(":")[0]) in _KEYS and text != provider:
        name = text.partition(":")[2]
        if not name:
            raise ConfigError(f"--model {text} names no model", mend=f"Such as: --model {provider}:NAME")
        yield _settings(name, provider=provider, **_key(provider, is_needed=True))
    else:
        yield (f"default_model={json.dumps(text)}",)


def _settings(name: str, **options: Any) -> tuple[str, ...]:
    return f"models={json.dumps({name: options})}", f"default_model={json.dumps(name)}"


def _key(provider: str, *, is_needed: bool) -> dict[str, str]:
    variable = _KEYS[provider]
    key = os.environ.get(variable)
    if not key and is_needed:
        raise ConfigError(
            f"--model {provider}:… needs a key, and ${variable} is not set", mend=f"export {variable}=…"
        )
    return {"api_key": key} if key else {}
