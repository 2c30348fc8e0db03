"""Single values written as YAML, for `config show` and the reference; what they write reads back as the same value."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from chatmesh.config.yaml_text import plain_value

MASK = "***"
_PLAIN = re.compile(r"[A-Za-z0-9./_][A-Za-z0-9./_:+@-]*")


def written(value: Any) -> str:
    """Write a value in YAML's flow style, on one line; a SecretStr as `***`."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, SecretStr):
        return MASK
    if isinstance(value, int | float):
        return str(int(value)) if float(value).is_integer() and abs(value) < 2**53 else repr(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{written(str(key))}: {written(item)}" for key, item in value.items()) + "}"
    if isinstance(value, tuple | list):
        return "[" + ", ".join(map(written, value)) + "]"
    return _text(str(value) if isinstance(value, Path) else value)


def _text(text: str) -> str:
    plain = _PLAIN.fullmatch(text) and not text.endswith(":") and isinstance(plain_value(text), str)
    return text if plain else json.dumps(text)
