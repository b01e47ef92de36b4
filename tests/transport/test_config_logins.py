"""Logins by ssh_config files of which only the right reading leads to the server; all other ports are closed."""

from __future__ import annotations

import getpass
import re
import subprocess
from pathlib import Path
from string import Template

import pytest

from fleettrace.transport.interface import Transport
from tests.transport.running import failing, run
from tests.transport.sshd import Sshd

ME = getpass.getuser()

# $port is the server's, nothing listens on port 1, and $directory holds these files.
FILES = {
    "conf.d/10-site.conf": "Host cache-*\n  Port $port\n",
    "conf.d/.10-hidden.conf": "Port 1\n",
    "with blank.conf": "Match originalhost cache-1\n  Port $port\n",
}
WAYS = {
    "negation": "Host * !cache-1\n  Port 1\nHost cache-1\n  Port $port\n",
    "equals signs": "HOST=cache-1\n  PORT = $port\n",
    "match with capitals": "Match Host db\n  Port 1\nMatch Host 127.0.0.1\n  Port $port\n",
    "match originalhost": "Match originalhost db\n  Port 1\nMatch originalhost cache-1\n  Port $port\n",
    "match negated": "Match !originalhost cache-1\n  Port 1\nMatch all\n  Port $port\n",
    "match exec": 'Match exec false\n  Port 1\nMatch exec "test %n = cache-1"\n  Port $port\n',
    "match localuser": f"Match !localuser {ME}\n  Port 1\nMatch localuser {ME}\n  Port $port\n",
    "match user": "Match user another\n  Port 1\nMatch user $user\n  Port $port\n",
    "match localnetwork": "Match localnetwork 203.0.113.0/24\n  Port 1\nMatch all\n  Port $port\n",
    "match localnetwork that holds": "Match localnetwork 0.0.0.0/0,::/0\n  Port $port\n",
    "match tagged": "Tag blue\nMatch tagged green\n  Port 1\nMatch tagged blue\n  Port $port\n",
    "match version": "Match version OpenSSH_1.*\n  Port 1\nMatch version OpenSSH_*\n  Port $port\n",
    "match final": "Match final host 127.0.0.1\n  Port $port\n",
    "match canonical": "Match canonical originalhost cache-1\n  Port 1\nHost *\n  Port $port\n",
    "include with a glob": "Include $directory/conf.d/*.conf\nPort 1\n",
    "include with quotes": 'Include "$directory/with blank.conf" # the site\nMatch all\n  Port 1\n',
    "include in another block": "Host db\n  Include $directory/conf.d/.10-hidden.conf\nHost *\n  Port $port\n",
    "command with a token": "ProxyCommand nc %h $port\nPort 1\n",
}


OF_LATER_RELEASES = frozenset(way for way in WAYS if re.match(r"match (localnetwork|tagged|version)", way))
"""Criteria of OpenSSH 9.4 and later, which an older `ssh` refuses, and fleettrace with it."""


def accepted(file: Path) -> bool:
    """Return whether the `ssh` here takes the file."""
    return subprocess.run(["ssh", "-G", "-F", file, "cache-1"], capture_output=True, check=False).returncode == 0


def configuration(directory: Path, sshd: Sshd, way: str) -> Path:
    """Return a file that sets everything for a login, and the port by `way`."""
    values = {"port": sshd.port, "user": sshd.user, "directory": directory}
    known = directory / "known"
    known.write_text(f"fleet {sshd.known_hosts.read_text().partition(' ')[2]}")
    always = (
        f"User {sshd.user}\nHostName 127.0.0.1\nHostKeyAlias fleet\n"
        f"IdentityFile {sshd.key_file}\nUserKnownHostsFile {known}\n"
    )
    for name, text in (*FILES.items(), ("config", always + way)):
        path = directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(Template(text).substitute(values))
    return directory / "config"


@pytest.mark.lab
@pytest.mark.parametrize("way", WAYS)
def test_only_the_right_reading_logs_in(ssh: Transport, sshd: Sshd, tmp_path: Path, way: str) -> None:
    file = configuration(tmp_path, sshd, WAYS[way])
    target = sshd.target(
        "cache-1", address=None, port=None, user=None, key_file=None, known_hosts=None, ssh_config=file
    )
    if not accepted(file):
        assert way in OF_LATER_RELEASES
        with failing("ssh-config", "unreachable"):
            ssh.connect(target)
        return
    assert run(ssh, target, b"id -un") == (f"{sshd.user}\n".encode(), b"", 0)
