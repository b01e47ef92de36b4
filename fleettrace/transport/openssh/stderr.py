"""Parse the stderr of the system's `ssh`: why did a login fail? Pure.

The exit status is 255 for every failure. Lines that begin with `debug1: ` come from the `ssh` that connects to the
host, and show how far it came. Other lines may also come from a bastion's `ssh` or from a server, so each pattern has
to match a whole line. OpenSSH 7.6 to 10 print the same texts (sshconnect.c, sshconnect2.c, packet.c, kex.c, mux.c).
"""

from __future__ import annotations

import re
from collections.abc import Callable

from fleettrace.errors import HostError
from fleettrace.transport.address_check import jump_hosts
from fleettrace.transport.exhaustion import exhaustion_error
from fleettrace.transport.interface import Target
from fleettrace.transport.ssh_errors import (
    SshFailure,
    auth_failed,
    auth_nothing,
    connect_failed,
    connect_timeout,
    connection_broke,
    connection_refused,
    dns_failed,
    dns_timeout,
    host_key_changed,
    host_key_revoked,
    host_key_unknown,
    host_key_unsaved,
    key_failure,
    no_common_algorithm,
    no_route,
    on_bastion,
)
from fleettrace.transport.text import readable

__all__ = ["local_error", "login_error", "timeout_error", "unsaved_key_error"]

_DEBUG = "debug1: "
_DENIED = r"(\S+)@\S+: Permission denied \((.*)\)\."


class _Stderr:
    """The stderr of one `ssh`, split into the steps of its login (the debug lines) and its messages."""

    def __init__(self, text: str, target: Target) -> None:
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        self.target = target
        self.steps = [line.removeprefix(_DEBUG) for line in lines if line.startswith(_DEBUG)]
        self.messages = [line for line in lines if not line.startswith(_DEBUG)]

    def reached(self, step: str) -> bool:
        return any(line.startswith(step) for line in self.steps)

    def message(self, pattern: str) -> re.Match[str] | None:
        return next((found for line in self.messages if (found := re.fullmatch(pattern, line))), None)

    def step(self, pattern: str) -> re.Match[str] | None:
        return next((found for line in self.steps if (found := re.fullmatch(pattern, line))), None)

    def last_message(self, *ignored: str) -> str:
        """Return the last message that does not begin with one of `ignored`, shortened; "" where there is none."""
        messages = [line for line in self.messages if not line.startswith(ignored or ("Connection closed by UNKNOWN",))]
        return _short(messages[-1]) if messages else ""

    @property
    def greeted(self) -> bool:
        return self.reached("Remote protocol version")

    @property
    def by_proxy_command(self) -> bool:
        return self.reached("Executing proxy command")

    @property
    def by_proxy_jump(self) -> bool:
        return self.reached("Setting implicit ProxyCommand from ProxyJump")


def login_error(text: str, target: Target) -> HostError:
    """Return why an `ssh` with the stderr `text` ended before it was logged in."""
    stderr = _Stderr(text, target)
    if fault := stderr.message(r"(.+: line \d+: .+|jumphost loop via .+|Bad .+|.+: terminating, .+)"):
        return SshFailure.SSH_CONFIG.error(f"ssh_config: {readable(fault[1].encode())}")
    if stderr.by_proxy_command and not stderr.greeted:
        return _proxy_error(stderr)
    return _first(stderr, *_AT_HOST_OR_BASTION, _auth_error) or _connection_error(stderr)


def timeout_error(text: str, target: Target) -> HostError:
    """Return why an `ssh` with the stderr `text` was not logged in within the connect timeout."""
    stderr = _Stderr(text, target)
    if stderr.by_proxy_command and not stderr.greeted:
        through = "the bastion" if stderr.by_proxy_jump else "the ProxyCommand of ssh_config"
        return SshFailure.BASTION_TIMEOUT.error(f"no SSH banner arrived through {through} within the connect timeout")
    if stderr.reached("SSH2_MSG_NEWKEYS received"):
        return SshFailure.AUTH_TIMEOUT.error()
    if stderr.greeted:
        return SshFailure.KEX_TIMEOUT.error()
    if stderr.step(r"\S*exchange_identification: banner line .*"):
        return SshFailure.NOT_SSH.error()
    if stderr.reached("Connection established"):
        return SshFailure.BANNER_TIMEOUT.error()
    if connecting := stderr.step(r"Connecting to .* port (\d+)\."):
        return connect_timeout(connecting[1])
    return dns_timeout(target.address or target.name)


