"""`fleettrace check`: log in to each host, find instances and plan probes; trace nothing."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence

from fleettrace.app.options import RunOptions
from fleettrace.app.output import report_writer, write_file_or_stdout
from fleettrace.app.reach import details, login_warnings
from fleettrace.app.redaction import Redaction
from fleettrace.app.secrets import ask_passwords
from fleettrace.app.site import read_site
from fleettrace.app.sweep_session import sweep
from fleettrace.app.targets import Transports, host_tasks, inventory_warnings, select_hosts
from fleettrace.probes.model import ProbeKind
from fleettrace.report.escape import escape_text
from fleettrace.report.formats import Output
from fleettrace.report.host_folding import fold
from fleettrace.summary.run import HostResult, InstanceResult, RunResult, Warn
from fleettrace.sweep.events import Subscriber

__all__ = ["check", "warning_lines"]


def check(options: RunOptions, *, subscriber: Subscriber, warn: Callable[[str], None]) -> RunResult:
    """Check the selected hosts, write a line for each instance, and return the result. Raises `ConfigError`."""
    writer = report_writer(options)
    selection = select_hosts(options)

    def write(result: RunResult, _patterns: Sequence[re.Pattern[bytes]]) -> None:
        if writer.output is not Output.TABLE:
            writer.write(result)
            return
        write_file_or_stdout(writer.out, "".join(f"{line}\n" for line in _lines(result)))
        for line in warning_lines(result.warnings):
            warn(line)

    transports = Transports()
    try:
        site = read_site(options, interactive=sys.stdin.isatty())
        tasks = host_tasks(selection.hosts, options, site, transports, ask_passwords(site))
        transports.check(options.ssh_config)
        for line in details(options.verbose, selection.notes, site.lines(), tasks, transports):
            warn(line)
        return sweep(
            options,
            tasks,
            site,
            trace=False,
            write=write,
            redact=Redaction(),
            warnings=lambda: [*inventory_warnings(selection), *login_warnings(tasks, transports.queries)],
            subscriber=subscriber,
            warn=warn,
        )
    finally:
        transports.close()


def warning_lines(warnings: Sequence[Warn]) -> list[str]:
    """Return a line for each message, with the hosts that it is about."""
    hosts: dict[str, list[str]] = {}
    for warning in warnings:
        hosts.setdefault(warning.message, []).extend([] if warning.host is None else [warning.host])
    return [escape_text(f"{fold(names)}: {message}" if names else message) for message, names in hosts.items()]


def _lines(result: RunResult) -> list[str]:
    """A line for each instance; hosts without instances are folded by state and error."""
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
            cost = ", at an unknown cost: a run measures it first where it may be too high"
        offset = f"+{probe.offset:#x}" if probe.offset else ""
        by = f" by {probe.symbol}{offset}" if probe.symbol else ""
        how = f"{probe.probe_kind}{by}{', overlay' if probe.overlay else ''}{cost}: {probe.why}"
    return escape_text(f"{host.host}  pid {instance.pid}  {where}  memcached {version}  {how}")
