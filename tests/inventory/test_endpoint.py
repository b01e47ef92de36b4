"""The variables of an endpoint, and the errors for those that cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleettrace.errors import ConfigError
from fleettrace.inventory import host_settings, load_inventory
from fleettrace.inventory.endpoint import EndpointSettings, TlsSettings, parse_endpoint


def settings(tmp_path: Path, *lines: str) -> EndpointSettings | None:
    path = tmp_path / "inventory.yaml"
    path.write_text("all:\n  hosts:\n    cache:\n" + "".join(f"      fleettrace_endpoint{line}\n" for line in lines))
    return host_settings(load_inventory([str(path)]).hosts["cache"]).endpoint


@pytest.mark.parametrize(
    ("text", "address", "port"),
    [
        ("cache.example.net:11212", "cache.example.net", 11212),
        ("cache_1", "cache_1", 11211),
        ("127.0.0.1:1", "127.0.0.1", 1),
        ("[::1]:11213", "::1", 11213),
        ("[fe80::1%eth0]", "fe80::1%eth0", 11211),
        ("2001:db8::1", "2001:db8::1", 11211),
    ],
)
def test_endpoint_is_address_and_port(text: str, address: str, port: int) -> None:
    assert parse_endpoint(text) == (address, port)


@pytest.mark.parametrize(
    "text", ["", ":11211", "a:0", "a:65536", "a:b", "a b:1", "-a:1", "[a]:1", "[::1", "unix:/x", "http://a", "a:1:2"]
)
def test_impossible_endpoint_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected HOST:PORT"):
        parse_endpoint(text)


def test_tls_variables_are_read(tmp_path: Path) -> None:
    found = settings(
        tmp_path,
        ": cache:11211",
        "_tls: true",
        "_tls_ca: /ca.pem",
        "_tls_cert: ~/c.pem",
        "_tls_key: /k.pem",
        "_tls_server_name: cache.example.net",
        "_tls_verify: false",
    )
    tls = TlsSettings(Path("/ca.pem"), Path("~/c.pem").expanduser(), Path("/k.pem"), "cache.example.net", verify=False)
    assert found == EndpointSettings("cache", 11211, tls)


def test_certificates_are_verified_by_default(tmp_path: Path) -> None:
    assert settings(tmp_path, ": cache", "_tls: true") == EndpointSettings("cache", 11211, TlsSettings(verify=True))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([": 'cache:x'"], "4: fleettrace_endpoint of cache: expected HOST:PORT"),
        ([": cache", "_tls_ca: /ca.pem"], "5: fleettrace_endpoint_tls_ca of cache: it has no effect without"),
        ([": cache", "_tls: true", "_tls_key: /k"], "6: fleettrace_endpoint_tls_key of cache: a key needs"),
    ],
)
def test_error_names_variable_and_line(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        settings(tmp_path, *lines)


def test_endpoint_source_is_a_host_of_its_name() -> None:
    inventory = load_inventory(["endpoint://[::1]:11212", "endpoint://cache", "web,"])
    endpoints = {name: host_settings(host).endpoint for name, host in inventory.hosts.items()}
    assert endpoints == {
        "[::1]:11212": EndpointSettings("::1", 11212),
        "cache": EndpointSettings("cache", 11211),
        "web": None,
    }


def test_impossible_endpoint_source_is_refused() -> None:
    with pytest.raises(ConfigError, match="--endpoint: expected HOST:PORT"):
        load_inventory(["endpoint://a b"])
