"""`fleettrace plan`: show hosts, program and command line; connect to none."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from fleettrace.app.known_probes import default_path, read_known
from fleettrace.app.options import RunOptions, probe_options
from fleettrace.app.targets import Transports, host_tasks, select_hosts
from fleettrace.errors import ConfigError
from fleettrace.probes.layout import key_layout
from fleettrace.probes.model import ProbeOptions, TraceSettings, UnsupportedError
from fleettrace.probes.program import ProbeTarget, program
from fleettrace.probes.selection import preview
from fleettrace.probes.variants import variants
from fleettrace.report.escape import escape_text
from fleettrace.sweep.settings import HostTask, printed_entries
from fleettrace.text_format import plural
from fleettrace.transport.local.transport import LocalTransport

__all__ = ["plan_lines"]


def plan_lines(options: RunOptions, *, explain: bool = False) -> Iterator[str]:
    """Yield the plan as lines. With `explain`: the variants of the program, and the known probes of each host, too.

    Raises `ConfigError`.
    """
    transports = Transports()
    try:
        tasks = host_tasks(select_hosts(options).hosts, options, transports)
    finally:
        transports.close()
    at_once = min(options.forks, len(tasks))
    yield f"# {plural(len(tasks), 'host')}, {at_once} at a time, {options.duration:g} s each"
    for task in tasks:
        yield escape_text(f"{task.name}: {_how(task)}: {shlex.join(task.bpftrace)} - <PROGRAM")
    requested = probe_options(options)
    try:
        assumed = preview(requested)
    except UnsupportedError as error:
        raise ConfigError(f"--probe {options.probe}: {error}") from None
    bounds = TraceSettings(options.duration, printed=printed_entries(len(tasks)))
    yield "\n# PROGRAM for one memcached process with symbols, pid 4711, under bpftrace before 0.23;"
    yield "# `fleettrace check` analyses the binaries and shows the probe that each one gets"
    yield program([ProbeTarget(assumed, (4711,))], key_layout((0, 17, 0)), bounds).removesuffix("\n")
    if explain:
        yield from _explained(tasks, requested)


def _explained(tasks: Sequence[HostTask], requested: ProbeOptions) -> Iterator[str]:
    """The variants of the program, then the known probes of each host."""
    yield "\n# VARIANTS, in the order in which a host's kernel is asked to load them, until it takes one:"
    for number, variant in enumerate(variants(requested), 1):
        lost = variant.lost(requested)
        yield f"#   {number}. {variant.described(requested)}" + (f" (loses {lost})" if lost else "")
    yield "\n# TAKEN by each host's newest `fleettrace check` or `fleettrace run`, and the reasons:"
    known = read_known(default_path())
    for task in tasks:
        at, probes = known.get(task.name, ("", []))
        if not probes:
            yield escape_text(f"{task.name}: unknown: `fleettrace check` asks its kernel")
        for probe in probes:
            yield escape_text(f"{task.name} {probe.where} ({at}): {probe.probe_kind or 'unsupported'}: {probe.why}")


def _how(task: HostTask) -> str:
    target = task.target
    root = "" if target.become is None else ", root by sudo unless root already"
    if isinstance(task.transport, LocalTransport):
        return f"on this machine{root}"
    user = f"{target.user}@" if target.user else ""
    port = f" port {target.port}" if target.port else ""
    jump = f" through {target.proxy_jump}" if target.proxy_jump else ""
    return f"ssh {user}{target.address or target.name}{port}{jump}{root}"
