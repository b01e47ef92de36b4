"""`--detach`: what it cannot be asked for together with."""

from __future__ import annotations

import argparse

from fleettrace.errors import ConfigError
from fleettrace.sweep.detach import lead_s
from fleettrace.sweep.detach_model import Detach

__all__ = ["detach_of"]


def detach_of(arguments: argparse.Namespace, hosts: int) -> Detach | None:
    """How traces are to be left, if they are. Raises `ConfigError`."""
    if not getattr(arguments, "detach", False):
        return None
    if arguments.serial:
        raise ConfigError("--detach with --serial: waves have a window each, and --detach gives all hosts the same one")
    if arguments.probe == "watch":
        raise ConfigError("--detach with --probe watch: only bpftrace can be left on a host")
    needed = lead_s(hosts) + arguments.duration
    if arguments.deadline is not None and arguments.deadline < needed:
        raise ConfigError(
            f"--detach begins the window of {hosts:,} hosts {lead_s(hosts):.0f} s after the run: with --duration "
            f"{arguments.duration:g}s give it more than --deadline {arguments.deadline:g}s"
        )
    return Detach(ttl_s=arguments.detach_ttl)
