"""Parsing the stderr of `ssh`: texts that no server of these tests can provoke."""

from __future__ import annotations

import pytest

from fleettrace.errors import HostError
from fleettrace.transport.interface import Target
from fleettrace.transport.openssh.stderr import login_error, timeout_error

TARGET = Target("cache-1", ssh_arguments=("-J", "jump"))
CONNECTING = "debug1: Connecting to 10.0.0.1 [10.0.0.1] port 22.\r\n"
CONNECTED = f"{CONNECTING}debug1: Connection established.\r\n"
GREETED = f"{CONNECTED}debug1: Remote protocol version 2.0, remote software version OpenSSH_9.2p1\r\n"
AGREED = f"{GREETED}debug1: SSH2_MSG_NEWKEYS received\r\n"
JUMPING = (
    "debug1: Setting implicit ProxyCommand from ProxyJump: ssh -W '[%h]:%p' jump\r\n"
    "debug1: Executing proxy command: exec ssh -W '[10.0.0.1]:22' jump\r\n"
)
ENDED = "kex_exchange_identification: Connection closed by remote host\r\nConnection closed by UNKNOWN port 65535\r\n"


def state_and_code(error: HostError) -> tuple[str, str]:
    assert "\n" not in str(error)
    return str(error.state), error.code


@pytest.mark.parametrize(
    ("stderr", "expected"),
    [
        ("ssh: Could not resolve hostname a: Temporary failure in name resolution\r\n", "dns-timeout"),
        (f"{CONNECTING}ssh: connect to host 10.0.0.1 port 22: Connection timed out\r\n", "connect-timeout"),
        (f"{CONNECTING}ssh: connect to host 10.0.0.1 port 22: No route to host\r\n", "no-route"),
        (f"{CONNECTING}ssh: connect to host 10.0.0.1 port 22: Connection reset by peer\r\n", "connect-failed"),
        (f"{CONNECTED}Connection timed out during banner exchange\r\n", "banner-timeout"),
        (f"{CONNECTED}kex_exchange_identification: read: Connection reset by peer\r\n", "banner-closed"),
        (f"{GREETED}Connection to 10.0.0.1 port 22 timed out\r\n", "kex-timeout"),
        (f"{GREETED}Connection reset by 10.0.0.1 port 22\r\n", "connection-lost"),
        (f"{AGREED}Permission denied by our policy.\r\nConnection closed by 10.0.0.1 port 22\r\n", "connection-lost"),
        (f"{AGREED}Something quite new\r\n", "ssh-failed"),
        (f"{JUMPING}ssh: connect to host jump port 22: Connection refused\r\n{ENDED}", "bastion-connection-refused"),
        (f"{JUMPING}stdio forwarding request failed: Session open refused by peer\r\n{ENDED}", "bastion-no-route"),
        (f"{JUMPING}{ENDED}", "bastion-lost"),
        ("", "ssh-failed"),
    ],
)
def test_failed_login(stderr: str, expected: str) -> None:
    assert state_and_code(login_error(stderr, TARGET)) == ("unreachable", expected)


@pytest.mark.parametrize(
    ("stderr", "expected"),
    [
        ("", "dns-timeout"),
        (CONNECTING, "connect-timeout"),
        (CONNECTED, "banner-timeout"),
        (f"{CONNECTED}debug1: kex_exchange_identification: banner line 0: 220 mail\r\n", "not-ssh"),
        (GREETED, "kex-timeout"),
        (AGREED, "auth-timeout"),
        (JUMPING, "bastion-timeout"),
        (f"{JUMPING}{GREETED}", "kex-timeout"),
    ],
)
def test_login_timeout(stderr: str, expected: str) -> None:
    assert state_and_code(timeout_error(stderr, TARGET)) == ("unreachable", expected)


def test_server_output_is_safe_on_a_terminal() -> None:
    error = login_error(f"{AGREED}\x1b[2J{'x' * 5000}\r\n", TARGET)
    assert "\x1b" not in str(error)
    assert len(str(error)) < 300
