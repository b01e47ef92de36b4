"""What each inventory variable means. `tests/docs/test_generated.py` compares the names with the code."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["VARIABLES", "Variable"]


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable: its names, and what it does."""

    names: tuple[str, ...]
    text: str


VARIABLES = {
    "The host and the login": (
        Variable(("ansible_host", "ansible_ssh_host"), "Address to connect to; without it, the host's name."),
        Variable(("ansible_port", "ansible_ssh_port"), "SSH port."),
        Variable(("ansible_user", "ansible_ssh_user"), "User to log in as."),
        Variable(
            ("ansible_private_key_file", "ansible_ssh_private_key_file"),
            "Private key on the controller; agents and `~/.ssh/config` are used as well.",
        ),
        Variable(
            ("ansible_password", "ansible_ssh_pass", "ansible_ssh_password"),
            "Password for the login, or `{cmd: COMMAND}`: the command's output on the controller.",
        ),
        Variable(
            ("ansible_ssh_common_args", "ansible_ssh_extra_args"),
            "Only the jump host is taken (`-J`, `-o ProxyJump=`); a warning names the rest.",
        ),
        Variable(
            ("ansible_connection",),
            "`ssh` (default) or `local`: run on the controller itself.",
        ),
        Variable(
            ("fleettrace_transport",),
            "SSH client: `ssh` (default) or `openssh`; the option `--transport` wins. "
            "See [transports](../running.md#transports).",
        ),
    ),
    "Becoming root": (
        Variable(
            ("ansible_become",), "Whether to use sudo; without it, sudo is used unless the login is root already."
        ),
        Variable(
            ("ansible_become_password", "ansible_become_pass", "ansible_sudo_pass"),
            "Password for sudo, or `{cmd: COMMAND}`; `-K` asks for it once instead.",
        ),
        Variable(("ansible_become_method",), "Only `sudo` is supported; a warning names any other."),
        Variable(("ansible_become_user", "ansible_sudo_user"), "Only `root` is supported; a warning names any other."),
    ),
    "bpftrace and memcached": (
        Variable(
            ("fleettrace_bpftrace",),
            "Command that runs bpftrace on the host, as one string or a list of words: "
            "`toolbox run bpftrace`, for example.",
        ),
        Variable(
            ("fleettrace_instances",),
            "memcached instances to trace, as a list: by port, container name or user. Without it, all.",
        ),
        Variable(
            ("fleettrace_scope",),
            "`host` (default): all processes of the machine, in containers too; `netns`: only those in the network "
            "namespace of the login.",
        ),
    ),
}
