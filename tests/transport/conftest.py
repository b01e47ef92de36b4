"""One user and one sshd for most tests, and transports that must leave no thread, process or file behind."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleettrace.transport.fabric.transport import SshTransport
from fleettrace.transport.interface import Transport
from fleettrace.transport.openssh.transport import OpenSshTransport
from tests.transport.openssh_remains import remains
from tests.transport.sshd import Account, Sshd, account, running_sshd


@pytest.fixture(scope="package")
def user() -> Iterator[Account]:
    """A user with a plain shell and no rights."""
    with account(f"ftt{os.getpid()}u") as made:
        yield made


@pytest.fixture(scope="package")
def directory() -> Iterator[Path]:
    """A directory that other users may enter, as sshd does for their authorized_keys. pytest's own are private."""
    with tempfile.TemporaryDirectory(prefix="fleettrace-sshd-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def own_directory(directory: Path) -> Path:
    """A directory for one test, which other users may enter."""
    made = Path(tempfile.mkdtemp(dir=directory))
    made.chmod(0o755)
    return made


@pytest.fixture(scope="package")
def sshd(directory: Path, user: Account) -> Iterator[Sshd]:
    """A server where `user` (and root) may log in with `sshd.key_file`."""
    with running_sshd(directory / "main", user.name) as server:
        yield server


@pytest.fixture(params=["ssh", "openssh"])
def ssh(request: pytest.FixtureRequest) -> Iterator[Transport]:
    """A transport over SSH for one test. When it is closed, no thread, process or file of it is left."""
    before = set(threading.enumerate())
    transport: Transport = SshTransport() if request.param == "ssh" else OpenSshTransport()
    yield transport
    transport.close()
    deadline = time.monotonic() + 5
    while (running := set(threading.enumerate()) - before) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not running
    if request.param == "openssh":
        assert not remains(os.getpid())


@pytest.fixture
def by_openssh(ssh: Transport) -> bool:
    """Whether the test's transport is the system's `ssh`."""
    return isinstance(ssh, OpenSshTransport)
