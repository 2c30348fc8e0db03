"""Where a command of a mesh of its own puts logs and stores."""

from __future__ import annotations

import tempfile
from pathlib import Path

from chatmesh.errors import ConfigError


def empty_folder(keep: Path | None, name: str) -> Path:
    """Empty, so that no earlier run's store is taken for this one's: `keep`, else a temporary one. ConfigError where there
    is something in it, or it can't be written."""
    try:
        if keep is None:
            return Path(tempfile.mkdtemp(prefix=f"chatmesh-{name}-"))
        keep.mkdir(parents=True, exist_ok=True)
        if any(keep.iterdir()):
            raise ConfigError("the folder for `--keep` is not empty", where=str(keep), mend="Name a new one.")
        return keep.absolute()
    except OSError as error:
        raise ConfigError(f"can't write there: {error.strerror}", where=str(keep or "TMPDIR")) from error
