"""Where the broker is and who we are there: the section `nats` in the words of the room `broker`.

Files are looked at here, once, when the process is made: what can't be used ends it with a word that names the file.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chatmesh.broker import Address
from chatmesh.broker.nkeys import check_credentials, check_seed
from chatmesh.config import Config
from chatmesh.config.connection import NatsConfig, TlsConfig
from chatmesh.devbroker.service import EmbeddedBroker
from chatmesh.errors import ConfigError
from chatmesh.protocol.tokens import Token


def address(config: Config, name: Token, embedded: EmbeddedBroker | None) -> Callable[[], Address]:
    """Gives the address each time anew: where an embedded server listens is known only once it runs. Raises ConfigError
    where a file can't be used."""
    if embedded is not None:
        return lambda: Address((embedded.server.url,), name, options={"token": embedded.server.token})
    nats = config.nats
    known = Address(
        nats.servers,
        name,
        connect_seconds=nats.connect_seconds,
        max_reconnects=nats.max_reconnects,
        reconnect_wait_seconds=nats.reconnect_wait_seconds,
        jetstream_api=nats.jetstream_api,
        options=_options(nats),
    )
    return lambda: known


def _options(nats: NatsConfig) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if nats.user is not None and nats.password is not None:
        options |= {"user": nats.user, "password": nats.password.get_secret_value()}
    if nats.token is not None:
        options["token"] = nats.token.get_secret_value()
    if nats.creds_file is not None:
        check_credentials(nats.creds_file, "nats.creds_file")
        options["user_credentials"] = str(nats.creds_file)
    if nats.nkey_seed_file is not None:
        check_seed(nats.nkey_seed_file, "nats.nkey_seed_file")
        options["nkeys_seed"] = str(nats.nkey_seed_file)
    if nats.tls.is_set:
        options |= {"tls": _tls_context(nats.tls), "tls_handshake_first": nats.tls.handshake_first}
    return options


def _tls_context(tls: TlsConfig) -> ssl.SSLContext:
    """OpenSSL names no file in what it raises, so each is looked at by itself."""
    for key, file in (("ca_file", tls.ca_file), ("cert_file", tls.cert_file), ("key_file", tls.key_file)):
        if file is not None:
            _check_readable(file, f"nats.tls.{key}")
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
    except ssl.SSLError as error:
        raise _unusable("nats.tls.ca_file", tls.ca_file, error, "certificates in PEM") from error
    if tls.cert_file is not None:
        try:
            context.load_cert_chain(tls.cert_file, tls.key_file)
        except ssl.SSLError as error:
            what = "nats.tls.cert_file with its key_file"
            expected = "a certificate and the key that belongs to it, both in PEM"
            raise _unusable(what, tls.cert_file, error, expected) from error
    return context


def _check_readable(file: Path, key: str) -> None:
    try:
        file.read_bytes()
    except OSError as error:
        what = f"{key} can't be read ({error.strerror})"
        raise ConfigError(what, where=str(file), mend="Expected a file that this user may read.") from error


def _unusable(what: str, file: Path | None, error: ssl.SSLError, expected: str) -> ConfigError:
    return ConfigError(
        f"{what} can't be used ({error.reason or error})", where=str(file), mend=f"Expected {expected}."
    )
