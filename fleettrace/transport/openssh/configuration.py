"""What the system's `ssh` is told: a private configuration in front of the site's own, and one argument list a host.

What must hold for the bastions on the way too stands in the configuration, which `ssh` hands on to the `ssh` that it
starts for a ProxyJump; what is about the host alone is an argument. In either, ssh takes the first value that it meets.
Pure.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

from fleettrace.errors import ConfigError, HostError, HostState
from fleettrace.transport.interface import HostKeyPolicy, Target

__all__ = ["USER_CONFIG", "arguments", "check_words", "config_text", "site_files", "unreadable"]

USER_CONFIG = Path("~/.ssh/config")
_SYSTEM_CONFIG = Path("/etc/ssh/ssh_config")

# A peer that vanished is noticed after 15 * 3 seconds.
_ALIVE = (("ServerAliveInterval", "15"), ("ServerAliveCountMax", "3"))

# A ProxyCommand is a shell's line in which ssh puts host and user unquoted; OpenSSH refuses the letters a shell reads
# only from 9.6 on (valid_hostname and valid_ruser in ssh.c). These are fewer still.
_HOST = re.compile(r"[A-Za-z0-9_.:\[\]][A-Za-z0-9_.:%\[\]-]*")
_USER = re.compile(r"[A-Za-z0-9_.@+/\\][A-Za-z0-9_.@+/\\-]*(?<!\\)")
_JUMP = re.compile(r"[A-Za-z0-9_.@+/\\:\[\]][A-Za-z0-9_.@+/\\:%\[\]-]*")


def check_words(target: Target) -> None:
    """Raises `HostError` (`unreachable`, `address-refused`) for words that a shell might read."""
    address = target.address or target.name
    jumps = (target.proxy_jump or "none").split(",")
    for what, word, allowed in (
        ("address", address, _HOST),
        ("user", target.user or "none", _USER),
        *(("ProxyJump", jump.strip(), _JUMP) for jump in jumps),
    ):
        if not allowed.fullmatch(word) or "@-" in word:
            raise HostError(
                HostState.UNREACHABLE,
                "address-refused",
                f"the {what} {word!r} has letters that ssh may hand to a shell: correct it in the inventory",
            )


def config_text(target: Target) -> str:
    """The private configuration: what holds for all hosts with the same wishes, then the site's own files.

    Raises `HostError` (`unreachable`, `ssh-config`) for a file that was named and is not there.
    """
    new = target.host_key is HostKeyPolicy.ACCEPT_NEW
    options = [
        ("BatchMode", "yes"),
        ("StrictHostKeyChecking", "accept-new" if new else "yes"),
        # Whole seconds; the login's own clock is the one that counts.
        ("ConnectTimeout", str(max(1, math.ceil(target.connect_timeout)))),
        ("ConnectionAttempts", "1"),
        *_ALIVE,
        # Quieter, it would not say why it failed.
        ("LogLevel", "INFO"),
    ]
    if target.known_hosts is not None:
        options.append(("UserKnownHostsFile", _quoted(target.known_hosts.expanduser())))
        options.append(("GlobalKnownHostsFile", "none"))
    options += [("Include", _quoted(path, tokens=False)) for path in site_files(target.ssh_config)]
    return "Host *\n" + "".join(f"{name} {value}\n" for name, value in options)


def unreadable(error: OSError) -> ConfigError:
    """Return the error of an ssh_config, or of its directory, that cannot be read."""
    return ConfigError(
        f"cannot read this ssh_config: {error.strerror}: check its permissions, and that HOME is this user's; or name "
        "another with --ssh-config",
        file=error.filename,
    )


def site_files(file: Path | None) -> list[Path]:
    """Return the ssh_config files of the site: `file` alone, or the user's and the system's.

    Raises `HostError` (`unreachable`, `ssh-config`) for a named file that does not exist, and OSError.
    """
    if file is None:
        return [path for path in (USER_CONFIG.expanduser(), _SYSTEM_CONFIG) if path.is_file()]
    path = file.expanduser().absolute()
    if not path.is_file():
        # An Include of a file that is not there is no error to ssh.
        raise HostError(
            HostState.UNREACHABLE, "ssh-config", f"{path}: there is no such ssh_config: correct --ssh-config"
        )
    return [path]


def _quoted(path: Path, *, tokens: bool = True) -> str:
    """A path as a word of ssh_config; with `tokens`, where ssh replaces %-tokens."""
    text = str(path.absolute()).replace("\\", "\\\\").replace('"', '\\"')
    return '"' + (text.replace("%", "%%") if tokens else text) + '"'


def arguments(target: Target, config: Path, control: Path) -> list[str]:
    """The command line of the connection to `target`, whose control socket will be `control`."""
    options = {
        "ControlMaster": "yes",
        "ControlPath": str(control),
        "ControlPersist": "no",
        # A host's forwardings and command are for people.
        "ClearAllForwardings": "yes",
        "RemoteCommand": "none",
        # How far the login came: not for the bastions, so it is known whose words they are.
        "LogLevel": "DEBUG1",
    }
    if target.password is not None:
        options |= {"BatchMode": "no", "NumberOfPasswordPrompts": "1"}
    if target.key_file is not None:
        options["IdentityFile"] = _quoted(target.key_file.expanduser())
    words = ["ssh", "-F", str(config), "-N", "-T", "-a", "-x"]
    words += [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    if target.port is not None:
        words += ["-p", str(target.port)]
    if target.user is not None:
        words += ["-l", target.user]
    if target.proxy_jump is not None:
        words += ["-J", target.proxy_jump]
    return [*words, "--", target.address or target.name]
