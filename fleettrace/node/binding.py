"""Binding a trace to the analysed binaries: what a node compares before it attaches anything (binding.sh), and what it
refuses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from fleettrace.binary.elf import code_offset, code_segments
from fleettrace.errors import HostError, HostState
from fleettrace.node.model import Instance
from fleettrace.probes.model import ProbePlan
from fleettrace.summary.run import Failure

__all__ = ["BINARY_CHANGED", "REFUSALS", "RefusedError", "refusals", "target_lines"]

BINARY_CHANGED = "binary-changed"
"""The code of an instance that runs, or whose node sends, another binary than the one that was analysed."""
REFUSALS = {
    BINARY_CHANGED: "runs another binary now than the one that was analysed, so no probe was set on it: run again",
    "code-mismatch": "has other code at the probe than was analysed, so no probe was set on it: run again; if it "
    "happens again, remove the stored analyses (~/.cache/fleettrace/binaries)",
    "attach-refused": "runs a binary that the kernel set no probe on, so it is not traced: try --probe command "
    "or --probe watch",
    "memcached-ended": "ended before it could be traced: run again",
    "foreign-proc": "cannot be told apart, for /proc of the session is that of another PID namespace: log in to the "
    "host itself, or mount its own /proc",
}
"""Why a node refuses to trace a process, by the code that it gives."""


class RefusedError(HostError):
    """A node attached nothing, because the binaries of these processes are not those that were analysed."""

    def __init__(self, failures: Mapping[int, Failure]) -> None:
        first = next(iter(failures.values()))
        super().__init__(HostState.TRACE_FAILED, first.code, "; ".join(each.message for each in failures.values()))
        self.failures = failures


def target_lines(sites: Iterable[Sequence[tuple[Instance, ProbePlan]]]) -> str:
    """Return what binding.sh is to hold: a line for each binary that has a probe in its own code."""
    return "\n".join(_line(site) for site in sites if site[0][1].attaches)


def _line(site: Sequence[tuple[Instance, ProbePlan]]) -> str:
    plan, binary = site[0][1], site[0][0].binary
    pids = ",".join(str(int(each.pid)) for each, _ in site)
    code = ",".join(f"{offset:d}:{code}" for offset, code in dict.fromkeys(_compared(plan)))
    symbols = "" if plan.overlay is None else "".join(f"\\{byte:03o}" for byte in plan.overlay.elf)
    return f"{pids} {int(binary.size)} {binary.sha256 or '-'} {code or '-'} {symbols or '-'}"


def _compared(plan: ProbePlan) -> Iterator[tuple[int, str]]:
    """Return what the node compares, as (file offset, hex): the code at the place where bpftrace puts each probe."""
    if plan.overlay is None:
        yield from ((spot.file_offset - spot.offset, spot.code + spot.after) for spot in plan.spots)
        return
    # bpftrace turns the address of an overlay's symbol into a file offset by the binary's own headers; those of the
    # overlay have no effect on that (tried with 0.17). So compare the headers, and the code where they lead.
    yield from plan.overlay.headers
    segments = code_segments(plan.overlay.headers)
    for spot in plan.spots:
        offset = code_offset(segments, spot.address)
        # No file has code before its beginning, so the comparison fails.
        yield -1 if offset is None else offset - spot.offset, spot.code + spot.after


def refusals(records: Iterable[bytes]) -> dict[int, Failure]:
    """Return why processes are not traced, by pid, from the records `refused`; any other is passed over."""
    failures = {}
    for record in records:
        pid, _, code = record.decode("ascii", "replace").partition(" ")
        if pid.isdigit() and len(pid) < 11 and code in REFUSALS:
            failures[int(pid)] = Failure(code, f"memcached (pid {pid}) {REFUSALS[code]}")
    return failures
