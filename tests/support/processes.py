"""The `chatmesh` command as a real process."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from tests.support.children import Child
from tests.support.ports import free_port
from tests.support.waiting import eventually

__all__ = ["Process", "free_port"]

# Importing and starting takes well under a second; a loaded machine with two cores has been seen to take ten.
_LINE_SECONDS = 30.0


class Process(Child):
    """`python -m chatmesh ARGUMENTS…`, begun at once. Use the fixture `chatmesh`, which reaps it at teardown.

    Output is caught in files (`stdout`, `stderr`), which stay readable after the end. It is no terminal.
    """

    def __init__(
        self, *arguments: str, directory: Path, name: str = "chatmesh", env: Mapping[str, str] | None = None
    ) -> None:
        """`directory` is the working directory too; `env` is added to the test's own environment."""
        self.name = name
        self._files = {"stdout": directory / f"{name}.stdout", "stderr": directory / f"{name}.stderr"}
        self._seen_to = {"stdout": 0, "stderr": 0}
        super().__init__(
            [sys.executable, "-m", "chatmesh", *arguments],
            stdout=self._files["stdout"],
            stderr=self._files["stderr"],
            cwd=directory,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})},
        )

    @property
    def stdout(self) -> str:
        """Everything written to standard output so far."""
        return self._read("stdout")

    @property
    def stderr(self) -> str:
        """Everything written to standard error so far."""
        return self._read("stderr")

    async def wait_for_line(
        self,
        pattern: str,
        *,
        stream: Literal["stdout", "stderr", "either"] = "either",
        timeout: float = _LINE_SECONDS,  # noqa: ASYNC109 - handed to `eventually`
    ) -> re.Match[str]:
        """The next whole line that holds the regular expression `pattern`, after the one that was found last.

        Fails at once if the process has ended without saying it.
        """
        streams = ["stdout", "stderr"] if stream == "either" else [stream]

        def look() -> re.Match[str] | None:
            ended = not self.is_running  # asked first: what it wrote before its end is then all there
            found = next(filter(None, (self._search(which, pattern) for which in streams)), None)
            if found is None and ended:
                raise RuntimeError(
                    f"{self.name} ended ({self.returncode}) without {pattern!r}\n{self.report()}"
                )
            return found

        try:
            found: re.Match[str] = await eventually(
                look, timeout=timeout, message=f"a line {pattern!r} of {self.name}"
            )
            return found
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.report()}") from None

    def report(self) -> str:
        """The ends of both outputs, for a failure's text."""
        return "\n".join(f"--- {name} ---\n{self._read(name)[-4000:]}" for name in self._files)

    def _search(self, stream: str, pattern: str) -> re.Match[str] | None:
        text = self._read(stream)
        start = self._seen_to[stream]
        for line in text[start:].splitlines(keepends=True):
            start += len(line)
            if line.endswith("\n") and (found := re.search(pattern, line.rstrip("\r\n"))):
                self._seen_to[stream] = start
                return found
        return None

    def _read(self, stream: str) -> str:
        return self._files[stream].read_bytes().decode(errors="replace")
