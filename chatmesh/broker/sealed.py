"""TLS that does not fall back: where a connection has to be encrypted, nothing of ours leaves in clear.

nats-py upgrades a connection only if the server's greeting asks for it. The greeting comes in clear, so whoever answers
in the server's place leaves that out and is sent the password. Three locks, each enough by itself for credentials: a
greeting without TLS is an error; no CONNECT is made before the handshake; and the transport writes nothing without it,
since closing a client flushes what it had left to send.
"""

from __future__ import annotations

import ipaddress
import ssl
from typing import Any
from urllib.parse import ParseResult

import nats.errors
from nats.aio.client import Client, Srv
from nats.aio.transport import TcpTransport

BUFFER_BYTES = 32 * 1024


class TlsMissingError(nats.errors.Error):
    """The server speaks in clear where TLS is asked for."""

    def __str__(self) -> str:
        return "the server does not offer TLS"


class SealedTransport(TcpTransport):
    """Plain TCP at first, for greeting and handshake. `has_to_encrypt`: what is written before the handshake is dropped."""

    def __init__(self, *, has_to_encrypt: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._has_to_encrypt = has_to_encrypt

    @property
    def is_encrypted(self) -> bool:
        return self._io_writer is not None and self._io_writer.get_extra_info("ssl_object") is not None

    @property
    def is_open(self) -> bool:
        """Whether it may not be written to yet."""
        return self._has_to_encrypt and not self.is_encrypted

    @property
    def is_local(self) -> bool:
        """Whether the other side is this machine."""
        peer = self._io_writer.get_extra_info("peername") if self._io_writer is not None else None
        return peer is not None and ipaddress.ip_address(peer[0].partition("%")[0]).is_loopback

    async def connect_tls(
        self, uri: str | ParseResult, ssl_context: ssl.SSLContext, buffer_size: int, connect_timeout: int
    ) -> None:
        plain = self._io_writer
        try:
            await super().connect_tls(uri, ssl_context, buffer_size, connect_timeout)
        except BaseException:
            # Nobody tells the plain stream of its end any more, and waiting for that would never return.
            self._io_reader = self._io_writer = None
            if plain is not None:
                plain.transport.abort()
            raise

    def write(self, payload: bytes) -> None:
        if not self.is_open:
            super().write(payload)  # type: ignore[no-untyped-call]

    def writelines(self, payload: list[bytes]) -> None:
        if not self.is_open:
            super().writelines(payload)  # type: ignore[no-untyped-call]


class SealedClient(Client):
    """Encrypts every connection where `tls` is among its options, else those to `tls://` addresses."""

    _transport: SealedTransport | None

    @property
    def is_encrypted(self) -> bool:
        return self._transport is not None and self._transport.is_encrypted

    @property
    def is_local(self) -> bool:
        """Whether the server is on this machine."""
        return self._transport is not None and self._transport.is_local

    @property
    def has_secret(self) -> bool:
        """Whether it sends one to say who it is: a key only signs."""
        return bool(self.options.get("password") or self.options.get("token"))

    async def _connect_to_server(self, s: Srv) -> None:
        if self._transport is not None:
            # Of a try that failed: else its socket would stay open as long as the other side likes.
            self._transport.close()  # type: ignore[no-untyped-call]
        has_to_encrypt = "tls" in self.options or s.uri.scheme == "tls"
        self._transport = SealedTransport(has_to_encrypt=has_to_encrypt)
        await self._transport.connect(s.uri, BUFFER_BYTES, self.options["connect_timeout"])

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        if initial_connection and self._transport is not None and self._transport.is_open:
            if not (info.get("tls_required") or info.get("tls_available")):
                raise TlsMissingError
            # A server that allows both would be spoken to in clear.
            info["tls_required"] = True
        await super()._process_info(info, initial_connection)

    def _connect_command(self) -> bytes:
        if self._transport is None or self._transport.is_open:
            raise TlsMissingError
        command: bytes = super()._connect_command()
        return command


def explain(error: BaseException | None) -> tuple[str, str] | None:
    """What went wrong with TLS and what to do, or None where it was something else."""
    match error:
        case TlsMissingError():
            return (
                "the server does not offer TLS, so nothing was sent to it",
                "Set up TLS at the server; if it is meant to be without, use nats:// and unset nats.tls.",
            )
        case ssl.SSLCertVerificationError() if error.verify_code in _NAME_MISMATCH:
            return (
                f"the server's certificate is for another name ({error.verify_message})",
                "Put a name that stands in the certificate into nats.servers, or add this one to the certificate.",
            )
        case ssl.SSLCertVerificationError():
            return (
                f"the server's certificate is not trusted ({error.verify_message})",
                "Set nats.tls.ca_file to the authority that signed it.",
            )
        case ssl.SSLError() if error.reason == "WRONG_VERSION_NUMBER":
            return (
                "the server greeted in clear where a TLS handshake was expected",
                "Set nats.tls.handshake_first to false, or handshake_first at the server.",
            )
        case ssl.SSLError():
            return f"the TLS handshake failed ({reason(error)})", "Check nats.tls and the server's tls block."
    return None


def is_refusal(error: BaseException) -> bool:
    """Whether the server does not accept our certificate, or misses one."""
    return isinstance(error, ssl.SSLError) and reason(error).endswith(_REFUSALS)


def reason(error: BaseException) -> str:
    """OpenSSL's own word for it, where there is one."""
    return str(getattr(error, "reason", None) or error)


_NAME_MISMATCH = (62, 64)
"""OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH."""

_REFUSALS = (
    "ALERT_CERTIFICATE_REQUIRED",
    "ALERT_BAD_CERTIFICATE",
    "ALERT_UNKNOWN_CA",
    "ALERT_CERTIFICATE_UNKNOWN",
    "ALERT_CERTIFICATE_EXPIRED",
    "ALERT_CERTIFICATE_REVOKED",
    "ALERT_UNSUPPORTED_CERTIFICATE",
    "ALERT_ACCESS_DENIED",
)
