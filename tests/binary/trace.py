"""Run a real bpftrace on one instruction of a running memcached, named by an overlay that only this trace sees."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from fleettrace.binary.analysis import BinaryAnalysis
from fleettrace.binary.cheapest import Instruction
from fleettrace.binary.overlay import overlay

__all__ = ["Trace", "operations", "trace"]

_SCRIPT = """set -eu
mount -t tmpfs tmpfs "$1"
mkdir -p "$1/proc/$2"
cat > "$1/proc/$2/exe"
BCC_SYMFS=$1 exec timeout -s INT -k 5 60 bpftrace -e "$3" < /dev/null
"""


class Trace:
    """The counts of a finished trace: (return address as the file has it, do_update) -> calls."""

    def __init__(self) -> None:
        self.calls: Counter[tuple[int, int]] = Counter()
        self.errors = ""


@contextlib.contextmanager
def trace(pid: int, analysis: BinaryAnalysis, instruction: Instruction) -> Iterator[Trace]:
    """Count calls through `instruction` by return address while the block runs; the result is filled in at its end."""
    program = (
        f"uprobe:/proc/{pid}/exe:FT_probe /pid == {pid}/ "
        f'{{ @r[*(uint64*)(reg("sp") + {instruction.return_offset}), arg4 & 0xff] = count(); }} '
        'interval:ms:100 { printf("ready\\n"); }'
    )
    result = Trace()
    with tempfile.TemporaryDirectory() as directory:
        command = ["unshare", "-m", "sh", "-c", _SCRIPT, "sh", directory, str(pid), program]
        running = subprocess.Popen(command, stdin=-1, stdout=-1, stderr=-1, start_new_session=True)
        assert running.stdin is not None
        assert running.stdout is not None
        try:
            running.stdin.write(overlay(analysis.build_id, analysis.machine, {"FT_probe": instruction}))
            running.stdin.close()
            running.stdin = None
            while (line := running.stdout.readline()) and line != b"ready\n":
                pass
            yield result
            os.killpg(running.pid, signal.SIGINT)
            output, errors = running.communicate(timeout=30)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)
            running.wait()
    bias = _bias(pid, instruction)
    result.errors = errors.decode("utf-8", "replace")
    for address, flag, count in re.findall(rb"@r\[(\d+), (\d+)\]: (\d+)", output):
        result.calls[int(address) - bias, int(flag)] += int(count)


def operations(analysis: BinaryAnalysis, calls: Counter[tuple[int, int]]) -> Counter[str]:
    """Return the number of calls by operation, by the analysis of call sites."""
    by_address = {each.return_address: each for each in analysis.call_sites}
    counts: Counter[str] = Counter()
    for (address, flag), count in calls.items():
        found = by_address.get(address)
        if found is None:
            counts["no such call site"] += count
            continue
        operation = found.fetch if found.fetch is not None and flag == 1 else found.operation
        counts["unknown" if operation is None else operation.value] += count
    return counts


def _bias(pid: int, instruction: Instruction) -> int:
    """Return what the loader added to the file's addresses, from the mapping with the instruction."""
    exe = str(Path(f"/proc/{pid}/exe").readlink())
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        span, mode, offset, _, _, *rest = line.split(maxsplit=5)
        start, end = (int(part, 16) for part in span.split("-"))
        first = int(offset, 16)
        if "x" in mode and rest == [exe] and first <= instruction.file_offset < first + end - start:
            return start + instruction.file_offset - first - instruction.address
    raise AssertionError(f"no executable mapping of {exe} in process {pid}")
