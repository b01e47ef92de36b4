"""Configure the system's `ssh`: a private configuration file that includes the site's own, and an argument list.

`ssh` passes its configuration file, but not its arguments, on to the `ssh` that it starts for a ProxyJump. So options
for the bastions as well are in the file, and options for the host alone are arguments. In both, the first value counts.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

from fleettrace.transport.interface import HostKeyPolicy, Target
from fleettrace.transport.ssh_errors import SshFailure

__all__ = ["arguments", "check_arguments", "config_text", "site_files"]

_USER_CONFIG = Path("~/.ssh/config")
_SYSTEM_CONFIG = Path("/etc/ssh/ssh_config")

# `ssh` notices a peer that vanished after 15 * 3 seconds.
_ALIVE = (("ServerAliveInterval", "15"), ("ServerAliveCountMax", "3"))

# `ssh` puts host and user unquoted into a ProxyCommand, which a shell runs. OpenSSH refuses letters that a shell
# interprets only from 9.6 on (valid_hostname and valid_ruser in ssh.c). These patterns allow fewer still.
_HOST = re.compile(r"[A-Za-z0-9_.:\[\]][A-Za-z0-9_.:%\[\]-]*")
_USER = re.compile(r"[A-Za-z0-9_.@+/\\][A-Za-z0-9_.@+/\\-]*(?<!\\)")
_JUMP = re.compile(r"[A-Za-z0-9_.@+/\\:\[\]][A-Za-z0-9_.@+/\\:%\[\]-]*")


def check_arguments(target: Target) -> None:
    """Raise `HostError` (`unreachable`, `address-refused`) for a value with letters that a shell may interpret."""
    address = target.address or target.name
    jumps = (target.proxy_jump or "none").split(",")
    for kind, value, allowed in (
        ("address", address, _HOST),
        ("user", target.user or "none", _USER),
        *(("ProxyJump", jump.strip(), _JUMP) for jump in jumps),
    ):
        if not allowed.fullmatch(value) or "@-" in value:
            raise SshFailure.ADDRESS_REFUSED.error(f"the {kind} {value!r} has letters that a shell may interpret")


def config_text(target: Target) -> str:
    """Return the private configuration, which includes the site's files. Many targets have the same one.

    Raises `HostError` (`unreachable`, `ssh-config`) for a named file that does not exist.
    """
    new = target.host_key is HostKeyPolicy.ACCEPT_NEW
    options = [
        ("BatchMode", "yes"),
        ("StrictHostKeyChecking", "accept-new" if new else "yes"),
        # In whole seconds. The exact deadline is `Master.wait`'s.
        ("ConnectTimeout", str(max(1, math.ceil(target.connect_timeout)))),
        ("ConnectionAttempts", "1"),
        *_ALIVE,
        # At a lower level, `ssh` prints no reason for a failure.
        ("LogLevel", "INFO"),
    ]
    if target.known_hosts is not None:
        options.append(("UserKnownHostsFile", _quoted(target.known_hosts.expanduser())))
        options.append(("GlobalKnownHostsFile", "none"))
    options += [("Include", _quoted(path, tokens=False)) for path in site_files(target.ssh_config)]
    return "Host *\n" + "".join(f"{name} {value}\n" for name, value in options)


def site_files(file: Path | None) -> list[Path]:
    """Return the ssh_config files of the site: `file` alone, or the user's and the system's.

    Raises `HostError` (`unreachable`, `ssh-config`) for a named file that does not exist, and OSError.
    """
    if file is None:
        return [path for path in (_USER_CONFIG.expanduser(), _SYSTEM_CONFIG) if path.is_file()]
    path = file.expanduser().absolute()
    if not path.is_file():
        # `ssh` ignores an Include of a file that does not exist.
        raise SshFailure.SSH_CONFIG.error(f"{path} does not exist", "correct --ssh-config")
    return [path]


def _quoted(path: Path, *, tokens: bool = True) -> str:
    """Return a path as an argument in ssh_config. `tokens`: of an option in which ssh expands %-tokens."""
    text = str(path.absolute()).replace("\\", "\\\\").replace('"', '\\"')
    return '"' + (text.replace("%", "%%") if tokens else text) + '"'


def arguments(target: Target, config: Path, control: Path) -> list[str]:
    """Return the command line of the `ssh` to `target`, with its control socket at `control`."""
    options = {
        "ControlMaster": "yes",
        "ControlPath": str(control),
        "ControlPersist": "no",
        # The forwardings and the command of a site's ssh_config are for interactive sessions.
        "ClearAllForwardings": "yes",
        "RemoteCommand": "none",
        # Shows how far the login came. It is no option of the bastions, so that its lines are the host's.
        "LogLevel": "DEBUG1",
    }
    if target.password is not None:
        options |= {"BatchMode": "no", "NumberOfPasswordPrompts": "1"}
    if target.key_file is not None:
        options["IdentityFile"] = _quoted(target.key_file.expanduser())
    argv = ["ssh", "-F", str(config), "-N", "-T", "-a", "-x"]
    argv += [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    if target.port is not None:
        argv += ["-p", str(target.port)]
    if target.user is not None:
        argv += ["-l", target.user]
    if target.proxy_jump is not None:
        argv += ["-J", target.proxy_jump]
    return [*argv, "--", target.address or target.name]
