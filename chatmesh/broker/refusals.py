"""Why there is no connection, in words for a person: what nats-py and OpenSSL say becomes what, where and what to do. Pure."""

from __future__ import annotations

import ssl
from collections.abc import Sequence

import nats.errors

from chatmesh.broker.sealed import CertificateRefusedError, TlsMissingError
from chatmesh.errors import BrokerLostError, BrokerUnreachableError, NotAuthorisedError

_NAME_MISMATCH = (62, 64)
"""OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH."""

_CERTIFICATE_ALERTS = (
    "ALERT_CERTIFICATE_REQUIRED",
    "ALERT_BAD_CERTIFICATE",
    "ALERT_UNKNOWN_CA",
    "ALERT_CERTIFICATE_UNKNOWN",
    "ALERT_CERTIFICATE_EXPIRED",
    "ALERT_CERTIFICATE_REVOKED",
    "ALERT_UNSUPPORTED_CERTIFICATE",
    "ALERT_ACCESS_DENIED",
)


def is_denial(error: BaseException) -> bool:
    """Whether the server does not accept who we say we are. In answer to a first connect nats-py raises the server's own
    words, which are "Authorization Violation" or tell of an authentication that expired or was revoked."""
    text = str(error).lower()
    return (
        isinstance(error, nats.errors.AuthorizationError)
        or _is_about_our_certificate(error)
        or "authorization violation" in text
        or "authentication" in text
    )


def denied(servers: Sequence[str], cause: BaseException) -> NotAuthorisedError:
    """What is to be raised for a denial."""
    if _is_about_our_certificate(cause):
        return NotAuthorisedError(
            f"NATS asks for a certificate of ours that it trusts ({_reason(cause)})",
            where=", ".join(servers),
            mend="Set nats.tls.cert_file and nats.tls.key_file to one that the server's authority has signed.",
        )
    return NotAuthorisedError(
        f"NATS does not accept our credentials ({cause})",
        where=", ".join(servers),
        mend="Check nats.user and nats.password, nats.token, nats.creds_file or nats.nkey_seed_file.",
    )


def unreachable(
    servers: Sequence[str], cause: BaseException | None, seconds: float, *, is_encrypted: bool
) -> BrokerUnreachableError:
    """No server took us within that time; `cause` is the last error, if there was one."""
    where = ", ".join(servers)
    if (tls := _about_tls(cause)) is not None:
        return BrokerUnreachableError(tls[0], where=where, mend=tls[1])
    mend = "Start one (`nats-server -js`), or set `nats.servers`; for development use `chatmesh dev`."
    if is_encrypted and not _because(cause):
        # Nothing came at all, as where each waits for the other to begin.
        mend += " Where one runs: nats.tls.handshake_first has to be as in the server's tls block."
    return BrokerUnreachableError(
        f"no NATS server answered within {seconds:g} s{_because(cause)}", where=where, mend=mend
    )


def lost(servers: Sequence[str], cause: BaseException | None) -> BrokerLostError:
    """The connection was there, and `nats.max_reconnects` is spent."""
    return BrokerLostError(
        "the connection to NATS was lost and did not come back with nats.max_reconnects tries of each server"
        + _because(cause),
        where=", ".join(servers),
        mend="Look after the server, and start this process again; `nats.max_reconnects: -1` tries for ever.",
    )


def _about_tls(error: BaseException | None) -> tuple[str, str] | None:
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
                "the server spoke in clear where a TLS handshake was expected",
                "Set nats.tls.handshake_first to false, or handshake_first at the server.",
            )
        case ssl.SSLError():
            return (
                f"the TLS handshake failed ({_reason(error)})",
                "Check nats.tls and the server's tls block.",
            )
    return None


def _is_about_our_certificate(error: BaseException) -> bool:
    is_alert = isinstance(error, ssl.SSLError) and _reason(error).endswith(_CERTIFICATE_ALERTS)
    return is_alert or isinstance(error, CertificateRefusedError)


def _reason(error: BaseException) -> str:
    """OpenSSL's own word for it, where there is one."""
    return str(getattr(error, "reason", None) or error)


def _because(cause: BaseException | None) -> str:
    return f" ({cause})" if cause is not None and str(cause) else ""
