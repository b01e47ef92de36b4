"""`fleettrace plan`: which hosts, which program, what command line; connects to nobody."""

from __future__ import annotations

import argparse
import shlex

from fleettrace.cli.fleet import Transports, selected, tasks_of
from fleettrace.cli.wishes import wish_of
from fleettrace.errors import ConfigError
from fleettrace.probes.ladder import UnsupportedError, preview
from fleettrace.probes.layout import key_layout
from fleettrace.probes.model import TraceSettings
from fleettrace.probes.program import Site, program
from fleettrace.report.escape import escape_text
from fleettrace.sweep.settings import HostTask, printed_entries

__all__ = ["command"]


def command(arguments: argparse.Namespace) -> int:
    """Run it; gives the exit code."""
    transports = Transports()
    try:
        tasks = tasks_of(selected(arguments).hosts, arguments, transports)
    finally:
        transports.close()
    hosts = "1 host" if len(tasks) == 1 else f"{len(tasks)} hosts"
    print(f"# {hosts}, {min(arguments.forks, len(tasks))} at a time, {arguments.duration:g} s each")
    for task in tasks:
        print(escape_text(f"{task.name}: {_how(task)}: {shlex.join(task.bpftrace)} - <PROGRAM"))
    wish = wish_of(arguments)
    try:
        assumed = preview(wish)
    except UnsupportedError as error:
        raise ConfigError(f"--probe {arguments.probe}: {error}") from None
    bounds = TraceSettings(arguments.duration, printed=printed_entries(len(tasks)))
    print("\n# PROGRAM, as it is where one memcached with symbols runs as pid 4711 under bpftrace before 0.23:")
    print("# `fleettrace check` looks at the binaries and says which probe each one gets")
    print(program([Site(assumed, (4711,))], key_layout((0, 17, 0)), bounds), end="")
    return 0


def _how(task: HostTask) -> str:
    target = task.target
    root = "" if target.become is None else ", root by sudo unless root already"
    if type(task.transport).__name__ == "LocalTransport":
        return f"on this machine{root}"
    user = f"{target.user}@" if target.user else ""
    port = f" port {target.port}" if target.port else ""
    jump = f" by way of {target.proxy_jump}" if target.proxy_jump else ""
    return f"ssh {user}{target.address or target.name}{port}{jump}{root}"
