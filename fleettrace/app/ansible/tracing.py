"""Sweep one host with the options of a task, write its run file, and summarize the result for Ansible."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from fleettrace import __version__
from fleettrace.app.instance_selection import instance_selection
from fleettrace.app.option_values import OPS, cores, duration
from fleettrace.errors import ConfigError, HostState
from fleettrace.inventory.selectors import InstanceSelector
from fleettrace.node.binaries import BinaryCatalog, default_cache_dir
from fleettrace.probes.model import ProbeKind, ProbeOptions, TraceSettings
from fleettrace.report.escape import escape_key
from fleettrace.store.runfile.writer import RunFileWriter
from fleettrace.summary.run import HostResult, InstanceResult, RunInfo
from fleettrace.sweep.attached import AttachedTracer
from fleettrace.sweep.cancellation import Cancellation
from fleettrace.sweep.events import ignore
from fleettrace.sweep.outcome import HostOutcome
from fleettrace.sweep.settings import HostTask, SweepSettings, printed_entries
from fleettrace.sweep.tracer import TracerContext
from fleettrace.sweep.watch import WatchTracer
from fleettrace.transport.interface import Target, Transport

__all__ = ["UNREACHABLE", "TaskOptions", "run_directory", "summary", "trace", "write_run_file"]

UNREACHABLE = (HostState.UNREACHABLE, HostState.AUTH_FAILED, HostState.HOST_KEY)
"""The states of a host that Ansible calls unreachable."""

_BUCKETS = 60
_MOST_KEYS = 100_000


@dataclass(frozen=True)
class TaskOptions:
    """The checked options of a task."""

    sweep: SweepSettings
    hosts: int
    """The number of hosts in the play; the more, the fewer keys each host prints."""
    bpftrace: tuple[str, ...]
    scope: str
    instances: tuple[InstanceSelector, ...]
    top: int

    @classmethod
    def of(cls, options: Mapping[str, Any], *, hosts: int, trace: bool) -> TaskOptions:
        """Check the module's options. Raise ValueError or `ConfigError`."""
        seconds = duration(str(options["duration"]))
        if not 0 <= options["top"] <= _MOST_KEYS:
            raise ValueError(f"top: {options['top']} is not a number of keys: expected 0 to {_MOST_KEYS}")
        unknown = set(options["ops"] or ()) - set(OPS)
        if unknown:
            raise ValueError(f"ops: unknown operation {sorted(unknown)[0]!r}: expected some of {', '.join(OPS)}")
        probe_kind = None if options["probe"] == "auto" else ProbeKind(options["probe"])
        if probe_kind not in (None, ProbeKind.ITEM) and (options["misses"] or options["sizes"]):
            raise ValueError(f"misses and sizes need the probe kind item: omit probe: {probe_kind}")
        probe_options = ProbeOptions(
            probe_kind, frozenset(options["ops"]) if options["ops"] else None, options["misses"], options["sizes"]
        )
        sweep = SweepSettings(
            duration_s=seconds,
            options=probe_options,
            trace=trace,
            max_cost=cores(str(options["max_cost"])),
            allow_preemptible=options["allow_preemptible"],
            bucket_s=max(1.0, seconds / _BUCKETS),
        )
        bpftrace = tuple(options["bpftrace"]) or ("bpftrace",)
        chosen = tuple(InstanceSelector.parse(item, _wrong) for item in options["instances"])
        return cls(sweep, hosts, bpftrace, options["scope"], chosen, options["top"])


def trace(host: str, transport: Transport, task_options: TaskOptions) -> HostOutcome:
    """Sweep one host. Its errors are in the outcome."""
    bounds = TraceSettings(task_options.sweep.duration_s, printed=printed_entries(task_options.hosts))
    context = TracerContext(task_options.sweep, bounds, BinaryCatalog(default_cache_dir()), Cancellation(), ignore)
    selects = instance_selection(task_options.instances)
    task = HostTask(host, Target(host), transport, task_options.bpftrace, task_options.scope, selects)
    watch = task_options.sweep.options.probe_kind is ProbeKind.WATCH
    return (WatchTracer(context) if watch else AttachedTracer(context)).run(task)


def run_directory(directory: Path) -> Path:
    """Return the absolute path of a directory for run files, which is made if needed. Raise `ConfigError`."""
    path = directory.expanduser().absolute()
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot create this directory for run files: {error.strerror}", file=path) from None
    if not os.access(path, os.W_OK | os.X_OK):
        raise ConfigError("cannot write run files into this directory: permission denied", file=path)
    return path


def write_run_file(
    directory: Path, run: str | None, pattern: str, host: str, outcome: HostOutcome, task_options: TaskOptions
) -> Path:
    """Write the run file of one host for `fleettrace merge`; return its path. Raise `ConfigError`."""
    path = run_directory(directory) / f"{quote(host, safe='')}.run"
    finished = datetime.now(UTC)
    name = run or f"{finished:%Y%m%dT%H%M%SZ}-{uuid4().hex[:6]}"
    # The tasks of one run start at different times; the run id holds the time of the first.
    started = finished
    with suppress(ValueError):
        started = datetime.strptime(name[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    info = RunInfo(name, started, pattern, task_options.sweep.duration_s, __version__, task_options.sweep.bucket_s)
    info.finished = finished
    with RunFileWriter(path) as writer:
        writer.add(name, outcome.result, outcome.summaries, outcome.warnings)
        writer.finish([info])
    return path


def summary(outcome: HostOutcome, task_options: TaskOptions) -> dict[str, Any]:
    """Return the values that the task returns for the host."""
    host = outcome.result
    return {
        "state": host.state.value,
        "error": None if host.error is None else {"code": host.error.code, "message": host.error.message},
        "requests": host.requests,
        "rate": host.rate,
        "instances": [_instance(each) for each in host.instances],
        "top_keys": _keys(host, task_options.top),
    }


def _keys(host: HostResult, top: int) -> Sequence[dict[str, Any]]:
    return [{"key": escape_key(key.data), "requests": requests} for key, requests in host.top[:top]]


def _instance(instance: InstanceResult) -> dict[str, Any]:
    return {
        "pid": instance.pid,
        "ports": list(instance.ports),
        "version": instance.version,
        "state": instance.state.value,
        "kind": instance.probe.probe_kind,
        "exact": instance.probe.exact,
        "why": instance.probe.why,
        "window_s": instance.window_s,
        "requests": instance.requests,
        "absent": instance.absent,
    }


def _wrong(message: str) -> ConfigError:
    return ConfigError(f"instances: {message}")
