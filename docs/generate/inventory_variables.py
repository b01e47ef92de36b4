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
            ("ansible_ssh_args", "ansible_ssh_common_args", "ansible_ssh_extra_args"),
            'Options for `ssh`, such as `-J bastion` or `-o ProxyCommand="ssh -W %h:%p gw"`. Both clients honor them; '
            "those for multiplexing have no effect.",
        ),
        Variable(("ansible_ssh_executable",), "The `ssh` to run; without it, the one on the PATH."),
        Variable(("ansible_timeout", "ansible_ssh_timeout"), "Seconds for a whole login."),
        Variable(
            ("ansible_host_key_checking", "ansible_ssh_host_key_checking"),
            "`false`: accept the key of an unknown host and store it. A changed key is refused all the same.",
        ),
        Variable(
            ("ansible_connection",),
            "`ssh` (default; `smart` and `paramiko` mean the same) or `local`: run on the controller itself. "
            "A host with another connection is skipped.",
        ),
        Variable(
            ("fleettrace_transport",),
            "SSH client: `ssh` (default) or `openssh`; the option `--transport` wins. "
            "See [transports](../running.md#transports).",
        ),
    ),
    "Becoming root": (
        Variable(
            ("ansible_become",),
            "`false`: trace as the user who logs in. Else become root, unless the login is root already.",
        ),
        Variable(
            ("ansible_become_password", "ansible_become_pass"),
            "Password for the method, or `{cmd: COMMAND}`; `-K` asks for it once instead. `ansible_sudo_pass`, "
            "`ansible_su_pass` and so on are for that method alone, as are the `_user`, `_exe` and `_flags` below.",
        ),
        Variable(("ansible_become_method",), "`sudo` (default), `su`, `doas`, `dzdo`, `pbrun`, `run0` or `none`."),
        Variable(("ansible_become_user",), "The user to become; `root` by default, and bpftrace needs it."),
        Variable(("ansible_become_exe",), "The method's program; by default its name."),
        Variable(("ansible_become_flags",), "Options for the method's program, instead of its own."),
    ),
    "A memcached port without a login": (
        Variable(
            ("fleettrace_endpoint",),
            "`HOST:PORT` or `[IPV6]:PORT` of one memcached: the controller asks it over this port and never logs in "
            "to the host. See [one cache without a login](../how-to/endpoint.md).",
        ),
        Variable(("fleettrace_endpoint_tls",), "`true`: speak TLS with the endpoint, and verify its certificate."),
        Variable(
            ("fleettrace_endpoint_tls_ca",),
            "PEM file of the accepted certificate authorities; without it, those of the system.",
        ),
        Variable(
            ("fleettrace_endpoint_tls_cert",), "PEM file of the client's certificate, if the endpoint asks for one."
        ),
        Variable(
            ("fleettrace_endpoint_tls_key",),
            "PEM file of its private key, not encrypted; without it, the key is in the certificate's file.",
        ),
        Variable(
            ("fleettrace_endpoint_tls_server_name",),
            "The name that the endpoint's certificate must have; without it, the host in `fleettrace_endpoint`.",
        ),
        Variable(("fleettrace_endpoint_tls_verify",), "`false`: accept any certificate."),
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
