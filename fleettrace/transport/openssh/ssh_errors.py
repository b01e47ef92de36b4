"""Why a login by the system's `ssh` failed, from what it said. Pure.

Its exit status is 255 whatever happened. Lines that begin with `debug1: ` are the `ssh`'s that reaches for the host and
tell how far it came; the others may be a bastion's `ssh`'s as well, or what a server had printed, so they are compared
as a whole. OpenSSH 7.6 to 10 say these things alike (sshconnect.c, sshconnect2.c, packet.c, kex.c, mux.c).
"""

from __future__ import annotations

import re
from collections.abc import Callable

from fleettrace.errors import HostError, HostState
from fleettrace.transport.bootstrap import readable
from fleettrace.transport.interface import Target
from fleettrace.transport.shortage import shortage

__all__ = ["failure", "login_timeout", "trouble_here", "unsaved"]

_DEBUG = "debug1: "


class _Words:
    """What one `ssh` said, taken apart."""

    def __init__(self, text: str, target: Target) -> None:
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        self.target = target
        self.steps = [line.removeprefix(_DEBUG) for line in lines if line.startswith(_DEBUG)]
        self.said = [line for line in lines if not line.startswith(_DEBUG)]

    def came_to(self, step: str) -> bool:
        return any(line.startswith(step) for line in self.steps)

    def find(self, pattern: str) -> re.Match[str] | None:
        return next((found for line in self.said if (found := re.fullmatch(pattern, line))), None)

    def step(self, pattern: str) -> re.Match[str] | None:
        return next((found for line in self.steps if (found := re.fullmatch(pattern, line))), None)

    @property
    def greeted(self) -> bool:
        return self.came_to("Remote protocol version")

    @property
    def proxied(self) -> bool:
        return self.came_to("Executing proxy command")

    @property
    def jumped(self) -> bool:
        return self.came_to("Setting implicit ProxyCommand from ProxyJump")


def failure(text: str, target: Target) -> HostError:
    """Why an `ssh` that said `text` ended before it was logged in."""
    words = _Words(text, target)
    if fault := words.find(r"(.+: line \d+: .+|jumphost loop via .+|Bad .+|.+: terminating, .+)"):
        return _unreachable("ssh-config", f"ssh_config: {readable(fault[1].encode())}: correct it")
    if words.proxied and not words.greeted:
        return _proxy_failure(words)
    return _first(words, *_ANYWHERE, _login_refused) or _broken(words)


def login_timeout(text: str, target: Target) -> HostError:
    """Why an `ssh` that said `text` was not logged in within the connect timeout."""
    words = _Words(text, target)
    if words.proxied and not words.greeted:
        who = "the bastion, or the host behind it," if words.jumped else "the host behind ssh_config's ProxyCommand"
        return _unreachable("bastion-timeout", f"{who} did not greet within the connect timeout: is it up?")
    if words.came_to("SSH2_MSG_NEWKEYS received"):
        return _unreachable("auth-timeout", "login was not answered within the connect timeout")
    if words.greeted:
        return _unreachable("kex-timeout", "the login did not end within the connect timeout: is the host overloaded?")
    if words.step(r"\S*exchange_identification: banner line .*"):
        return _not_ssh()
    if words.came_to("Connection established"):
        return _unreachable(
            "banner-timeout", "connected, but nothing said a word of SSH within the connect timeout: is that sshd?"
        )
    if connecting := words.step(r"Connecting to .* port (\d+)\."):
        return _unreachable(
            "connect-timeout", f"no answer on port {connecting[1]} within the connect timeout: is the host up?"
        )
    return _unreachable("dns-timeout", "the name was not resolved in time: is the name server up?")


def trouble_here(error: OSError) -> HostError:
    """What went wrong on this machine before an `ssh` could say anything."""
    if ours := shortage(error):
        return ours
    why = error.strerror or str(error)
    where = f" {error.filename}" if error.filename else ""
    return _unreachable("openssh-failed", f"ssh cannot be used here ({why}{where}): use --transport ssh")


def unsaved(text: str) -> HostError | None:
    """With `accept-new`, what OpenSSH only warns of: a new key that it could not write down."""
    found = re.search(r"^Failed to add the host to the list of known hosts \((.*)\)\.\s*$", text, re.MULTILINE)
    if found is None:
        return None
    return _host_key(
        "host-key-unsaved",
        f"its new host key cannot be written to {found[1]}: correct that, for else the next run would believe any "
        "other key as well",
    )


