"""`fleettrace check`: log in everywhere, find instances, plan probes, trace nothing."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from functools import partial

from fleettrace.cli.fleet import Transports, selected, tasks_of, warnings_of
from fleettrace.cli.output import ReportWriter, report_writer, write_file_or_stdout
from fleettrace.cli.progress import troubles
from fleettrace.cli.secrets import asked_password
from fleettrace.cli.sweeping import sweep_and_report
from fleettrace.probes.model import ProbeKind
from fleettrace.report.escape import escape_text
from fleettrace.report.formats import Output
from fleettrace.report.host_folding import fold
from fleettrace.summary.run import HostResult, InstanceResult, RunResult, Warn

__all__ = ["command", "warning_lines"]


def command(arguments: argparse.Namespace) -> int:
    """Run it; gives the exit code."""
    wanted = report_writer(arguments)
    selection = selected(arguments)
    transports = Transports()
    try:
        tasks = tasks_of(selection.hosts, arguments, transports, asked_password(arguments))
        transports.check(arguments.ssh_config)
        return sweep_and_report(
            arguments,
            tasks,
            pattern=arguments.hosts,
            trace=False,
            write=partial(_write, wanted),
            warnings=warnings_of(selection),
            listener=troubles(quiet=arguments.quiet),
        )
    finally:
        transports.close()


def _write(wanted: ReportWriter, result: RunResult, _patterns: Sequence[re.Pattern[bytes]]) -> None:
    if wanted.output is not Output.TABLE:
        wanted.write(result)
        return
    write_file_or_stdout(wanted.out, "".join(f"{line}\n" for line in _lines(result)))
    for line in warning_lines(result.warnings):
        print(f"fleettrace: {line}", file=sys.stderr)


def warning_lines(warnings: Sequence[Warn]) -> list[str]:
    """A line for each message, with the hosts that it is about."""
    hosts: dict[str, list[str]] = {}
    for warning in warnings:
        hosts.setdefault(warning.message, []).extend([] if warning.host is None else [warning.host])
    return [escape_text(f"{fold(names)}: {message}" if names else message) for message, names in hosts.items()]


def _lines(result: RunResult) -> list[str]:
    """A line an instance; hosts without any are folded by what is the matter with them."""
    lines: list[str] = []
    others: dict[tuple[str, str], list[str]] = {}
    for host in result.hosts:
        if host.instances:
            lines += [_line(host, instance) for instance in host.instances]
        else:
            others.setdefault((host.state.value, host.error.message if host.error else ""), []).append(host.host)
    for (state, message), names in others.items():
        lines.append(escape_text(f"{fold(names)}  {state}" + (f": {message}" if message else "")))
    return lines


def _line(host: HostResult, instance: InstanceResult) -> str:
    where = " ".join(f":{port}" for port in instance.ports) or instance.exe
    if instance.container is not None:
        where += f" ({instance.container.runtime} {instance.container.name or instance.container.id[:12]})"
    version = instance.version or "version unknown"
    probe = instance.probe
    if probe.probe_kind is None:
        how = f"{instance.state}: {probe.why}"
    else:
        cost = f", about {probe.cost:g} us a request" if probe.cost is not None else ""
        if probe.cost is None and probe.probe_kind in (ProbeKind.ITEM, ProbeKind.USDT, ProbeKind.COMMAND):
            cost = ", at a cost that a run measures first where it may be too much"
        offset = f"+{probe.offset:#x}" if probe.offset else ""
        how = f"{probe.probe_kind} by {probe.symbol}{offset}{', overlay' if probe.overlay else ''}{cost}: {probe.why}"
    return escape_text(f"{host.host}  pid {instance.pid}  {where}  memcached {version}  {how}")
