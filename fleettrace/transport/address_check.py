"""Refuse addresses that `ssh` would put into a shell's command line, before `ssh` sees them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from fleettrace.errors import ConfigError
from fleettrace.transport.interface import Target
from fleettrace.transport.ssh_arguments import parse_arguments
from fleettrace.transport.ssh_errors import SshFailure, config_refused

__all__ = ["check_address", "jump_hosts"]

# `ssh` puts host and user unquoted into a ProxyCommand or a `Match exec`, which a shell runs. OpenSSH refuses letters
# that a shell interprets only from 9.6 on (valid_hostname and valid_ruser in ssh.c). These patterns allow fewer still.
_HOST = re.compile(r"[A-Za-z0-9_.:\[\]][A-Za-z0-9_.:%\[\]-]*")
_USER = re.compile(r"[A-Za-z0-9_.@+/\\][A-Za-z0-9_.@+/\\-]*(?<!\\)")

_JUMP = re.compile(r"[A-Za-z0-9_.@+/\\:\[\]][A-Za-z0-9_.@+/\\:%\[\]-]*")
_PROXY_JUMP = re.compile(r"\s*proxyjump(?:\s*=\s*|\s+)(.*)", re.IGNORECASE | re.DOTALL)


def check_address(target: Target) -> None:
    """Raise `HostError` (`unreachable`, `address-refused`) for a value with letters that a shell may interpret."""
    for kind, value, allowed in (
        ("address", target.address or target.name, _HOST),
        ("user", target.user or "none", _USER),
        *(("ProxyJump", jump, _JUMP) for jump in jump_hosts(target)),
    ):
        if not allowed.fullmatch(value) or "@-" in value:
            raise SshFailure.ADDRESS_REFUSED.error(f"the {kind} {value!r} has letters that a shell may interpret")


def jump_hosts(target: Target) -> Iterator[str]:
    """Yield the bastions among the target's options for `ssh`."""
    try:
        words = parse_arguments(target.ssh_arguments).words
    except ConfigError as error:
        raise config_refused(error) from None
    for flag, value in pairwise(words):
        option = _PROXY_JUMP.fullmatch(value) if flag == "-o" else None
        text = value if flag == "-J" else option[1] if option else ""
        yield from (jump.strip() for jump in text.split(",") if jump.strip())
