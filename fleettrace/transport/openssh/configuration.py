"""Configure the system's `ssh`: a private configuration file that includes the site's own, and an argument list.

`ssh` passes its configuration file, but not its arguments, on to the `ssh` that it starts for a ProxyJump. So options
for the bastions as well are in the file, and options for the host alone are arguments. In both, the first value counts.
"""

from __future__ import annotations

import math
from pathlib import Path

from fleettrace.transport.interface import HostKeyPolicy, Target
from fleettrace.transport.ssh_arguments import parse_arguments
from fleettrace.transport.ssh_query import config_files

__all__ = ["arguments", "config_text"]

# `ssh` notices a peer that vanished after 15 * 3 seconds.
_ALIVE = (("ServerAliveInterval", "15"), ("ServerAliveCountMax", "3"))


def config_text(target: Target, policy: HostKeyPolicy) -> str:
    """Return the private configuration, which includes the site's files. Many targets have the same one.

    Raises `ConfigError` for a named file that cannot be read.
    """
    own = parse_arguments(target.ssh_arguments)
    new = policy is HostKeyPolicy.ACCEPT_NEW
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
    options += [("Include", _quoted(path, tokens=False)) for path in config_files(own.config_file or target.ssh_config)]
    return "Host *\n" + "".join(f"{name} {value}\n" for name, value in options)


def _quoted(path: Path, *, tokens: bool = True) -> str:
    """Return a path as an argument in ssh_config. `tokens`: of an option in which ssh expands %-tokens."""
    text = str(path.absolute()).replace("\\", "\\\\").replace('"', '\\"')
    return '"' + (text.replace("%", "%%") if tokens else text) + '"'


def arguments(target: Target, policy: HostKeyPolicy, config: Path, control: Path) -> list[str]:
    """Return the command line of the `ssh` to `target`, with its control socket at `control`.

    The inventory's options are behind fleettrace's own, because the first value of an option counts.
    """
    options = {
        "StrictHostKeyChecking": "accept-new" if policy is HostKeyPolicy.ACCEPT_NEW else "yes",
        "BatchMode": "yes",
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
    argv = [target.ssh_executable or "ssh", "-F", str(config), "-N", "-T", "-a", "-x"]
    argv += [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    if target.port is not None:
        argv += ["-p", str(target.port)]
    if target.user is not None:
        argv += ["-l", target.user]
    argv += parse_arguments(target.ssh_arguments).words
    return [*argv, "--", target.address or target.name]
