"""Merging inventory, ssh_config and defaults into the options of a login."""

from __future__ import annotations

import getpass
from pathlib import Path

import pytest

from fleettrace.errors import ConfigError
from fleettrace.transport.interface import Target
from fleettrace.transport.login_options import LoginOptions, login_options
from fleettrace.transport.ssh_query import SshQueries


def options(tmp_path: Path, config: str, name: str = "cache-1", **target: object) -> LoginOptions:
    file = tmp_path / "config"
    file.write_text(config)
    return login_options(Target(name, ssh_config=file, **target), SshQueries())  # type: ignore[arg-type]


def test_defaults_without_ssh_config(tmp_path: Path) -> None:
    found = options(tmp_path, "")
    assert (found.host, found.port, found.user, found.bastion) == ("cache-1", 22, getpass.getuser(), None)
    assert Path("~/.ssh/id_ed25519").expanduser() in found.identities
    assert Path("~/.ssh/known_hosts").expanduser() in found.known_hosts


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


def test_ssh_config_overrides_the_defaults(tmp_path: Path) -> None:
    found = options(tmp_path, CONFIG)
    assert (found.host, found.port, found.user) == ("cache-1.example.org", 2200, "ops")
    assert found.identities == (Path("/keys/cache-1.example.org"),)
    assert found.known_hosts == (Path("/known/a"), Path("/known/b"))
    assert found.host_key_name == "[cache-1.example.org]:2200"
    assert found.identities_only


def test_the_inventory_overrides_ssh_config(tmp_path: Path) -> None:
    found = options(
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


def test_host_blocks_match_what_ssh_is_given(tmp_path: Path) -> None:
    config = "Host 10.0.*\n User by-address\nHost cache-*\n Port 2200\nHost *\n User anyone\n Port 1\n"
    found = options(tmp_path, config, address="10.0.0.1")
    assert (found.host, found.user, found.port) == ("10.0.0.1", "by-address", 1)


def test_address_may_be_an_alias_of_ssh_config(tmp_path: Path) -> None:
    found = options(tmp_path, "Host gold\n HostName 10.0.0.9\n Port 2200\n", address="gold")
    assert (found.host, found.port, found.host_key_name) == ("10.0.0.9", 2200, "[10.0.0.9]:2200")


def test_include_continues_the_block(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "a.conf").write_text("Host other\n User guest\n")
    found = options(tmp_path, f"Host cache-1\n Include {tmp_path}/more/*.conf\n User ops\n")
    assert found.user == "ops"
    assert options(tmp_path, f"Include {tmp_path}/more/*.conf\nPort 2200\n", name="other").user == "guest"
    assert options(tmp_path, f"Include {tmp_path}/more/*.conf\nPort 2200\n").port == 2200


@pytest.mark.parametrize(
    ("jump", "bastions"),
    [
        ("jump", [("jump", 22, "ops")]),
        ("me@jump:2222", [("jump", 2222, "me")]),
        ("ssh://me@jump:2222", [("jump", 2222, "me")]),
        ("[fe80::1]:2222", [("fe80::1", 2222, "ops")]),
        ("first,me@second:23", [("second", 23, "me"), ("first", 22, "ops")]),
    ],
)
@pytest.mark.parametrize("by", ["inventory", "ssh_config"])
def test_bastions_from_inventory_and_ssh_config(tmp_path: Path, jump: str, bastions: list[object], by: str) -> None:
    config = f"Host cache-1\n ProxyJump {jump}\n" if by == "ssh_config" else ""
    words = () if by == "ssh_config" else ("-J", jump)
    found = options(tmp_path, config + "Host *\n User ops\n", ssh_arguments=words)
    seen = []
    while found.bastion is not None:
        found = found.bastion
        seen.append((found.host, found.port, found.user))
    assert seen == bastions


def test_bastion_of_all_hosts_is_a_loop_as_for_ssh(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="jumphost loop via jump"):
        options(tmp_path, "Host *\n ProxyJump jump\n")
    assert options(tmp_path, "Host * !jump\n ProxyJump jump\n").bastion is not None


def test_proxy_jump_none_disables_the_bastion(tmp_path: Path) -> None:
    assert options(tmp_path, "Host cache-1\n ProxyJump none\nHost *\n ProxyJump jump\n").bastion is None


def test_host_as_its_own_bastion_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="jumphost loop via cache-1"):
        options(tmp_path, "", ssh_arguments=("-J", "cache-1"))


def test_repr_hides_the_password(tmp_path: Path) -> None:
    target = Target("cache-1", password="s3cret")
    assert "s3cret" not in repr(target) + repr(options(tmp_path, "", password="s3cret"))


@pytest.mark.parametrize("config", ["Host 'unclosed\n", "Host *\n Port many\n", "word\n"])
def test_faulty_file_is_named(tmp_path: Path, config: str) -> None:
    with pytest.raises(ConfigError, match=str(tmp_path / "config")):
        options(tmp_path, config)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read this ssh_config"):
        login_options(Target("cache-1", ssh_config=tmp_path / "none"), SshQueries())
