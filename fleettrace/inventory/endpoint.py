"""The settings of a host that fleettrace asks over memcached's own port, without a login: `fleettrace_endpoint`."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path

from fleettrace.inventory.values import Values

__all__ = ["ENDPOINT_VARIABLES", "EndpointSettings", "TlsSettings", "endpoint_settings", "parse_endpoint"]

_ENDPOINT = "fleettrace_endpoint"
_TLS = "fleettrace_endpoint_tls"
_CA = "fleettrace_endpoint_tls_ca"
_CERT = "fleettrace_endpoint_tls_cert"
_KEY = "fleettrace_endpoint_tls_key"
_SERVER_NAME = "fleettrace_endpoint_tls_server_name"
_VERIFY = "fleettrace_endpoint_tls_verify"
_TLS_DETAILS = (_CA, _CERT, _KEY, _SERVER_NAME, _VERIFY)
ENDPOINT_VARIABLES = (_ENDPOINT, _TLS, *_TLS_DETAILS)

_DEFAULT_PORT = 11211
_BRACKETED = re.compile(r"\[([^\[\]]+)\](?::([0-9]{1,5}))?")
_NAMED = re.compile(r"([A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252}))(?::([0-9]{1,5}))?")


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """How to speak TLS with an endpoint."""

    ca: Path | None = None
    """PEM file of the accepted certificate authorities; None: those of the system."""
    certificate: Path | None = None
    """PEM file of the client's certificate, with its chain."""
    key: Path | None = None
    """PEM file of its private key; None: the key is in the certificate's file."""
    server_name: str | None = None
    """The name that the server's certificate must have; None: the endpoint's address."""
    verify: bool = True


@dataclass(frozen=True, slots=True)
class EndpointSettings:
    """The port of one memcached, as the controller reaches it."""

    address: str
    port: int
    tls: TlsSettings | None = None
    """None: no TLS."""


def endpoint_settings(values: Values) -> EndpointSettings | None:
    """Return the endpoint of a host; None for a host that is logged in to. Raises `ConfigError`."""
    text = values.text(_ENDPOINT)
    if text is None:
        return None
    try:
        address, port = parse_endpoint(text)
    except ValueError as error:
        raise values.error(_ENDPOINT, str(error)) from None
    return EndpointSettings(address, port, _tls(values))


def parse_endpoint(text: str) -> tuple[str, int]:
    """Return address and port of `HOST`, `HOST:PORT`, `[IPV6]:PORT` or `IPV6`. Raises `ValueError`."""
    text = text.strip()
    if _is_ipv6(text):
        return text, _DEFAULT_PORT
    found = _BRACKETED.fullmatch(text)
    if found is not None and not _is_ipv6(found[1]):
        found = None
    found = found or _NAMED.fullmatch(text)
    port = _DEFAULT_PORT if found is None or found[2] is None else int(found[2])
    if found is None or not 1 <= port <= 65535:
        raise ValueError(f"expected HOST:PORT or [IPV6]:PORT, not {text!r}")
    return found[1], port


def _is_ipv6(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).version == 6
    except ValueError:
        return False


def _tls(values: Values) -> TlsSettings | None:
    if not values.truth(_TLS):
        given = next((name for name in _TLS_DETAILS if values.raw(name) is not None), None)
        if given is not None:
            raise values.error(given, f"it has no effect without {_TLS}: true; set that, or remove it")
        return None
    key, certificate = _path(values, _KEY), _path(values, _CERT)
    if key is not None and certificate is None:
        raise values.error(_KEY, f"a key needs its certificate: set {_CERT}")
    verify = values.truth(_VERIFY)
    return TlsSettings(
        ca=_path(values, _CA),
        certificate=certificate,
        key=key,
        server_name=values.text(_SERVER_NAME),
        verify=verify is None or verify,
    )


def _path(values: Values, name: str) -> Path | None:
    text = values.text(name)
    return Path(text).expanduser() if text else None
