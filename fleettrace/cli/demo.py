"""`fleettrace demo`: a fleet on this machine, traced for real, ending in its report."""

from __future__ import annotations

import argparse
import sys

from fleettrace.cli.output import check_writable
from fleettrace.lab.demo import demo_lab

__all__ = ["command"]


def command(arguments: argparse.Namespace) -> int:
    """Run it; gives the exit code: 0 when the demo went as it should, its host that is down included."""
    from fleettrace.cli import run

    check_writable(arguments.out)
    _say(arguments, "setting up seven hosts (network namespaces, each with sshd and memcached), and traffic")
    # The late key comes when two thirds of the window are over; the traffic outlasts the window and its preparations.
    with demo_lab(seconds=arguments.duration + 60, late_at=arguments.duration * 0.66) as demo:
        arguments.inventory = str(demo.lab.inventory)
        arguments.ssh_config = str(demo.lab.ssh_config)
        arguments.hosts, arguments.limit = "cache-*", None
        _say(arguments, f"fleettrace run -i {arguments.inventory} --hosts 'cache-*' --duration {arguments.duration:g}s")
        code = run.command(arguments)
        demo.load.stop()
    _say(arguments, "the fleet is gone again; of its seven hosts one was down on purpose")
    return 0 if code == 3 else code


def _say(arguments: argparse.Namespace, words: str) -> None:
    if not arguments.quiet:
        print(f"fleettrace demo: {words}", file=sys.stderr, flush=True)
