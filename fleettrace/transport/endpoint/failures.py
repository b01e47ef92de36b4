"""The ways in which an endpoint fails, each with its cure."""

from __future__ import annotations

from fleettrace.errors import FailureCatalogue, HostState

__all__ = ["EndpointFailure"]


class EndpointFailure(FailureCatalogue):
    """Ways in which an endpoint (`fleettrace_endpoint`) fails."""

    DNS = (
        "endpoint-dns",
        HostState.UNREACHABLE,
        "the endpoint's name does not resolve",
        "correct fleettrace_endpoint, or check the controller's name server",
    )
    UNREACHABLE = (
        "endpoint-unreachable",
        HostState.UNREACHABLE,
        "the controller cannot connect to the endpoint",
        "check fleettrace_endpoint, and that memcached listens there and no firewall is between",
    )
    TLS_FILES = (
        "endpoint-tls-files",
        HostState.SKIPPED,
        "a file for TLS with the endpoint cannot be used",
        "correct fleettrace_endpoint_tls_ca, _cert or _key; the key must not be encrypted",
    )
    CERTIFICATE = (
        "endpoint-certificate",
        HostState.HOST_KEY,
        "the endpoint's certificate is not trusted",
        "set fleettrace_endpoint_tls_ca to its authority, or fleettrace_endpoint_tls_server_name to the name in it",
    )
    TLS = (
        "endpoint-tls",
        HostState.UNREACHABLE,
        "the TLS handshake with the endpoint failed",
        "check that the port speaks TLS, and fleettrace_endpoint_tls_cert if it asks for a client's certificate",
    )
    LOST = (
        "endpoint-lost",
        HostState.UNREACHABLE,
        "the endpoint closed the connection",
        "check that the port is memcached's, and set fleettrace_endpoint_tls: true if it requires TLS",
    )
    AUTHENTICATION = (
        "endpoint-authentication",
        HostState.AUTH_FAILED,
        "memcached requires a login (-Y or SASL)",
        "fleettrace does not log in to memcached: trace the host over SSH, or leave it out",
    )
    NOT_MEMCACHED = (
        "endpoint-not-memcached",
        HostState.UNSUPPORTED,
        "the endpoint does not answer `stats` as memcached does",
        "check fleettrace_endpoint",
    )
    PROXY = (
        "endpoint-proxy",
        HostState.UNSUPPORTED,
        "the endpoint is memcached in proxy mode (proxy_config), which looks no keys up",
        "name the memcached servers behind it, one host each",
    )
    SEVERAL = (
        "endpoint-several",
        HostState.UNSUPPORTED,
        "the endpoint leads to several memcached processes",
        "name each of them, one host each",
    )
    NEEDS_LOGIN = (
        "endpoint-needs-login",
        HostState.UNSUPPORTED,
        "this needs bpftrace on the host",
        "leave out the option, or trace the host over SSH (without fleettrace_endpoint)",
    )
    SILENT = (
        "endpoint-silent",
        HostState.UNREACHABLE,
        "the endpoint gave no complete answer in time",
        "check that the port is memcached's; if it requires TLS, set fleettrace_endpoint_tls; SASL is not supported",
    )
