"""The page of the ssh_config files that the tests hold to OpenSSH."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from docs.generate.markdown import code, page, table
from fleettrace.errors import ConfigError
from fleettrace.transport.interface import Target
from fleettrace.transport.login_options import login_options
from fleettrace.transport.ssh_query import SshQueries
from tests.transport.config_matrix import FILES, HOSTS, MATRIX, written

__all__ = ["pages"]

_INTRODUCTION = """\
For each of these files, `tests/transport/test_config_matrix.py` compares the target of six hosts with what `ssh -G`
prints: address, port, user, bastions, ProxyCommand, keys, known_hosts, HostKeyAlias, policy for host keys, and
algorithms. What `ssh` refuses, fleettrace refuses. The suite runs it with the `ssh` of the machine, OpenSSH 9.2 on
Debian 12.

The last column is for controllers without `ssh`. `read` is the same answer by fleettrace's own reader; `refused` is an
error, because the reader does not guess. `DIR` is a directory, and `ME` the controller's user."""


def pages() -> dict[str, str]:
    """Return the page by its name."""
    files = table(("file", "text"), [(code(name), _lines(text)) for name, text in FILES.items()])
    cases = table(("case", "ssh_config", "without `ssh`"), _rows())
    parts = (_INTRODUCTION, f"## Files\n\n{cases}", f"## Included files\n\n{files}")
    return {"ssh-config.md": page("ssh_config files", "`tests/transport/config_matrix.py`", *parts)}


def _rows() -> Iterator[tuple[str, str, str]]:
    with tempfile.TemporaryDirectory() as directory:
        for case, text in MATRIX.items():
            yield case, _lines(text), "read" if _is_read(written(Path(directory), case)) else "refused"


def _lines(text: str) -> str:
    return "<br>".join(
        code(line.replace("\t", "\\t").replace("\r", "\\r")) for line in text.removesuffix("\n").split("\n")
    )


def _is_read(file: Path) -> bool:
    """Return whether the reader for controllers without `ssh` takes the file for every host."""
    try:
        for host in HOSTS:
            login_options(Target(host, ssh_config=file, ssh_executable="/no/such/ssh"), SshQueries())
    except ConfigError:
        return False
    return True
