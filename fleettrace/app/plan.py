"""`fleettrace plan`: show hosts, how each is reached, program and command line; connect to none."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence

from fleettrace.app.known_probes import default_path, read_known
from fleettrace.app.options import RunOptions, probe_options
from fleettrace.app.reach import Reach, reach_of, shared_warnings
from fleettrace.app.site import read_site
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

__all__ = ["plan_lines"]


def plan_lines(options: RunOptions, *, explain: bool = False) -> Iterator[str]:
    """Yield the plan as lines. With `explain`: the variants of the program, and the known probes of each host, too.

    With `options.verbose`: also the site's settings and their origins. Raises `ConfigError`.
    """
    site = read_site(options)
    selection = select_hosts(options)
    transports = Transports()
    try:
        tasks = host_tasks(selection.hosts, options, site, transports, None)
        reached = [reach_of(task, transports.name_of(task.transport), transports.queries) for task in tasks]
    finally:
        transports.close()
    warnings = [*selection.warnings, *shared_warnings(reached)]
    if options.output == "json":
        yield _json(reached, warnings, site.lines())
        return
    at_once = min(site.forks, len(tasks))
    yield f"# {plural(len(tasks), 'host')}, {at_once} at a time, {options.duration:g} s each"
    if options.verbose:
        yield from (escape_text(f"# {line}") for line in (*selection.notes, *site.lines()))
    yield from (escape_text(f"# warning: {line}") for line in warnings)
    for task, reach in zip(tasks, reached, strict=True):
        command = "" if reach.problem or task.endpoint is not None else f": {shlex.join(task.bpftrace)} - <PROGRAM"
        yield escape_text(f"{task.name}: {reach.line()}{command}")
    yield from _program(options, len(tasks))
    if explain:
        yield from _explained(tasks, probe_options(options))


def _json(reached: Sequence[Reach], warnings: Sequence[str], settings: Iterator[str]) -> str:
    document = {
        "schema": "fleettrace/plan/1",
        "hosts": [each.as_json() for each in reached],
        "warnings": warnings,
        "settings": list(settings),
    }
    return json.dumps(document, indent=2)


def _program(options: RunOptions, hosts: int) -> Iterator[str]:
    try:
        assumed = preview(probe_options(options))
    except UnsupportedError as error:
        raise ConfigError(f"--probe {options.probe}: {error}") from None
    bounds = TraceSettings(options.duration, printed=printed_entries(hosts))
    yield "\n# PROGRAM for one memcached process with symbols, pid 4711, under bpftrace before 0.23;"
    yield "# `fleettrace check` analyses the binaries and shows the probe that each one gets"
    yield program([ProbeTarget(assumed, (4711,))], key_layout((0, 17, 0)), bounds).removesuffix("\n")


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
