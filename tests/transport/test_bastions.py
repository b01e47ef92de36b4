"""Bastions: one connection for all hosts behind it, and errors that name the one that failed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from fleettrace.errors import HostError
from fleettrace.transport.interface import Target, Transport
from tests.transport.running import LIMITS, failing, run
from tests.transport.sshd import Account, Sshd, running_sshd

pytestmark = pytest.mark.lab


@pytest.fixture
def bastion(directory: Path, user: Account) -> Iterator[Sshd]:
    """A server that hosts are reached through."""
    with running_sshd(directory / "bastion", user.name) as server:
        yield server


@pytest.fixture
def behind(bastion: Sshd, sshd: Sshd, tmp_path: Path) -> Callable[..., Target]:
    """Make targets on `sshd` behind `bastion`, which ssh_config defines."""
    config, known = tmp_path / "config", tmp_path / "known_hosts"
    config.write_text(
        f"Host jump\n HostName 127.0.0.1\n Port {bastion.port}\n"
        f" User {bastion.user}\n IdentityFile {bastion.key_file}\n"
    )
    known.write_text(bastion.known_hosts.read_text() + sshd.known_hosts.read_text())

    def target(name: str = "web1", **changes: object) -> Target:
        return sshd.target(
            name, **{"ssh_arguments": ("-J", "jump"), "ssh_config": config, "known_hosts": known, **changes}
        )

    return target


@pytest.mark.parametrize("ssh", ["ssh"], indirect=True)
def test_hosts_share_one_connection(ssh: Transport, bastion: Sshd, behind: Callable[..., Target]) -> None:
    def one(number: int) -> bytes:
        return run(ssh, behind(f"web{number}"), f"echo {number}".encode())[0]

    with ThreadPoolExecutor(12) as pool:
        assert list(pool.map(one, range(12))) == [f"{number}\n".encode() for number in range(12)]
    assert bastion.logins() == 1


def test_broken_connection_is_opened_again(ssh: Transport, bastion: Sshd, behind: Callable[..., Target]) -> None:
    with closing(ssh.connect(behind())) as connection:
        execution = connection.start(b"cat", LIMITS)
        threading.Timer(0.2, bastion.cut).start()
        with failing("connection-lost", "unreachable"):
            list(execution)
    assert run(ssh, behind(), b"echo again")[0] == b"again\n"
    assert bastion.logins() == 2


def test_bastion_is_down(ssh: Transport, behind: Callable[..., Target]) -> None:
    with failing("bastion-connection-refused", "unreachable") as caught:
        ssh.connect(behind(ssh_arguments=("-J", "127.0.0.1:1")))
    assert str(caught.value).startswith("bastion 127.0.0.1:1: ")


def test_bastion_with_unknown_key(ssh: Transport, sshd: Sshd, behind: Callable[..., Target]) -> None:
    with failing("bastion-host-key-unknown", "host-key"):
        ssh.connect(behind(known_hosts=sshd.known_hosts))


def test_bastion_refuses_the_login(ssh: Transport, bastion: Sshd, behind: Callable[..., Target]) -> None:
    with failing("bastion-auth-failed", "auth-failed"):
        (bastion.directory / "authorized_keys").write_text("")
        ssh.connect(behind())


def test_failure_reaches_waiting_hosts_only(ssh: Transport, bastion: Sshd, behind: Callable[..., Target]) -> None:
    allowed = (bastion.directory / "authorized_keys").read_text()
    (bastion.directory / "authorized_keys").write_text("")

    def code(number: int) -> str:
        try:
            ssh.connect(behind(f"web{number}")).close()
        except HostError as error:
            return error.code
        return "none"

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(code, range(8))) == {"bastion-auth-failed"}
    (bastion.directory / "authorized_keys").write_text(allowed)
    assert run(ssh, behind(), b"echo again")[0] == b"again\n"


def test_host_behind_bastion_is_down(
    ssh: Transport, bastion: Sshd, behind: Callable[..., Target], by_openssh: bool
) -> None:
    with failing("bastion-no-route", "unreachable") as caught:
        ssh.connect(behind(port=1))
    name, host = ("jump", "the host") if by_openssh else (f"127.0.0.1:{bastion.port}", "127.0.0.1:1")
    assert f"bastion {name} cannot reach {host}" in str(caught.value)


def test_bastion_forbids_forwarding(ssh: Transport, directory: Path, user: Account, sshd: Sshd) -> None:
    with running_sshd(directory / "forbids", user.name, "AllowTcpForwarding no") as server:
        config, known = server.directory / "config", server.directory / "both"
        config.write_text(f"Host 127.0.0.1\n IdentityFile {server.key_file}\n")
        known.write_text(server.known_hosts.read_text() + sshd.known_hosts.read_text())
        jump = f"{user.name}@127.0.0.1:{server.port}"
        with failing("bastion-forbids", "unreachable"):
            ssh.connect(sshd.target(ssh_arguments=("-J", jump), ssh_config=config, known_hosts=known))


def test_bastion_behind_a_bastion(
    ssh: Transport, directory: Path, user: Account, behind: Callable[..., Target]
) -> None:
    with running_sshd(directory / "second", user.name) as second:
        target = behind(ssh_arguments=("-J", f"jump,{user.name}@127.0.0.1:{second.port}"))
        assert target.ssh_config is not None
        assert target.known_hosts is not None
        target.ssh_config.write_text(
            target.ssh_config.read_text() + f"Host 127.0.0.1\n IdentityFile {second.key_file}\n"
        )
        target.known_hosts.write_text(target.known_hosts.read_text() + second.known_hosts.read_text())
        assert run(ssh, target, b"echo far")[0] == b"far\n"
        assert second.logins() == 1


def test_proxy_command(ssh: Transport, sshd: Sshd, tmp_path: Path) -> None:
    config = tmp_path / "config"
    code = "import socket,sys,threading,os;s=socket.create_connection((sys.argv[1],int(sys.argv[2])))"
    relay = tmp_path / "relay.py"
    relay.write_text(
        code.replace(";", "\n") + "\ndef up():\n    while d := os.read(0, 65536):\n        s.sendall(d)\n"
        "threading.Thread(target=up, daemon=True).start()\nwhile d := s.recv(65536):\n    os.write(1, d)\n"
    )
    config.write_text(f"ProxyCommand python3 {relay} %h %p\n Port {sshd.port}\n")
    assert run(ssh, sshd.target(ssh_config=config), b"echo by proxy")[0] == b"by proxy\n"
