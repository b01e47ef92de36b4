"""The catalogue of SSH failures: code, meaning and cure of every way in which a login or a connection fails.

Both clients (`fabric/` and `openssh/`) take their errors from here, so that a script, and a person, finds the same code
and the same words whichever of them logged in. A failure with details has a function, which puts them into the message.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fleettrace.errors import ConfigError, FailureCatalogue, HostError, HostState

__all__ = [
    "SshFailure",
    "auth_failed",
    "auth_nothing",
    "config_refused",
    "connect_failed",
    "connect_timeout",
    "connection_broke",
    "connection_refused",
    "dns_failed",
    "dns_timeout",
    "host_key_changed",
    "host_key_revoked",
    "host_key_unknown",
    "host_key_unsaved",
    "key_failure",
    "no_common_algorithm",
    "no_route",
    "on_bastion",
    "unreadable_config",
]

_UNREACHABLE, _AUTH_FAILED, _HOST_KEY = HostState.UNREACHABLE, HostState.AUTH_FAILED, HostState.HOST_KEY


class SshFailure(FailureCatalogue):
    """Every failure of a login or a connection, in the order of a login."""

    # The way to the host.
    DNS_FAILED = ("dns-failed", _UNREACHABLE, "the name cannot be resolved", "set `ansible_host`")
    DNS_TIMEOUT = (
        "dns-timeout",
        _UNREACHABLE,
        "the DNS lookup was not answered in time",
        "check the resolver of the controller",
    )
    CONNECT_TIMEOUT = ("connect-timeout", _UNREACHABLE, "no answer within the connect timeout", "is the host up?")
    CONNECTION_REFUSED = ("connection-refused", _UNREACHABLE, "connection refused", "is sshd running there?")
    NO_ROUTE = ("no-route", _UNREACHABLE, "no route", "is the host up, and its network reachable from here?")
    CONNECT_FAILED = ("connect-failed", _UNREACHABLE, "the TCP connection failed", "check the network to the host")
    PROXY_COMMAND_FAILED = (
        "proxy-command-failed",
        _UNREACHABLE,
        "the ProxyCommand of ssh_config ended before the host sent its SSH banner",
        "run the command by hand",
    )

    # The SSH protocol.
    BANNER_TIMEOUT = (
        "banner-timeout",
        _UNREACHABLE,
        "connected, but no SSH banner arrived within the connect timeout",
        "is that port sshd's?",
    )
    BANNER_CLOSED = (
        "banner-closed",
        _UNREACHABLE,
        "the connection was closed before an SSH banner arrived",
        "lower --forks (sshd's MaxStartups), or check for a firewall",
    )
    NOT_SSH = ("not-ssh", _UNREACHABLE, "the service on this port does not speak SSH", "check `ansible_port`")
    KEX_TIMEOUT = (
        "kex-timeout",
        _UNREACHABLE,
        "the key exchange did not end within the connect timeout",
        "is the host overloaded?",
    )
    NO_COMMON_ALGORITHM = (
        "no-common-algorithm",
        _UNREACHABLE,
        "sshd and this client have no algorithm in common",
        "enable one of the client's in sshd_config, or try the other --transport",
    )
    AUTH_TIMEOUT = (
        "auth-timeout",
        _UNREACHABLE,
        "sshd did not answer the login within the connect timeout",
        "is the host, or its directory service, overloaded?",
    )
    CONNECTION_LOST = (
        "connection-lost",
        _UNREACHABLE,
        "the connection broke while a script ran",
        "check the host and the network to it",
    )
    SSH_FAILED = ("ssh-failed", _UNREACHABLE, "the login failed", "log in there by hand with `ssh -v`")

    # Bastions. A failure to log in to one has the code of the same failure of a host, behind `bastion-`.
    BASTION_TIMEOUT = (
        "bastion-timeout",
        _UNREACHABLE,
        "the bastion did not answer within the connect timeout",
        "is it up?",
    )
    BASTION_NO_ANSWER = (
        "bastion-no-answer",
        _UNREACHABLE,
        "the bastion got no answer from the host within the connect timeout",
        "is the host up?",
    )
    BASTION_FORBIDS = (
        "bastion-forbids",
        _UNREACHABLE,
        "the bastion does not forward to the host",
        "check AllowTcpForwarding and PermitOpen of the bastion's sshd",
    )
    BASTION_NO_ROUTE = ("bastion-no-route", _UNREACHABLE, "the bastion cannot reach the host", "is the host up?")
    BASTION_LOST = (
        "bastion-lost",
        _UNREACHABLE,
        "the connection to the bastion broke",
        "check the bastion and the network to it",
    )

    # Sessions over a connection that is logged in.
    SESSION_REFUSED = ("session-refused", _UNREACHABLE, "logged in, but sshd opens no session", "raise its MaxSessions")
    SESSION_TIMEOUT = (
        "session-timeout",
        _UNREACHABLE,
        "logged in, but sshd opened no session in time",
        "is the host overloaded?",
    )
    EXEC_REFUSED = (
        "exec-refused",
        _UNREACHABLE,
        "logged in, but sshd ran no command",
        "check what sshd_config allows this account",
    )

    # This client and its configuration.
    SSH_CONFIG = ("ssh-config", _UNREACHABLE, "ssh_config is faulty", "correct it")
    ADDRESS_REFUSED = (
        "address-refused",
        _UNREACHABLE,
        "an address, user or ProxyJump has letters that a shell may interpret",
        "correct it in the inventory",
    )
    NO_SSH = ("no-ssh", _UNREACHABLE, "the controller has no `ssh`", "install OpenSSH's client, or use --transport ssh")
    OPENSSH_FAILED = ("openssh-failed", _UNREACHABLE, "`ssh` cannot run here", "use --transport ssh")

    # The login.
    KEY_MISSING = ("key-missing", _AUTH_FAILED, "the key file does not exist", "correct `ansible_ssh_private_key_file`")
    KEY_UNREADABLE = ("key-unreadable", _AUTH_FAILED, "the key file cannot be read", "check its permissions")
    KEY_PERMISSIONS = ("key-permissions", _AUTH_FAILED, "other users can read the key file", "`chmod 600` it")
    KEY_PASSPHRASE = ("key-passphrase", _AUTH_FAILED, "the key has a passphrase", "`ssh-add` it to an agent")
    KEY_INVALID = (
        "key-invalid",
        _AUTH_FAILED,
        "the key file holds no private key that the client can read",
        "use an RSA, ECDSA or Ed25519 key",
    )
    AUTH_NOTHING = (
        "auth-nothing",
        _AUTH_FAILED,
        "there is no key, agent or password to log in with",
        "set `ansible_ssh_private_key_file`, or `ssh-add` a key to an agent",
    )
    AUTH_FAILED = (
        "auth-failed",
        _AUTH_FAILED,
        "sshd refused the login",
        "check `ansible_user` and that its authorized_keys there holds the key",
    )
    ASKPASS_FAILED = (
        "askpass-failed",
        _AUTH_FAILED,
        "`ssh` cannot be given the password, because no program can be run from /tmp here",
        "use --transport ssh, or a key",
    )

    # The host's key.
    HOST_KEY_UNKNOWN = (
        "host-key-unknown",
        _HOST_KEY,
        "the host key is not in known_hosts",
        "compare it with the host's, then add it by `ssh-keyscan`, or use --host-key accept-new",
    )
    HOST_KEY_CHANGED = (
        "host-key-changed",
        _HOST_KEY,
        "the host key is not the one in known_hosts, so another machine may pose as the host",
        "if the host was reinstalled, replace its key in known_hosts",
    )
    HOST_KEY_REVOKED = ("host-key-revoked", _HOST_KEY, "the host key is revoked", "give the host a new key")
    HOST_KEY_UNSAVED = (
        "host-key-unsaved",
        _HOST_KEY,
        "the new host key cannot be written to known_hosts",
        "make it writable, because otherwise the next run accepts any other key as well",
    )
    HOST_KEY_REFUSED = (
        "host-key-refused",
        _HOST_KEY,
        "`ssh` refused the host key",
        "log in there by hand with `ssh -v`",
    )


def dns_failed(name: str, reason: str | None) -> HostError:
    """Return the error of a name that DNS does not have."""
    return SshFailure.DNS_FAILED.error(f"the name {name} cannot be resolved" + _in_brackets(reason))


def dns_timeout(name: str) -> HostError:
    """Return the error of a name for which no name server answered."""
    return SshFailure.DNS_TIMEOUT.error(f"the DNS lookup of {name} was not answered in time")


def connect_timeout(port: int | str) -> HostError:
    """Return the error of a port that did not answer."""
    return SshFailure.CONNECT_TIMEOUT.error(f"no answer on port {port} within the connect timeout")


def connection_refused(port: int | str) -> HostError:
    """Return the error of a port where no process listens."""
    return SshFailure.CONNECTION_REFUSED.error(f"connection refused on port {port}")


def no_route(reason: str | None) -> HostError:
    """Return the error of an address that the network does not lead to."""
    return SshFailure.NO_ROUTE.error("no route" + _in_brackets(reason))


def connect_failed(port: int | str, reason: str) -> HostError:
    """Return the error of a TCP connection that failed in a way without a code of its own."""
    return SshFailure.CONNECT_FAILED.error(f"cannot connect to port {port} ({reason})")


def no_common_algorithm(details: str) -> HostError:
    """Return the error of a key exchange; `details` names the kind of algorithm."""
    return SshFailure.NO_COMMON_ALGORITHM.error(f"{SshFailure.NO_COMMON_ALGORITHM.meaning} ({details})")


def connection_broke(details: str = "") -> HostError:
    """Return the error of a connection that ended during the login."""
    return SshFailure.CONNECTION_LOST.error("the connection broke during the login" + _in_brackets(details))


def on_bastion(bastion: str, error: HostError) -> HostError:
    """Return the error of a login that failed at the bastion and not at the host."""
    prefix = "" if error.code.startswith("bastion-") else "bastion-"
    return HostError(error.state, prefix + error.code, f"{bastion}: {error.message}")


def key_failure(failure: SshFailure, path: Path | str, reason: str | None = "") -> HostError:
    """Return the error of a private key's file; `failure` is one of the catalogue's `KEY_...`."""
    problems = {
        SshFailure.KEY_MISSING: "does not exist",
        SshFailure.KEY_UNREADABLE: "cannot be read",
        SshFailure.KEY_PERMISSIONS: "can be read by other users",
        SshFailure.KEY_PASSPHRASE: "has a passphrase",
        SshFailure.KEY_INVALID: "holds no private key that the client can read",
    }
    return failure.error(f"key file {path} {problems[failure]}" + _in_brackets(reason))


def auth_nothing(user: str) -> HostError:
    """Return the error of a login for which the controller has nothing to offer."""
    return SshFailure.AUTH_NOTHING.error(f"there is no key, agent or password to log in with as {user}")


def auth_failed(user: str, tried: Sequence[str], accepted: Sequence[str], *, closed: bool, cure: str = "") -> HostError:
    """Return the error of a refused login.

    `tried` names what was offered, and `accepted` the methods that sshd takes. `closed`: sshd ended the connection.
    """
    what = f"login as {user} refused"
    if tried:
        what += f", tried {', '.join(tried)}"
    if accepted:
        what += f"; it accepts {', '.join(accepted)}"
    if closed:
        what += "; then it closed the connection (MaxAuthTries?)"
    return SshFailure.AUTH_FAILED.error(what, cure)


def host_key_unknown(key: str, file: Path | str, address: str, port: int, note: str = "") -> HostError:
    """Return the error of a host with a `key` (type and fingerprint) that is not in known_hosts."""
    at = address if port == 22 else f"-p {port} {address}"
    return SshFailure.HOST_KEY_UNKNOWN.error(
        f"the host key {key} is not in {file}" + _in_brackets(note),
        f"compare it with the host's, then `ssh-keyscan {at} >> {file}`, or use --host-key accept-new",
    )


def host_key_changed(key: str, known: str, file: Path | str, name: str) -> HostError:
    """Return the error of a host that shows `key`, while `known` (a place and a key) stands in known_hosts.

    `file` and `name` are empty where they are not known: the host's entry is the one of `name`.
    """
    return SshFailure.HOST_KEY_CHANGED.error(
        f"the host shows the host key {key}, but {known}, so another machine may pose as the host",
        f"if the host was reinstalled, `ssh-keygen -f {file} -R '{name}'` and add its new key" if file and name else "",
    )


def host_key_revoked(key: str, where: str = "") -> HostError:
    """Return the error of a host with a key that known_hosts revokes at `where`."""
    return SshFailure.HOST_KEY_REVOKED.error(f"the host key {key} is revoked" + _in_brackets(where))


def host_key_unsaved(file: Path | str | None, reason: str | None = "") -> HostError:
    """Return the error of a new key that could not be added to known_hosts."""
    return SshFailure.HOST_KEY_UNSAVED.error(f"the new host key cannot be written to {file}" + _in_brackets(reason))


def unreadable_config(error: OSError) -> ConfigError:
    """Return the error of an ssh_config, or of its directory, that cannot be read."""
    return ConfigError(
        f"cannot read this ssh_config ({error.strerror}): check its permissions and HOME, or name another file with "
        "--ssh-config",
        file=error.filename,
    )


def config_refused(error: ConfigError) -> HostError:
    """Return the error of one host for a fault of its ssh_config; the message has its cure already."""
    return HostError(SshFailure.SSH_CONFIG.state, SshFailure.SSH_CONFIG.code, str(error))


def _in_brackets(details: str | None) -> str:
    return f" ({details})" if details else ""
