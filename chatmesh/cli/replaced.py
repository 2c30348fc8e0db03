"""A file of secrets that is changed while processes read it: always whole, one change at a time."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chatmesh.errors import ConfigError


def read_text(path: Path) -> str:
    """Raises ConfigError."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        mend = "--file names a file that `new` has made."
        raise ConfigError(f"the file can't be read ({why})", where=str(path), mend=mend) from error


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Nobody else changes a file of that folder meanwhile. Raises ConfigError, for what the body raises of the system's
    errors too."""
    try:
        folder = os.open(path.parent, os.O_RDONLY)
    except OSError as error:
        raise ConfigError(
            f"the folder can't be opened ({error.strerror})",
            where=str(path.parent),
            mend="Make it first; the file is written there.",
        ) from error
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    except OSError as error:
        raise ConfigError(f"the file can't be written: {error.strerror}", where=str(path)) from error
    finally:
        os.close(folder)


def replace_text(path: Path, text: str) -> None:
    """Readable as it was before; a new one by its owner only."""
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(mode)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
