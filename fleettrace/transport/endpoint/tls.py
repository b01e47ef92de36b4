"""The TLS handshake with a memcached port. Imported where a port has TLS, since `ssl` takes time to import."""

from __future__ import annotations

import socket
import ssl

from fleettrace.transport.endpoint.failures import EndpointFailure
from fleettrace.transport.endpoint.model import PortTarget, Tls

__all__ = ["handshake", "tls_context"]


def tls_context(tls: Tls) -> ssl.SSLContext:
    """Return the context of a handshake, with its files read. Raises `HostError`."""

    def refuse() -> str:
        raise ValueError("the key is encrypted")

    try:
        context = ssl.create_default_context(cafile=None if tls.ca is None else str(tls.ca))
        if tls.certificate is not None:
            context.load_cert_chain(tls.certificate, tls.key, password=refuse)
    except (OSError, ValueError) as error:
        names = ", ".join(str(path) for path in (tls.ca, tls.certificate, tls.key) if path is not None)
        raise EndpointFailure.TLS_FILES.error(f"{names}: {_reason(error)}") from None
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def handshake(plain: socket.socket, context: ssl.SSLContext, target: PortTarget) -> ssl.SSLSocket:
    """Speak TLS on a connected socket, within its timeout, and return the socket. Raises `HostError`."""
    name = target.address if target.tls is None else target.tls.server_name or target.address
    try:
        return context.wrap_socket(plain, server_hostname=name)
    except ssl.SSLCertVerificationError as error:
        raise EndpointFailure.CERTIFICATE.error(
            f"the certificate of {target} is not trusted ({error.verify_message})"
        ) from None
    except (OSError, ValueError) as error:
        raise EndpointFailure.TLS.error(f"the TLS handshake with {target} failed ({_reason(error)})") from None


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.lower().replace("_", " ")
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or "timed out"
