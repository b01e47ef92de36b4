"""Which host, port, user, keys and bastion a target gets."""

from __future__ import annotations

import getpass
from pathlib import Path

import pytest

from fleettrace.errors import ConfigError
from fleettrace.transport.interface import Target
from fleettrace.transport.ssh_config import Configs, Route, route_of


def route(tmp_path: Path, config: str, name: str = "cache-1", **target: object) -> Route:
    file = tmp_path / "config"
    file.write_text(config)
    return route_of(Target(name, ssh_config=file, **target), Configs())  # type: ignore[arg-type]


def test_without_any_word_the_defaults_hold(tmp_path: Path) -> None:
    found = route(tmp_path, "")
    assert (found.host, found.port, found.user, found.hop) == ("cache-1", 22, getpass.getuser(), None)
    assert Path("~/.ssh/id_ed25519").expanduser() in found.identities
    assert Path("~/.ssh/known_hosts").expanduser() in found.known_hosts
    assert found.use_agent


CONFIG = """
Host cache-*
  HostName %h.example.org
  Port 2200
  User ops
  IdentityFile /keys/%h
  IdentitiesOnly yes
  UserKnownHostsFile /known/a /known/b
  GlobalKnownHostsFile none
"""


def test_ssh_config_comes_before_the_defaults(tmp_path: Path) -> None:
    found = route(tmp_path, CONFIG)
    assert (found.host, found.port, found.user) == ("cache-1.example.org", 2200, "ops")
    assert found.identities == (Path("/keys/cache-1.example.org"),)
    assert found.known_hosts == (Path("/known/a"), Path("/known/b"))
    assert found.host_key_name == "[cache-1.example.org]:2200"
    assert not found.use_agent


def test_the_inventory_comes_before_ssh_config(tmp_path: Path) -> None:
    found = route(
        tmp_path,
        CONFIG,
        address="10.0.0.1",
        port=22,
        user="me",
        key_file=Path("/my/key"),
        known_hosts=Path("/my/known"),
    )
    assert (found.host, found.port, found.user, found.key_file) == ("10.0.0.1", 22, "me", Path("/my/key"))
    assert (found.known_hosts, found.host_key_name) == ((Path("/my/known"),), "10.0.0.1")


def test_a_host_is_looked_up_by_its_address_too(tmp_path: Path) -> None:
    config = "Host 10.0.*\n User by-address\nHost cache-*\n Port 2200\nHost *\n User anyone\n Port 1\n"
    found = route(tmp_path, config, address="10.0.0.1")
    assert (found.host, found.user, found.port) == ("10.0.0.1", "by-address", 2200)


def test_included_files_are_read_and_the_block_goes_on(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "a.conf").write_text("Host other\n User nobody\n")
    found = route(tmp_path, "Host cache-1\n Include more/*.conf\n User ops\n")
    assert found.user == "ops"
    assert route(tmp_path, "Include more/*.conf\nPort 2200\n", name="other").user == "nobody"
    assert route(tmp_path, "Include more/*.conf\nPort 2200\n").port == 2200


@pytest.mark.parametrize(
    ("jump", "hops"),
    [
        ("jump", [("jump", 22, "ops")]),
        ("me@jump:2222", [("jump", 2222, "me")]),
        ("ssh://me@jump:2222", [("jump", 2222, "me")]),
        ("[fe80::1]:2222", [("fe80::1", 2222, "ops")]),
        ("fe80::1", [("fe80::1", 22, "ops")]),
        ("first,me@second:23", [("second", 23, "me"), ("first", 22, "ops")]),
    ],
)
@pytest.mark.parametrize("by", ["inventory", "ssh_config"])
def test_bastions_are_taken_from_either(tmp_path: Path, jump: str, hops: list[object], by: str) -> None:
    config = f"Host cache-1\n ProxyJump {jump}\n" if by == "ssh_config" else ""
    found = route(tmp_path, config + "Host *\n User ops\n", proxy_jump=None if by == "ssh_config" else jump)
    seen = []
    while found.hop is not None:
        found = found.hop
        seen.append((found.host, found.port, found.user))
    assert seen == hops


def test_a_bastion_for_all_is_not_its_own_bastion(tmp_path: Path) -> None:
    found = route(tmp_path, "Host *\n ProxyJump jump\n")
    assert found.hop is not None
    assert found.hop.hop is None


def test_a_bastion_may_be_declined(tmp_path: Path) -> None:
    assert route(tmp_path, "Host cache-1\n ProxyJump none\nHost *\n ProxyJump jump\n").hop is None


def test_a_host_that_is_its_own_bastion_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="leads to itself"):
        route(tmp_path, "", proxy_jump="cache-1")


def test_the_password_is_no_part_of_what_is_shown(tmp_path: Path) -> None:
    target = Target("cache-1", password="s3cret")
    assert "s3cret" not in repr(target) + repr(route(tmp_path, "", password="s3cret"))


@pytest.mark.parametrize("config", ["Host 'unclosed\n", "Host *\n Port many\n", "word\n"])
def test_a_faulty_file_is_named(tmp_path: Path, config: str) -> None:
    with pytest.raises(ConfigError, match=str(tmp_path / "config")):
        route(tmp_path, config)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read this ssh_config"):
        route_of(Target("cache-1", ssh_config=tmp_path / "none"), Configs())
