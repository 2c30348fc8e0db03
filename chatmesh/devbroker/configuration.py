"""The text of the embedded server's configuration file. Pure: values in, text out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from chatmesh.errors import ConfigError

# What fits between quotes in the file without escapes. A leading `$` would be read as a bcrypt hash by the server.
_TOKEN = re.compile(r"[A-Za-z0-9_.~+/=-]{8,256}")


@dataclass(frozen=True, slots=True)
class ServerConfiguration:
    """What one start of the server needs to know.

    `max_store_bytes` bounds the sum of the `max_bytes` that streams declare, not only what they hold.
    """

    server_name: str
    port: int
    token: str
    data_dir: Path
    log_file: Path
    sync_always: bool
    max_payload_bytes: int
    max_store_bytes: int

    def render(self) -> str:
        """The file. The server puts its store into a folder `jetstream` below `store_dir` by itself."""
        sync = "\n  sync_interval: always" if self.sync_always else ""
        return f"""\
# Written by chatmesh at every start of its embedded broker; changes here are lost.
server_name: {quoted(self.server_name)}
host: 127.0.0.1
port: {self.port}
authorization {{ token: {quoted(self.token)} }}
max_payload: {self.max_payload_bytes}
max_connections: 4096
log_file: {quoted(str(self.log_file))}
logfile_size_limit: 10MB
logfile_max_num: 2
jetstream {{
  store_dir: {quoted(str(self.data_dir))}
  max_memory_store: 64MB
  max_file_store: {self.max_store_bytes}{sync}
}}
"""


def check_token(token: str) -> str:
    """`token` itself; raises `ConfigError`, which does not repeat it, if it is too short or has odd characters."""
    if not _TOKEN.fullmatch(token):
        raise ConfigError(
            "The embedded broker's token has the wrong form",
            mend="Use 8 to 256 letters, digits or _ . ~ + / = -, or give none and get a random one.",
        )
    return token


def quoted(text: str) -> str:
    """`text` as a double-quoted string of the server's configuration language."""
    for plain, escaped in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t")):
        text = text.replace(plain, escaped)
    return f'"{text}"'