def _first(words: _Words, *readers: Callable[[_Words], HostError | None]) -> HostError | None:
    return next((error for reader in readers if (error := reader(words)) is not None), None)


def _proxy_failure(words: _Words) -> HostError:
    """The bastion's `ssh` has said why; ours only saw its end."""
    if not words.jumped:
        return _unreachable("proxy-command-failed", "ssh_config's ProxyCommand ended before a greeting: run it by hand")
    bastion = "a bastion" if words.target.proxy_jump is None else f"bastion {words.target.proxy_jump}"
    if refused := words.find(r"channel \d+: open failed: (.+)|.*(stdio forwarding (?:request )?failed.*)"):
        reason = refused[1] or refused[2]
        if reason.startswith("administratively prohibited"):
            return _unreachable(
                "bastion-forbids",
                f"{bastion} does not forward to the host: AllowTcpForwarding and PermitOpen of its sshd",
            )
        return _unreachable("bastion-no-route", f"{bastion} cannot reach the host ({_short(reason)}): is the host up?")
    error = _first(words, *_ANYWHERE, _bastion_refused)
    if error is None:
        return _unreachable("bastion-lost", f"the connection to {bastion} ended{_last(words)}")
    return HostError(error.state, f"bastion-{error.code}", f"{bastion}: {error.message}")


def _name(words: _Words) -> HostError | None:
    found = words.find(r"ssh: Could not resolve hostname (.*): (.*)")
    if found is None:
        return None
    if found[2].startswith("Temporary failure"):
        return _unreachable("dns-timeout", f"the name {found[1]} could not be asked for: is the name server up?")
    return _unreachable("dns-failed", f"the name {found[1]} cannot be resolved ({found[2]}): set `ansible_host`")


def _connection(words: _Words) -> HostError | None:
    found = words.find(r"ssh: connect to host (.*) port (\d+): (.*)")
    if found is None:
        return None
    port, reason = found[2], found[3]
    if reason == "Connection refused":
        return _unreachable("connection-refused", f"connection refused on port {port}: is sshd running there?")
    if "timed out" in reason:
        return _unreachable("connect-timeout", f"no answer on port {port} within the connect timeout: is the host up?")
    if reason in ("No route to host", "Network is unreachable", "Host is down", "Cannot assign requested address"):
        return _unreachable("no-route", f"no route ({reason}): is the host up, and its network reachable from here?")
    return _unreachable("connect-failed", f"cannot connect to port {port}: {reason}")


def _key_of_the_host(words: _Words) -> HostError | None:
    shown = words.step(r"Server host key: (\S+ \S+)")
    key = f"its host key {shown[1]}" if shown else "its host key"
    if words.find(r"@ +WARNING: REVOKED HOST KEY DETECTED! +@"):
        return _host_key("host-key-revoked", f"{key} is revoked: replace the key there")
    if words.find(r"@ +WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! +@"):
        place = words.find(r"Offending (\S+) key in (.+):(\d+)")
        host = words.find(r"Host key for (\S+) has changed and you have requested strict checking\.")
        known = f", {place[2]}:{place[3]} has another" if place else ""
        cure = f"`ssh-keygen -f {place[2]} -R '{host[1]}'` and add the new key" if place and host else "replace it"
        return _host_key(
            "host-key-changed",
            f"{key} changed{known}; someone may sit in between: if the host was reinstalled, {cure}",
        )
    if unknown := words.find(r"No (\S+) host key is known for (\S+) and you have requested strict checking\."):
        named = re.fullmatch(r"\[(.+)\]:(\d+)", unknown[2])
        scan = f"-p {named[2]} {named[1]}" if named else unknown[2]
        file = words.target.known_hosts or "~/.ssh/known_hosts"
        return _host_key(
            "host-key-unknown",
            f"{key} is not in {file}: if that is its key, `ssh-keyscan {scan} >> {file}`, or --host-key accept-new",
        )
    if words.find(r"Host key verification failed\."):
        return _host_key("host-key-refused", f"{key} was refused{_last(words, 'Host key verification')}")
    return None


def _algorithms(words: _Words) -> HostError | None:
    found = words.find(r"Unable to negotiate with .*: (no matching .*)")
    if found is None:
        return None
    return _unreachable("no-common-algorithm", f"no algorithm in common with its sshd: {_short(found[1])}")