def local_error(error: OSError) -> HostError:
    """Return the error of a controller where no `ssh` could be started."""
    if exhausted := exhaustion_error(error):
        return exhausted
    reason = error.strerror or str(error)
    where = f" {error.filename}" if error.filename else ""
    return SshFailure.OPENSSH_FAILED.error(f"`ssh` cannot run here ({reason}{where})")


def unsaved_key_error(text: str) -> HostError | None:
    """Return the error of a new host key that `ssh` could not write down, where it warned of that in `text`."""
    found = re.search(r"^Failed to add the host to the list of known hosts \((.*)\)\.\s*$", text, re.MULTILINE)
    return host_key_unsaved(found[1]) if found else None


def _first(stderr: _Stderr, *parsers: Callable[[_Stderr], HostError | None]) -> HostError | None:
    return next((error for parse in parsers if (error := parse(stderr)) is not None), None)


def _proxy_error(stderr: _Stderr) -> HostError:
    """Return why there is no way to the host. The bastion's `ssh` printed the reason; the host's saw only its end."""
    if not stderr.by_proxy_jump:
        return SshFailure.PROXY_COMMAND_FAILED.error()
    jump = ",".join(jump_hosts(stderr.target))
    bastion = f"bastion {jump}" if jump else "a bastion"
    if refused := stderr.message(r"channel \d+: open failed: (.+)|.*(stdio forwarding (?:request )?failed.*)"):
        reason = refused[1] or refused[2]
        if reason.startswith("administratively prohibited"):
            return SshFailure.BASTION_FORBIDS.error(f"{bastion} does not forward to the host")
        return SshFailure.BASTION_NO_ROUTE.error(f"{bastion} cannot reach the host ({_short(reason)})")
    if error := _first(stderr, *_AT_HOST_OR_BASTION, _bastion_auth_error):
        return on_bastion(bastion, error)
    reason = stderr.last_message()
    return SshFailure.BASTION_LOST.error(f"the connection to {bastion} broke" + (f" ({reason})" if reason else ""))


def _dns_error(stderr: _Stderr) -> HostError | None:
    found = stderr.message(r"ssh: Could not resolve hostname (.*): (.*)")
    if found is None:
        return None
    temporary = found[2].startswith("Temporary failure")
    return dns_timeout(found[1]) if temporary else dns_failed(found[1], found[2])


def _connect_error(stderr: _Stderr) -> HostError | None:
    found = stderr.message(r"ssh: connect to host (.*) port (\d+): (.*)")
    if found is None:
        return None
    port, reason = found[2], found[3]
    if reason == "Connection refused":
        return connection_refused(port)
    if "timed out" in reason:
        return connect_timeout(port)
    if reason in ("No route to host", "Network is unreachable", "Host is down", "Cannot assign requested address"):
        return no_route(reason)
    return connect_failed(port, reason)


def _host_key_error(stderr: _Stderr) -> HostError | None:
    step = stderr.step(r"Server host key: (\S+ \S+)")
    key = step[1] if step else "(not shown)"
    if stderr.message(r"@ +WARNING: REVOKED HOST KEY DETECTED! +@"):
        return host_key_revoked(key)
    if stderr.message(r"@ +WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! +@"):
        entry = stderr.message(r"Offending (\S+) key in (.+):(\d+)")
        name = stderr.message(r"Host key for (\S+) has changed and you have requested strict checking\.")
        known = f"{entry[2]}:{entry[3]} has another" if entry else "known_hosts has another"
        return host_key_changed(key, known, entry[2] if entry else "", name[1] if name else "")
    if unknown := stderr.message(r"No (\S+) host key is known for (\S+) and you have requested strict checking\."):
        named = re.fullmatch(r"\[(.+)\]:(\d+)", unknown[2])
        address, port = (named[1], int(named[2])) if named else (unknown[2], 22)
        return host_key_unknown(key, stderr.target.known_hosts or "~/.ssh/known_hosts", address, port)
    if stderr.message(r"Host key verification failed\."):
        reason = stderr.last_message("Host key verification")
        return SshFailure.HOST_KEY_REFUSED.error(
            f"`ssh` refused the host key {key}" + (f" ({reason})" if reason else "")
        )
    return None


