"""The server itself, `python -m chatmesh.devmodel`: prints its address, and lives until its standard input ends, which it
does with the process that started it, however that ends.
"""

from __future__ import annotations

import sys

from chatmesh.devmodel.weights import INSTALL, weights

CONTEXT_TOKENS = 4096
SLOTS = 2


def main() -> None:
    path = weights()
    if path is None:
        sys.exit(f"no model is installed: {INSTALL}")
    import xllamacpp  # noqa: PLC0415 - an extra

    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(path)
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0
    parameters.n_ctx = CONTEXT_TOKENS
    parameters.n_parallel = SLOTS
    parameters.warmup = False
    # With its default, as many as there are cores, it is twenty times slower on two busy ones.
    parameters.cpuparams.n_threads = 1
    server = xllamacpp.Server(parameters)
    sys.stdout.write(f"listening on {server.listening_address}\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main()
