"""`fleettrace plan`: which hosts, which program, what command line; connects to nobody."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator, Sequence

from fleettrace.cli.fleet import Transports, selected, tasks_of
from fleettrace.cli.known_probes import default_path, read_known
from fleettrace.cli.wishes import probe_options
from fleettrace.errors import ConfigError
from fleettrace.probes.layout import key_layout
from fleettrace.probes.model import ProbeOptions, TraceSettings, UnsupportedError
from fleettrace.probes.program import ProbeTarget, program
from fleettrace.probes.selection import preview
from fleettrace.probes.variants import variants
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
    wish = probe_options(arguments)
    try:
        assumed = preview(wish)
    except UnsupportedError as error:
        raise ConfigError(f"--probe {arguments.probe}: {error}") from None
    bounds = TraceSettings(arguments.duration, printed=printed_entries(len(tasks)))
    print("\n# PROGRAM, as it is where one memcached with symbols runs as pid 4711 under bpftrace before 0.23:")
    print("# `fleettrace check` looks at the binaries and says which probe each one gets")
    print(program([ProbeTarget(assumed, (4711,))], key_layout((0, 17, 0)), bounds), end="")
    if arguments.explain:
        print("\n".join(_explained(tasks, wish)))
    return 0


def _explained(tasks: Sequence[HostTask], wish: ProbeOptions) -> Iterator[str]:
    """The variants of the program, then what is known of each host."""
    yield "\n# VARIANTS, in the order in which a host's kernel is asked to load them, until it takes one:"
    for number, variant in enumerate(variants(wish), 1):
        lost = variant.lost(wish)
        yield f"#   {number}. {variant.described(wish)}" + (f" (loses {lost})" if lost else "")
    yield "\n# TAKEN by each host's newest `fleettrace check` or `fleettrace run`, and the reasons:"
    known = read_known(default_path())
    for task in tasks:
        at, probes = known.get(task.name, ("", []))
        if not probes:
            yield escape_text(f"{task.name}: not known: `fleettrace check` asks its kernel")
        for probe in probes:
            yield escape_text(f"{task.name} {probe.where} ({at}): {probe.probe_kind or 'unsupported'}: {probe.why}")


def _how(task: HostTask) -> str:
    target = task.target
    root = "" if target.become is None else ", root by sudo unless root already"
    if type(task.transport).__name__ == "LocalTransport":
        return f"on this machine{root}"
    user = f"{target.user}@" if target.user else ""
    port = f" port {target.port}" if target.port else ""
    jump = f" by way of {target.proxy_jump}" if target.proxy_jump else ""
    return f"ssh {user}{target.address or target.name}{port}{jump}{root}"
