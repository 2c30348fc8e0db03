"""The section `nats`: which broker, who we are to it, how long we try."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from chatmesh.config.broken import RULE_BROKEN
from chatmesh.config.rules import broken_in_nats
from chatmesh.config.section import (
    Count,
    File,
    Flag,
    Line,
    Seconds,
    Section,
    Wants,
    not_empty,
    one_or_more,
    split_commas,
)

_SCHEMES = ("nats", "tls")


def _server(address: str) -> str:
    """Check one address of a broker. What is quoted in the error never contains credentials."""
    shown = address if "@" not in address else f"***@{address.rpartition('@')[2]}"
    try:
        parts = urlsplit(address)
        host, _port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(
            f"expected an address such as nats://host:4222, got {shown!r}, which is none"
        ) from error
    if "@" in address:
        # nats-py neither decodes them nor sends them to the servers that it discovers.
        raise ValueError(
            f"expected an address without credentials, got {shown!r}; use nats.user and nats.password, or nats.token"
        )
    if parts.scheme not in _SCHEMES or not host or not address.isprintable() or " " in address:
        raise ValueError(f"expected nats:// or tls:// and a host, such as nats://host:4222, got {shown!r}")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError(f"expected nothing after host and port, got {shown!r}")
    return address


def _api(subject: str) -> str:
    if not all(subject.split(".")) or any(character in subject for character in " *>"):
        raise ValueError(f"expected the beginning of a subject, such as $JS.API, got {subject!r}")
    return subject


Servers = Annotated[
    tuple[Annotated[str, AfterValidator(_server)], ...],
    BeforeValidator(split_commas),
    WithJsonSchema(one_or_more({"type": "string"})),
    AfterValidator(not_empty),
    Wants("one address or a list of them, such as nats://host:4222"),
]


class TlsConfig(Section):
    """TLS to the broker. Anything set here encrypts every connection, as `tls://` does one; without ca_file, against the
    system's authorities. A server that does not offer TLS is then refused."""

    ca_file: File | None = Field(
        default=None, description="Authorities that may sign the broker's certificate, PEM."
    )
    cert_file: File | None = Field(default=None, description="Our own certificate, PEM; asks for key_file.")
    key_file: File | None = Field(default=None, description="The key of cert_file, PEM.")
    handshake_first: Flag = Field(
        default=False, description="true: for servers that have handshake_first; no greeting in clear."
    )

    @property
    def is_set(self) -> bool:
        """Whether anything was given."""
        return any((self.ca_file, self.cert_file, self.key_file, self.handshake_first))


class NatsConfig(Section):
    """Where the broker is. At most one way to say who we are: user, token, creds_file or nkey_seed_file."""

    servers: Servers = Field(
        default=("nats://127.0.0.1:4222",),
        description="Addresses of the broker, nats:// or tls://, without credentials. Not used with embedded: true.",
    )
    embedded: Flag = Field(default=False, description="true: start a private nats-server (development).")
    data_dir: File = Field(
        default=Path(".chatmesh"),
        description="Where the private nats-server keeps its data; relative to the working directory.",
    )
    user: Line | None = Field(default=None, description="User name; its password is in password.")
    password: SecretStr | None = Field(default=None, description="Password of user.")
    password_file: File | None = Field(
        default=None, description="File with the password, instead of password."
    )
    token: SecretStr | None = Field(default=None, description="Token, instead of user and password.")
    token_file: File | None = Field(default=None, description="File with the token, instead of token.")
    creds_file: File | None = Field(
        default=None, description="Credentials file (JWT and seed) of a NATS account."
    )
    nkey_seed_file: File | None = Field(default=None, description="File with the seed of an NKey.")
    tls: TlsConfig = Field(
        default_factory=TlsConfig, description="Certificates and handshake; encrypts where anything is set."
    )
    allow_cleartext: Flag = Field(
        default=False,
        description="true: a password or token may go to another machine without TLS, as in a network of your own.",
    )
    jetstream_api: Annotated[Line, AfterValidator(_api)] = Field(
        default="$JS.API",
        description="What the subjects of JetStream's API begin with, where it is imported from another account "
        "(chatmesh natsconf sets it) or lies in a domain, as in $JS.hub.API.",
    )
    connect_seconds: Seconds = Field(
        default=5, description="How long the first connection is tried, in seconds; then exit code 3."
    )
    max_reconnects: Annotated[Count, Field(ge=-1)] = Field(
        default=-1,
        description="Tries to reconnect to each server after a loss, then exit code 3; -1 is for ever.",
    )
    reconnect_wait_seconds: Seconds = Field(
        default=2, description="Pause between two such tries, in seconds."
    )

    @model_validator(mode="after")
    def _holds_together(self) -> NatsConfig:
        for problem in broken_in_nats(self.__dict__ | {"tls": self.tls.__dict__}):
            raise PydanticCustomError(RULE_BROKEN, "{text}", {"text": problem.message})
        return self
