"""Ids from the command line. Apart, since commands that know a mesh by its HTTP only import no configuration."""

from __future__ import annotations

from chatmesh.errors import ConfigError, ProtocolError
from chatmesh.protocol.tokens import Token, token


def named(text: str, name: str) -> Token:
    """An id; `name` is how the command's help calls it. Raises ConfigError where it is none."""
    try:
        return token(text, name)
    except ProtocolError as error:
        raise ConfigError(error.what, mend=error.mend) from error
