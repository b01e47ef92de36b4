"""What a site writes into ssh_config or Ansible's variables works with both clients, against real sshd and agents."""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fleettrace.errors import HostError, HostState
from fleettrace.transport.interface import Target, Transport
from tests.transport.running import failing
from tests.transport.sshd import Sshd, key_pair

RED_HAT = """\
Match final all
    Include /etc/crypto-policies/back-ends/openssh.config
    GSSAPIAuthentication yes
    ForwardX11Trusted yes
    SendEnv LANG LC_CTYPE LC_NUMERIC LC_TIME LC_COLLATE LC_MONETARY LC_MESSAGES
"""
"""The directives of /etc/ssh/ssh_config.d/50-redhat.conf (openssh of EL 9)."""


@dataclass
class Site:
    """A directory for a site's files, and the sshd that its hosts log in to."""

    path: Path
    sshd: Sshd
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def target(self, config: str, **changes: object) -> Target:
        """Return a target that takes everything but address and port from `config`."""
        file = self.path / f"config{next(self.numbers) or ''}"  # its answers are cached under its name
        known = f"UserKnownHostsFile {self.sshd.known_hosts}\n" if "UserKnownHosts" not in config else ""
        user = f"User {self.sshd.user}\n"
        file.write_text(f"{user}{known}GlobalKnownHostsFile none\n{config}")
        changes = {"key_file": None, "user": None, "known_hosts": None, "ssh_config": file} | changes
        return self.sshd.target(**changes)  # type: ignore[arg-type]


@pytest.fixture
def site(sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """A site without an agent."""
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return Site(tmp_path, sshd)


@pytest.fixture
def agent(sshd: Sshd, tmp_path: Path) -> Iterator[Path]:
    """The socket of an agent that holds a useless key, then the one that sshd accepts."""
    socket = tmp_path / "agent.sock"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL)
    try:
        while not socket.exists():
            assert process.poll() is None
        for key in (key_pair(tmp_path / "useless"), sshd.key_file):
            subprocess.run(
                ["ssh-add", "-q", key], env={**os.environ, "SSH_AUTH_SOCK": str(socket)}, check=True, timeout=20
            )
        yield socket
    finally:
        process.kill()
        process.wait()


def public_half(site: Site) -> Path:
    """Return a file with the public half of the key that sshd accepts."""
    path = site.path / "fleet key.pub"
    printed = subprocess.run(["ssh-keygen", "-y", "-f", site.sshd.key_file], capture_output=True, check=True)
    path.write_bytes(printed.stdout)
    return path


KEYS: dict[str, Callable[[Site, Path], str]] = {
    "quoted path with blanks": lambda site, _agent: f'IdentityFile "{copy(site, "my key")}"',
    "environment variable": lambda site, _agent: f"IdentityFile ${{FLEET_KEYS}}/{copy(site, 'envkey').name}",
    "tokens": lambda site, _agent: f"IdentityFile {copy(site, '127.0.0.1-' + site.sshd.user).parent}/%h-%r",
    "agent by path": lambda _site, agent: f"IdentityAgent {agent}",
    "agent by variable": lambda _site, _agent: "IdentityAgent $FLEET_AGENT",
    "agent's key by its public half": lambda site, agent: (
        f'IdentityAgent {agent}\nIdentitiesOnly yes\nIdentityFile "{public_half(site)}"'
    ),
    "agent's key by the file's name": lambda site, agent: (
        f'IdentityAgent {agent}\nIdentitiesOnly yes\nIdentityFile "{public_half(site).with_suffix("")}"'
    ),
}


