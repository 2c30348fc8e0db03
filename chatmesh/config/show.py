"""The effective configuration much like YAML, each value with the place it came from; secrets as `***`.

`***` is no YAML on purpose: what is shown can't be taken for a file and read back with masks for passwords.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from chatmesh.config.keys import Key, Kind, all_keys, dotted
from chatmesh.config.load import Loaded
from chatmesh.config.words import MASK, written


def render_show(loaded: Loaded) -> str:
    """Write every effective value with its origin as a comment; of a model, the keys that its provider takes.

    Secrets are masked, and in `models` whatever a variable went into.
    """
    lines: list[str] = []
    for key in all_keys().values():
        depth = "  " * (len(key.path) - 1)
        if key.kind is Kind.SECTION:
            lines.append(f"{depth}{key.path[-1]}:")
        elif key.kind is Kind.MODELS:
            lines += _models(loaded)
        else:
            lines.append(f"{depth}{key.path[-1]}: {written(_value(loaded, key))}  # {_origin(loaded, key)}")
    return "\n".join(lines) + "\n"


def _value(loaded: Loaded, key: Key) -> Any:
    value: Any = loaded.config
    for part in key.path:
        value = getattr(value, part)
    return value


def _origin(loaded: Loaded, key: Key) -> str:
    if key.path == ("id",) and loaded.config.id is None:
        return "default: from the host name, unique for each process"
    return loaded.origins[key.dotted].where


def _models(loaded: Loaded) -> Iterator[str]:
    models = loaded.config.models
    yield "models:" if models else "models: {}"
    for name, model in models.items():
        yield f"  {written(name)}:"
        for option in model.keys:
            path = dotted(("models", name, option))
            hidden = any(
                veiled == path or veiled.startswith((f"{path}.", f"{path}[")) for veiled in loaded.veiled
            )
            shown = MASK if hidden else written(getattr(model, option))
            yield f"    {written(option)}: {shown}  # {loaded.origins[path].where}"
