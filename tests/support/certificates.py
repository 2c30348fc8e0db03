"""An authority of one test, and what it signs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True)
class Identity:
    """A certificate and its key, as files."""

    cert_file: Path
    key_file: Path


class Authority:
    """Signs certificates for servers and clients; `ca_file` is what has to be trusted for them."""

    def __init__(self, directory: Path, name: str = "authority") -> None:
        self._ca = trustme.CA()
        self._directory = directory / name
        self._directory.mkdir()
        self.ca_file = self._directory / "ca.pem"
        self._ca.cert_pem.write_to_path(self.ca_file)

    def sign(self, *names: str) -> Identity:
        """For host names, addresses, or (of a client) anything with an @."""
        leaf = self._ca.issue_cert(*names)
        stem = names[0].replace("@", "-")
        identity = Identity(self._directory / f"{stem}.pem", self._directory / f"{stem}.key")
        leaf.private_key_pem.write_to_path(identity.key_file)
        identity.cert_file.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
        return identity
