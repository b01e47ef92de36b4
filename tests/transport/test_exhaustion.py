"""A controller that ran out of a resource reports that, and no fault of the host."""

from __future__ import annotations

import errno
import socket
import subprocess
import sys
import textwrap

import paramiko
import pytest

from fleettrace.transport.exhaustion import exhaustion_error

HEAD = """
import os, resource, socket, sys, time
from fleettrace.errors import HostError
from fleettrace.transport.fabric.tcp import connect_by_command, connect_tcp
from fleettrace.transport.interface import Limits, Target
from fleettrace.transport.local.transport import LocalTransport
from fleettrace.transport.fabric.transport import SshTransport

listener = socket.create_server(("127.0.0.1", 0))
port = listener.getsockname()[1]
SshTransport  # the modules that it imports later need descriptors as well
import paramiko, fabric
import fleettrace.transport.fabric.login, fleettrace.transport.login_options
import fleettrace.transport.fabric.keys, fleettrace.transport.fabric.bastions


def starve(left):
    \"\"\"Leave this many file descriptors.\"\"\"
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    held = []
    try:
        while True:
            held.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        for number in held[:left]:
            os.close(number)


def code(act):
    try:
        act()
    except HostError as error:
        return error.code
    return "nothing"
"""

CASES = {
    "a socket": ("print(code(lambda: connect_tcp('127.0.0.1', port, time.monotonic() + 5)))", (0,)),
    "a name": ("print(code(lambda: connect_tcp('localhost', port, time.monotonic() + 5)))", (0,)),
    "a proxy": ("print(code(lambda: connect_by_command('cat')))", (0, 1, 3)),
    "a shell": (
        "print(code(lambda: LocalTransport().connect(Target('here')).start(b'true', Limits(5, 100))))",
        (0, 1, 2, 3, 5, 7),
    ),
}


@pytest.mark.parametrize(("what", "left"), [(what, left) for what, (_, some) in CASES.items() for left in some])
def test_exhausted_descriptors_are_reported(what: str, left: int) -> None:
    act, _ = CASES[what]
    text = textwrap.dedent(HEAD) + f"\nstarve({left})\n{act}\n"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.split() == ["too-many-files"], done.stderr


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OSError(errno.EMFILE, "Too many open files"), "too-many-files"),
        (OSError(errno.ENFILE, "Too many open files in system"), "too-many-files"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "out-of-memory"),
        (MemoryError(), "out-of-memory"),
        (RuntimeError("can't start new thread"), "too-many-processes"),
        (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), "too-many-processes"),
    ],
)
def test_exhaustion_is_found_behind_another_error(error: BaseException, code: str) -> None:
    outer = paramiko.SSHException("closed")
    outer.__cause__ = error
    for each in (error, outer):
        found = exhaustion_error(each)
        assert found is not None
        assert found.code == code


@pytest.mark.parametrize(
    "error", [OSError(errno.ECONNREFUSED, "refused"), EOFError(), paramiko.SSHException("x"), socket.gaierror(-2, "x")]
)
def test_other_errors_are_no_exhaustion(error: BaseException) -> None:
    assert exhaustion_error(error) is None
