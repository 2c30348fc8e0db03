"""Every error that chatmesh raises on purpose: one family for each cause, with fields beside the text.

An error says what was expected and what was got, where, and what to do about it. The exit code of the process is a
property of the family, so that the command line needs no table of its own.
"""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of the `chatmesh` command."""

    OK = 0
    FAILED = 1
    USAGE = 2
    BROKER = 3
    NOT_AUTHORISED = 4
    PORT_IN_USE = 5
    GAVE_UP = 70
    INTERRUPTED = 130


class ChatmeshError(Exception):
    """The root of the families.

    `what` is the sentence for a person, `where` the place (a YAML path, a subject, an address), `mend` what to do.
    """

    exit_code: Exit = Exit.FAILED

    def __init__(self, what: str, *, where: str | None = None, mend: str | None = None) -> None:
        self.what = what
        self.where = where
        self.mend = mend
        super().__init__(what)

    def __str__(self) -> str:
        parts = [self.what]
        if self.where:
            parts.append(f"at {self.where}")
        text = " ".join(parts)
        return f"{text}. {self.mend}" if self.mend else text


class ConfigError(ChatmeshError):
    """The configuration can't be used. `problems` holds every problem, not only the first."""

    exit_code = Exit.USAGE


class ProtocolError(ChatmeshError):
    """Bytes or text from outside don't have the shape the wire asks for. Nothing was accepted."""


class RefusedError(ChatmeshError):
    """A pod, asked over HTTP, does not do it and will not: `status` is its answer's."""

    def __init__(self, what: str, *, status: int, where: str | None = None, mend: str | None = None) -> None:
        super().__init__(what, where=where, mend=mend)
        self.status = status


class UnansweredError(ChatmeshError):
    """What was said to a mesh over HTTP has no good answer. `code` is stable: a problem's, an error chunk's, or one of
    `chatmesh send`'s own."""

    def __init__(
        self,
        what: str,
        *,
        code: str,
        exit_code: Exit = Exit.FAILED,
        where: str | None = None,
        mend: str | None = None,
    ) -> None:
        super().__init__(what, where=where, mend=mend)
        self.code = code
        self.exit_code = exit_code


class BrokerError(ChatmeshError):
    """NATS or JetStream refused or failed."""

    exit_code = Exit.BROKER


class BrokerUnreachableError(BrokerError):
    """No connection within the time given for the first one, or none at this moment."""


class BrokerLostError(BrokerUnreachableError):
    """The connection was lost, and as many tries as the configuration grants did not bring it back."""


class NotAuthorisedError(BrokerError):
    """The broker knows us and says no, or does not accept who we say we are."""

    exit_code = Exit.NOT_AUTHORISED


class JetStreamMissingError(BrokerError):
    """The broker answers, but JetStream is off for this account."""


class StreamDriftError(BrokerError):
    """A stream or consumer exists with another configuration than the declared one."""

    exit_code = Exit.USAGE


class KeyMissingError(BrokerError):
    """A sealed body, and this process has no key for it. What it says is there, and can be read once the key is."""

    exit_code = Exit.USAGE


class PublishUnknownError(BrokerError):
    """No acknowledgement came before the deadline: the message may or may not be stored. Repeating is safe."""


class PublishRefusedError(BrokerError):
    """JetStream answered that it does not store the message. `code` is JetStream's `err_code`."""

    def __init__(self, what: str, *, code: int, where: str | None = None, mend: str | None = None) -> None:
        super().__init__(what, where=where, mend=mend)
        self.code = code


class FencedError(PublishRefusedError):
    """A compare-and-set on a subject failed: somebody else wrote there first (JetStream 10071)."""


class StorageFullError(PublishRefusedError):
    """A stream's limit, or the store's, leaves no room (JetStream 10077, 10047, 10023)."""


class ProviderError(ChatmeshError):
    """A model provider failed. `code` is stable and stands in the error chunk that the reader gets."""

    def __init__(self, what: str, *, code: str, where: str | None = None, mend: str | None = None) -> None:
        super().__init__(what, where=where, mend=mend)
        self.code = code


class CapacityError(ChatmeshError):
    """A bound was reached: a queue, a buffer, a limit of connections. Nothing was lost; try later."""


class PortInUseError(ChatmeshError):
    """The address to listen on is taken."""

    exit_code = Exit.PORT_IN_USE


class GaveUpError(ChatmeshError):
    """A part of the process crashed more often than its supervisor allows."""

    exit_code = Exit.GAVE_UP
