"""TLS that does not fall back: where a connection has to be encrypted, nothing of ours leaves in clear.

nats-py upgrades a connection only if the server's greeting asks for it. The greeting comes in clear, so whoever answers
in the server's place leaves that out and is sent the password. Three locks, each enough by itself for credentials: a
greeting without TLS is an error; no CONNECT is made before the handshake; and the transport writes nothing without it,
since closing a client flushes what it had left to send.
"""

from __future__ import annotations

import asyncio
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


class CertificateRefusedError(nats.errors.Error):
    """The server checks certificates, and ended the connection where it had seen ours, or that there is none."""

    def __str__(self) -> str:
        return "it ended the connection after the handshake"


class _EncryptedStream(asyncio.StreamReaderProtocol):
    def eof_received(self) -> bool:
        """False: TLS has no half-closed connections, and asyncio warns of who asks for one."""
        super().eof_received()
        return False


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
    def is_congested(self) -> bool:
        """Whether the socket has not taken all that was written."""
        return self._io_writer is not None and self._io_writer.transport.get_write_buffer_size() > 0

    @property
    def is_local(self) -> bool:
        """Whether the other side is this machine."""
        peer = self._io_writer.get_extra_info("peername") if self._io_writer is not None else None
        return peer is not None and ipaddress.ip_address(peer[0].partition("%")[0]).is_loopback

    async def connect_tls(
        self, uri: str | ParseResult, ssl_context: ssl.SSLContext, buffer_size: int, connect_timeout: int
    ) -> None:
        plain, self._io_reader, self._io_writer = self._io_writer, None, None
        if plain is None:
            raise OSError("there is no connection to encrypt")
        loop = asyncio.get_running_loop()
        # A new reader: what came in clear is not taken for something that came encrypted.
        reader = asyncio.StreamReader(buffer_size)
        protocol = _EncryptedStream(reader)
        name = uri if isinstance(uri, str) else uri.hostname
        try:
            async with asyncio.timeout(connect_timeout):
                transport = await loop.start_tls(plain.transport, protocol, ssl_context, server_hostname=name)
        except BaseException:
            # Nobody tells the plain stream of its end any more; waiting for that, as nats-py does, would never return.
            plain.transport.abort()
            raise
        if transport is None:
            raise OSError("the connection ended in its TLS handshake")
        self._io_reader, self._io_writer = reader, asyncio.StreamWriter(transport, protocol, reader, loop)

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

    async def _process_connect_init(self) -> None:
        try:
            await super()._process_connect_init()
            self._refuse_silent_end()
        except ConnectionError as error:
            # In TLS 1.3 the handshake is over for us before the server has looked at our certificate; what it then says
            # of it is lost where we write at the same moment.
            if self.is_encrypted and self._server_info.get("tls_verify"):
                raise CertificateRefusedError from error
            raise

    def _refuse_silent_end(self) -> None:
        """nats-py takes an end of the connection instead of the first PONG for an answer."""
        if self.is_connected or self._transport is None:
            return
        if not self._transport.at_eof():  # type: ignore[no-untyped-call]
            return
        for task in (self._reading_task, self._ping_interval_task, self._flusher_task):
            if task is not None:
                task.cancel()
        raise ConnectionResetError("the server ended the connection without an answer")

    def _connect_command(self) -> bytes:
        if self._transport is None or self._transport.is_open:
            raise TlsMissingError
        command: bytes = super()._connect_command()
        return command