def _algorithm_error(stderr: _Stderr) -> HostError | None:
    found = stderr.message(r"Unable to negotiate with .*: (no matching .*)")
    return no_common_algorithm(_short(found[1])) if found else None


def _askpass_error(stderr: _Stderr) -> HostError | None:
    return SshFailure.ASKPASS_FAILED.error() if stderr.message(r"ssh_askpass: exec\(.*\): .*") else None


def _auth_error(stderr: _Stderr) -> HostError | None:
    denied = stderr.message(_DENIED)
    closed = stderr.message(r"Received disconnect from .*: (Too many authentication failures)")
    if denied is None and closed is None:
        return None
    user = denied[1] if denied else (stderr.target.user or "the user")
    key = stderr.target.key_file
    unusable = stderr.message(r'Load key "(.+)": (.+)')
    if unusable and key is not None and unusable[1] == str(key.expanduser()):
        return _key_error(unusable[1], unusable[2])
    accepted = stderr.step(r"Server accepts key: (\S+) .*")
    if denied and accepted and not unusable:
        return SshFailure.KEY_PASSPHRASE.error(
            f"sshd accepts key {accepted[1]} for {user}, but the key cannot sign (does it have a passphrase?)"
        )
    tried = _tried(stderr)
    if not tried:
        return auth_nothing(user)
    return auth_failed(user, tried, denied[2].split(",") if denied else (), closed=denied is None)


def _key_error(path: str, reason: str) -> HostError:
    if reason == "bad permissions":
        return key_failure(SshFailure.KEY_PERMISSIONS, path)
    return key_failure(SshFailure.KEY_INVALID, path, _short(reason))


def _tried(stderr: _Stderr) -> list[str]:
    tried = []
    for step in stderr.steps:
        if found := re.fullmatch(r"Offering public key: (\S+) .*", step):
            tried.append(f"key {found[1]}")
        elif found := re.fullmatch(r"Next authentication method: (gssapi\S*|password|keyboard-interactive)", step):
            tried.append("the password" if found[1] != "gssapi-with-mic" else "GSSAPI")
    return list(dict.fromkeys(tried))


def _bastion_auth_error(stderr: _Stderr) -> HostError | None:
    denied = stderr.message(_DENIED)
    if denied is None:
        return None
    cure = "give it a user and a key in ssh_config"
    return auth_failed(denied[1], (), denied[2].split(","), closed=False, cure=cure)


def _connection_error(stderr: _Stderr) -> HostError:
    """Return the error of a connection that ended without a more specific message."""
    if any("timed out" in line for line in stderr.messages):
        return timeout_error("\n".join(_DEBUG + step for step in stderr.steps), stderr.target)
    if stderr.message(
        r"\S*exchange_identification: (banner line .*|No SSH identification.*|.*invalid.*)|Bad .*version.*"
    ):
        return SshFailure.NOT_SSH.error()
    if not stderr.greeted and stderr.reached("Connection established"):
        return SshFailure.BANNER_CLOSED.error()
    reason = stderr.last_message()
    if stderr.greeted and stderr.message(r"Connection (closed|reset) by .*|.*(Broken pipe|Connection reset by peer).*"):
        return connection_broke(reason)
    return SshFailure.SSH_FAILED.error(
        f"the login failed ({reason})" if reason else "the login failed without a message"
    )


def _short(text: str) -> str:
    return readable(text.encode(), 120)


_AT_HOST_OR_BASTION = (_dns_error, _connect_error, _host_key_error, _algorithm_error, _askpass_error)
"""Failures that a host and a bastion have in common."""
