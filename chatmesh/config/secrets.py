"""Secrets come in by name: `${ENV_NAME}` in a file's text, or `<key>_file` beside a secret's key."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from chatmesh.config.draft import Draft, Origin
from chatmesh.config.keys import dotted
from chatmesh.config.problems import Problem, did_you_mean
from chatmesh.config.rules import SECRET_KEYS

_REFERENCE = re.compile(r"\$\$\{|\$\{([^{}]*)\}|\$\{")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MAX_SECRET_BYTES = 65_536
"""A file larger than this holds something else; it also bounds what a device file can feed us."""


class BadReferenceError(ValueError):
    """A `${…}` that can't be replaced. `mend` is a suggestion or None; the text around it is in neither."""

    def __init__(self, what: str, mend: str | None = None) -> None:
        super().__init__(what)
        self.mend = mend


def fill_in(text: str, environ: Mapping[str, str]) -> tuple[str, bool]:
    """Replace every `${NAME}` by the variable's value and every `$${` by `${`.

    Values are not looked into again. Returns the text and whether a variable went into it. Raises BadReferenceError for
    a variable that is not set and for a `${` that names none.
    """
    used = False

    def replace(match: re.Match[str]) -> str:
        nonlocal used
        if match[0] == "$${":
            return "${"
        name = match[1]
        if name is None or not _NAME.fullmatch(name):
            raise BadReferenceError(
                "expected ${NAME} with the name of a variable, got another text after ${", "write $${ for ${"
            )
        if name not in environ:
            near = did_you_mean(name, environ)
            raise BadReferenceError(f"expected the environment variable {name}, got none of that name", near)
        used = True
        return environ[name]

    return _REFERENCE.sub(replace, text), used


def read_secret_files(draft: Draft) -> None:
    """Put what `<key>_file` points to under `<key>`. Problems are added to the draft; secrets are in none of them."""
    for above, key, values in _secrets(draft.values):
        name = values.get(f"{key}_file")
        if not isinstance(name, str) or not name or "\0" in name:
            continue  # absent, or of a wrong type, which the types report
        place = (*above, f"{key}_file")
        origin = draft.origin_of(place)
        if values.get(key) is not None:
            other = draft.origin_of((*above, key))
            message = f"expected {dotted((*above, key))} or {dotted(place)}, got both ({other.exact})"
            draft.problems.append(Problem(dotted(place), origin.exact, message, "set one of them to null"))
            continue
        try:
            values[key] = _secret_in(Path(name))
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            message = f"expected a readable file with the secret, got {name!r}: {reason}"
            draft.problems.append(Problem(dotted(place), origin.exact, message))
            continue
        draft.veiled.add((*above, key))
        draft.origins[*above, key] = Origin(origin.kind, f"{origin.where} ({key}_file)", origin.column)


def _secrets(values: dict[str, Any]) -> Iterator[tuple[tuple[str, ...], str, dict[str, Any]]]:
    """Each key of a secret, with the path and the values of the section that it stands in."""
    for *path, key in SECRET_KEYS:
        sections: list[tuple[tuple[str, ...], Any]] = [((), values)]
        for step in path:
            sections = [
                ((*above, name), inner)
                for above, section in sections
                if isinstance(section, dict)
                for name, inner in section.items()
                if step in ("*", name)
            ]
        yield from ((above, key, section) for above, section in sections if isinstance(section, dict))


def _secret_in(path: Path) -> str:
    with path.open("rb") as file:
        content = file.read(_MAX_SECRET_BYTES + 1)
    if len(content) > _MAX_SECRET_BYTES:
        raise ValueError(f"it is larger than {_MAX_SECRET_BYTES} bytes")
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8 text") from None  # the cause holds the secret's bytes
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise ValueError("it is empty")
    return text
