"""Bind a trace to the analysed binaries: the data that a node compares before it attaches (binding.sh), and its
refusals."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from fleettrace.binary.elf import code_offset, code_segments
from fleettrace.errors import HostError, HostState
from fleettrace.node.model import Instance
from fleettrace.probes.model import ProbePlan
from fleettrace.summary.run import Failure

__all__ = ["BINARY_CHANGED", "REFUSALS", "RefusedError", "refusals", "target_lines"]

BINARY_CHANGED = "binary-changed"
"""The error code of an instance with another binary than the analysed one."""
REFUSALS = {
    BINARY_CHANGED: "now runs another binary than the analysed one, so no probe was set on it: run again",
    "code-mismatch": "has other code at the probed instruction than was analysed, so no probe was set on it: run "
    "again; if it happens again, remove the stored analyses (~/.cache/fleettrace/binaries)",
    "attach-refused": "runs a binary on which the kernel refused a probe, so it is not traced: try --probe command "
    "or --probe watch",
    "memcached-ended": "ended before it could be traced: run again",
    "foreign-proc": "cannot be identified, because the session's /proc is that of another PID namespace: log in to the "
    "host itself, or mount its own /proc",
}
"""The reason why a node refuses to trace a process, by the code in its record."""


class RefusedError(HostError):
    """A node attached nothing, because these processes do not run the analysed binaries."""

    def __init__(self, failures: Mapping[int, Failure]) -> None:
        first = next(iter(failures.values()))
        super().__init__(HostState.TRACE_FAILED, first.code, "; ".join(each.message for each in failures.values()))
        self.failures = failures


def target_lines(targets: Iterable[Sequence[tuple[Instance, ProbePlan]]]) -> str:
    """Return the input of binding.sh: a line for each binary with a probe in its own code."""
    return "\n".join(_line(target) for target in targets if target[0][1].attaches)


def _line(target: Sequence[tuple[Instance, ProbePlan]]) -> str:
    plan, binary = target[0][1], target[0][0].binary
    pids = ",".join(str(int(instance.pid)) for instance, _ in target)
    code = ",".join(f"{offset:d}:{code}" for offset, code in dict.fromkeys(_compared(plan)))
    symbols = "" if plan.overlay is None else "".join(f"\\{byte:03o}" for byte in plan.overlay.elf)
    return f"{pids} {int(binary.size)} {binary.sha256 or '-'} {code or '-'} {symbols or '-'}"


def _compared(plan: ProbePlan) -> Iterator[tuple[int, str]]:
    """Yield what the node compares, as (file offset, hex): the code where bpftrace puts each probe."""
    if plan.overlay is None:
        yield from ((each.file_offset - each.offset, each.code + each.after) for each in plan.instructions)
        return
    # bpftrace turns the address of an overlay's symbol into a file offset by the binary's own headers; those of the
    # overlay have no effect on that (tried with 0.17). So compare the headers, and the code where they lead.
    yield from plan.overlay.headers
    segments = code_segments(plan.overlay.headers)
    for each in plan.instructions:
        offset = code_offset(segments, each.address)
        # No file has code before its beginning, so the comparison fails.
        yield -1 if offset is None else offset - each.offset, each.code + each.after


def refusals(records: Iterable[bytes]) -> dict[int, Failure]:
    """Return the reasons why processes are not traced, by pid, from the records `refused`; others are ignored."""
    failures = {}
    for record in records:
        pid, _, code = record.decode("ascii", "replace").partition(" ")
        if pid.isdigit() and len(pid) < 11 and code in REFUSALS:
            failures[int(pid)] = Failure(code, f"memcached (pid {pid}) {REFUSALS[code]}")
    return failures
