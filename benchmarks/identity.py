"""Measure a node's cost of identifying binaries by content: CPU time of the discovery, and of binding a trace.

python -m benchmarks.identity      # medians of 15 interleaved rounds
"""

from __future__ import annotations

import os
import resource
import shutil
import statistics
from pathlib import Path
from tempfile import TemporaryDirectory

from fleettrace.binary.analysis import analyse
from fleettrace.node.binding import target_lines
from fleettrace.node.discovery import discovery_script, parse_discovery
from fleettrace.node.scripts import script_text
from fleettrace.probes.model import ProbeOptions
from fleettrace.probes.selection import choose
from tests.binary.builds import build
from tests.binary.traffic import memcached
from tests.node.ran import ran

ROUNDS = 15
HASH = b"    sum=\n    ["


def cpu_ms(script: bytes) -> float:
    """Return the CPU milliseconds of a script and all processes that it starts."""

    def used() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    before = used()
    ran(["sh"], script)
    return (used() - before) * 1e3


def main() -> None:
    discovery = discovery_script(["bpftrace"], "host")
    unhashed = discovery.replace(HASH, b"    sum=\n    return\n    [")
    assert unhashed != discovery
    with TemporaryDirectory() as directory:
        for size in (None, 10 << 20):
            binary = Path(shutil.copy2(build("plain"), Path(directory) / "memcached"))
            if size is not None:
                os.truncate(binary, size)
            with memcached(binary) as (pid, _):
                report = ran(["sh"], discovery).stdout
                [instance] = [one for one in parse_discovery(report).instances if one.pid == pid]
                # The largest usual plan: a program header, and the code of three probes.
                plan = choose(analyse(binary.read_bytes()), ProbeOptions(misses=True, sizes=True))
                target = target_lines([[(instance, plan)]])
                parts = script_text("identity.sh", "abandoned.sh", "binding.sh") + "release\n"
                binding = f"detached=no\nunstoppable=no\nprogram=\nsites='{target}'\n{parts}".encode()
                rounds = [(cpu_ms(discovery), cpu_ms(unhashed), cpu_ms(binding), cpu_ms(b":")) for _ in range(ROUNDS)]
            hashing = statistics.median(one - other for one, other, *_ in rounds)
            bound = statistics.median(one - other for *_, one, other in rounds)
            total = statistics.median(one for one, *_ in rounds)
            size_mb = binary.stat().st_size / 1e6
            print(f"{size_mb:.1f} MB: discovery {total:.0f} ms, of which the hash {hashing:.1f} ms")
            print(f"    binding a trace {bound:.1f} ms")
            binary.unlink()


if __name__ == "__main__":
    main()