def copy(site: Site, name: str) -> Path:
    """Return a copy of the key that sshd accepts."""
    path = site.path / name
    path.write_bytes(site.sshd.key_file.read_bytes())
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("case", KEYS)
def test_key_of_ssh_config_logs_in(
    ssh: Transport, site: Site, agent: Path, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLEET_KEYS", str(site.path))
    monkeypatch.setenv("FLEET_AGENT", str(agent))
    ssh.connect(site.target(KEYS[case](site, agent))).close()


@pytest.mark.parametrize("config", ["IdentityAgent none", "IdentitiesOnly yes\nIdentityFile /no/such/key"])
def test_agent_that_is_excluded_is_not_asked(
    ssh: Transport, site: Site, agent: Path, config: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", str(agent))
    with pytest.raises(HostError) as caught:
        ssh.connect(site.target(config))
    assert caught.value.state is HostState.AUTH_FAILED
    ssh.connect(site.target("")).close()


KNOWN: dict[str, Callable[[Site], str]] = {
    "tokens": lambda site: f"UserKnownHostsFile {site.path}/known-%k",
    "second file": lambda site: f"UserKnownHostsFile /no/such/file {site.path}/known-127.0.0.1",
    "alias": lambda site: f"HostKeyAlias gold\nUserKnownHostsFile {site.path}/known-gold",
    "without the port": lambda site: f"UserKnownHostsFile {site.path}/known-plain",
    "blanks": lambda site: f'UserKnownHostsFile "{site.path}/known hosts"',
}


@pytest.mark.parametrize("case", KNOWN)
def test_known_hosts_of_ssh_config_are_read(ssh: Transport, site: Site, case: str) -> None:
    key = site.sshd.known_hosts.read_text().partition(" ")[2]
    named = f"[127.0.0.1]:{site.sshd.port}"
    for file, name in (("127.0.0.1", named), ("gold", "gold"), ("plain", "127.0.0.1")):
        (site.path / f"known-{file}").write_text(f"{name} {key}")
    (site.path / "known hosts").write_text(f"{named} {key}")
    ssh.connect(site.target(KNOWN[case](site), key_file=site.sshd.key_file)).close()


def test_new_key_goes_where_the_tokens_lead(ssh: Transport, site: Site) -> None:
    config = f"UserKnownHostsFile {site.path}/%k-known\nStrictHostKeyChecking accept-new\n"
    ssh.connect(site.target(config, key_file=site.sshd.key_file)).close()
    assert [path.name for path in site.path.glob("*known*")] == ["127.0.0.1-known"]


def test_throwaway_known_hosts_work(ssh: Transport, site: Site) -> None:
    words = ("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null")
    target = site.target("UserKnownHostsFile /dev/null", key_file=site.sshd.key_file, ssh_arguments=words)
    ssh.connect(target).close()
    ssh.close()
    ssh.connect(target).close()


def test_red_hats_stock_file_changes_nothing(ssh: Transport, site: Site) -> None:
    ssh.connect(site.target(RED_HAT, key_file=site.sshd.key_file)).close()


def test_address_may_be_an_alias(ssh: Transport, site: Site) -> None:
    config = f"Host gold\n HostName 127.0.0.1\n Port {site.sshd.port}\n"
    ssh.connect(site.target(config, key_file=site.sshd.key_file, address="gold", port=None)).close()


def test_algorithms_of_ssh_config_are_used(ssh: Transport, site: Site) -> None:
    config = "HostKeyAlgorithms +ssh-rsa\nCiphers aes256-ctr\nMACs hmac-sha2-256\n"
    ssh.connect(site.target(config, key_file=site.sshd.key_file)).close()


WORDS: dict[str, Callable[[Site], tuple[str, ...]]] = {
    "Ansible's own": lambda _site: ("-C", "-o", "ControlMaster=auto", "-o", "ControlPersist=60s"),
    "user and key": lambda site: ("-l", site.sshd.user, "-i", str(site.sshd.key_file)),
    "a file": lambda site: ("-F", str(site.path / "config")),
    "ProxyCommand": lambda site: ("-o", f"ProxyCommand=nc 127.0.0.1 {site.sshd.port}"),
    "joined": lambda site: (f"-oIdentityFile={site.sshd.key_file}", "-4"),
}


@pytest.mark.parametrize("case", WORDS)
def test_arguments_of_ansible_are_honoured(ssh: Transport, site: Site, case: str) -> None:
    key = f"IdentityFile {site.sshd.key_file}\n" if case in ("Ansible's own", "a file", "ProxyCommand") else ""
    ssh.connect(site.target(key, ssh_arguments=WORDS[case](site))).close()


def test_proxy_command_of_ansible_reaches_through_a_bastion(ssh: Transport, site: Site) -> None:
    config = f"Host gw\n HostName 127.0.0.1\n Port {site.sshd.port}\n IdentityFile {site.sshd.key_file}\n"
    target = site.target(config, key_file=site.sshd.key_file)
    words = ("-o", f"ProxyCommand=ssh -F {site.path}/config -W %h:%p -q gw")
    logins = site.sshd.logins()
    ssh.connect(site.target(config, key_file=site.sshd.key_file, ssh_arguments=words, port=target.port)).close()
    assert site.sshd.logins() == logins + 2


@pytest.mark.parametrize("words", [("-W", "a:1"), ("-L", "1:a:1"), ("-f",), ("host",), ("-o",), ("-Z",)])
def test_arguments_that_are_no_login_are_refused(ssh: Transport, site: Site, words: tuple[str, ...]) -> None:
    with failing("ssh-config", "unreachable"):
        ssh.connect(site.target("", key_file=site.sshd.key_file, ssh_arguments=words))
