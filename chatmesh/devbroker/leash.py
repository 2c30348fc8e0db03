"""Executes a program that dies with the process that started it. A script: run by path, importing it does nothing.

    python -I -S leash.py PARENT_PID PROGRAM [ARGUMENT …]

On Linux the kernel then kills the program when its parent ends, kill -9 included (prctl(2), PR_SET_PDEATHSIG; the
setting survives execve). It is done here, in a process of its own between fork and exec, and not in subprocess's
`preexec_fn`: that runs Python in the forked child of a process with threads, where any lock that another thread held
at the fork is held for ever. This way costs about 3 ms, and the pid stays the same.

Elsewhere the program outlives a killed parent; it then still holds the data directory's lock, so that the next start
says who is in the way.

"Parent" means the *thread* that started the child: it has to live as long as the child shall.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Become the program in `arguments[1:]`, a child of the process whose pid is `arguments[0]`."""
    parent = int(arguments[0])
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
            sys.exit(f"prctl(PR_SET_PDEATHSIG) failed: {os.strerror(ctypes.get_errno())}")
    # The parent may have died before the line above; then no signal will ever come.
    if os.getppid() != parent:
        sys.exit("the process that started this one is gone")
    # Python ignores SIGPIPE, and what is ignored stays ignored over exec.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        os.execv(arguments[1], arguments[1:])  # noqa: S606 - executing the caller's program is what this is for
    except OSError as error:
        sys.exit(f"{arguments[1]} does not execute: {error.strerror}")


if __name__ == "__main__":
    main(sys.argv[1:])