def _askpass(words: _Words) -> HostError | None:
    if words.find(r"ssh_askpass: exec\(.*\): .*") is None:
        return None
    return _auth(
        "askpass-failed",
        "ssh could not be given the password (no program can be run from /tmp here): use --transport ssh, or a key",
    )


def _login_refused(words: _Words) -> HostError | None:
    denied = words.find(r"(\S+)@\S+: Permission denied \((.*)\)\.")
    closed = words.find(r"Received disconnect from .*: (Too many authentication failures)")
    if denied is None and closed is None:
        return None
    user = denied[1] if denied else (words.target.user or "the user")
    tried = _tried(words)
    key = words.target.key_file
    trouble = words.find(r'Load key "(.+)": (.+)')
    if trouble and key is not None and trouble[1] == str(key.expanduser()):
        return _useless_key(trouble[1], trouble[2])
    accepted = words.step(r"Server accepts key: (\S+) .*")
    if denied and accepted and not trouble:
        return _auth(
            "key-passphrase",
            f"{user}'s key {accepted[1]} is the right one and cannot sign: if it has a passphrase, `ssh-add` it to an "
            "agent",
        )
    if not tried:
        return _auth(
            "auth-nothing",
            f"there is no key, agent or password to log in with as {user}: "
            "set `ansible_ssh_private_key_file`, or `ssh-add` a key to an agent",
        )
    end = (
        f"; it accepts {denied[2].replace(',', ', ')}" if denied else "; then it closed the connection (MaxAuthTries?)"
    )
    return _auth(
        "auth-failed",
        f"login as {user} refused, tried {', '.join(tried)}{end}: "
        "check `ansible_user` and that its authorized_keys there holds the key",
    )


def _useless_key(path: str, why: str) -> HostError:
    if why == "bad permissions":
        return _auth("key-permissions", f"key file {path} can be read by others: `chmod 600` it")
    return _auth("key-invalid", f"key file {path} holds no private key that ssh can read ({_short(why)})")


def _tried(words: _Words) -> list[str]:
    tried = []
    for step in words.steps:
        if found := re.fullmatch(r"Offering public key: (\S+) .*", step):
            tried.append(f"key {found[1]}")
        elif found := re.fullmatch(r"Next authentication method: (gssapi\S*|password|keyboard-interactive)", step):
            tried.append("the password" if found[1] != "gssapi-with-mic" else "GSSAPI")
    return list(dict.fromkeys(tried))


def _bastion_refused(words: _Words) -> HostError | None:
    denied = words.find(r"(\S+)@\S+: Permission denied \((.*)\)\.")
    if denied is None:
        return None
    return _auth(
        "auth-failed",
        f"login as {denied[1]} refused (it accepts {denied[2]}): give it a user and a key in ssh_config",
    )


def _broken(words: _Words) -> HostError:
    """The connection ended, and nothing more telling was said."""
    if any("timed out" in line for line in words.said):
        return login_timeout("\n".join(_DEBUG + step for step in words.steps), words.target)
    if words.find(r"\S*exchange_identification: (banner line .*|No SSH identification.*|.*invalid.*)|Bad .*version.*"):
        return _not_ssh()
    if not words.greeted and words.came_to("Connection established"):
        return _unreachable(
            "banner-closed",
            "connected, but closed before a greeting: sshd's MaxStartups (lower --forks), a firewall, or no sshd",
        )
    if words.greeted and words.find(r"Connection (closed|reset) by .*|.*(Broken pipe|Connection reset by peer).*"):
        return _unreachable("connection-lost", f"the connection broke during the login{_last(words)}")
    return _unreachable("ssh-failed", f"ssh did not log in{_last(words) or ' and said nothing'}")


def _not_ssh() -> HostError:
    return _unreachable("not-ssh", "what answers there does not speak SSH: check `ansible_port`")


def _last(words: _Words, *but: str) -> str:
    said = [line for line in words.said if not line.startswith(but or ("Connection closed by UNKNOWN",))]
    return f" ({_short(said[-1])})" if said else ""


def _short(text: str) -> str:
    return readable(text.encode(), 120)


def _unreachable(code: str, message: str) -> HostError:
    return HostError(HostState.UNREACHABLE, code, message)


def _host_key(code: str, message: str) -> HostError:
    return HostError(HostState.HOST_KEY, code, message)


def _auth(code: str, message: str) -> HostError:
    return HostError(HostState.AUTH_FAILED, code, message)


_ANYWHERE = (_name, _connection, _key_of_the_host, _algorithms, _askpass)
"""What can go wrong at a host and at a bastion alike."""
