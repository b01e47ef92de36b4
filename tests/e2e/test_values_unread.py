"""No stored value is ever read: no output has a byte of one, with any probe kind and bpftrace.

From memcached 1.6.40 on, a command line does not end with a NUL. A program that reads past its length gets what other
requests left in the buffer, their values included.
"""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from fleettrace.lab.fleet import Lab
from fleettrace.lab.load import Client
from fleettrace.lab.memcached import OPTIONS, read_stats
from fleettrace.lab.namespaces import enter
from fleettrace.lab.protocol import Command as Request
from fleettrace.lab.specs import HostSpec, InstanceSpec
from fleettrace.lab.system import wait_until
from fleettrace.lab.truth import TracedInstance
from fleettrace.probes.model import ProbeKind
from fleettrace.resources import resource_dir
from tests.e2e.command import Command, on_lab
from tests.e2e.fleet import key_of
from tests.matrix.roots import bpftrace_of, compiled, memcached_of

pytestmark = pytest.mark.lab

SECRET = b"\xa7SECRET-ssn=123-45-6789\xa7" * 40
RELEASES = ("bookworm", "sid")
"""The releases of the bpftrace that traces: Debian 12, and the newest."""
COMPILED, PACKAGED, PROBED = 11211, 11212, 11213
KEYS = [b"%d:" % length + b"x" * (length - len(b"%d:" % length)) for length in (3, 20, 70, 71, 72, 143, 199, 213, 250)]
BATCHES = [
    [Request(store, (key,), SECRET) for key in KEYS] + [Request(fetch, (b"nope",)), Request(fetch, (KEYS[0],))]
    for store, fetch in (("set", "get"), ("set", "gets"), ("append", "get"), ("ms", "mg"), ("bset", "bget"))
] + [
    [Request("set", (b"n",), SECRET), Request(verb, (b"nope",), b"10"), Request(verb, (b"n",), b"10")]
    for verb in ("delete", "incr", "decr", "touch", "gat", "md", "ma", "bdelete", "bincr", "btouch")
]
SENT = {key for batch in BATCHES for request in batch for key in request.keys}
PROBES = ["auto", *(probe_kind for probe_kind in ProbeKind if probe_kind is not ProbeKind.SCRIPT), "slow-commands"]
"""The probe kinds, and the shipped program that reads clients' commands."""

_LOGGING = """#!/bin/bash
exec {command} "$@" > >(tee -i -a {log}) 2> >(tee -i -a {log} >&2)
"""


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with each host's bpftrace, and logs of all its output."""
    made = tmp_path_factory.mktemp("logging")
    for release in RELEASES:
        command, log = bpftrace_of(release, made), log_of(made, release)
        script = made / release
        script.write_text(_LOGGING.format(command=shlex.quote(command), log=shlex.quote(str(log))))
        script.chmod(0o755)
    return made


def log_of(directory: Path, release: str) -> Path:
    return directory / f"{release}.log"


@pytest.fixture(scope="module")
def lab(directory: Path) -> Iterator[Lab]:
    instances = (
        InstanceSpec(COMPILED, binary=compiled("sid"), options=("-t", "1")),
        InstanceSpec(PROBED, binary=compiled("sid", "dtrace"), options=("-t", "1")),
    )
    hosts = [
        HostSpec(release, instances, variables={"fleettrace_bpftrace": str(directory / release)})
        for release in RELEASES
    ]
    with Lab(hosts) as made, ExitStack() as packaged:
        for host in made.hosts.values():
            command_line = [*enter(host.namespace), *memcached_of("sid"), "-p", str(PACKAGED), *OPTIONS]
            process = packaged.enter_context(subprocess.Popen(command_line, stdin=subprocess.DEVNULL))
            packaged.callback(process.kill)
            wait_until(partial(answers, host.address), f"memcached on {host.name} does not start")
        yield made


def answers(address: str) -> bool:
    try:
        return bool(read_stats(address, PACKAGED))
    except OSError:
        return False


@pytest.fixture(scope="module")
def slow(directory: Path) -> Path:
    """Write the program for slow commands with a threshold of 0, which every command exceeds."""
    script = directory / "slow.bt"
    script.write_text((resource_dir("bpftrace") / "slow-commands.bt").read_text().replace(">= 1000000)", ">= 0)"))
    return script


@pytest.mark.parametrize("probe", PROBES)
def test_no_output_has_a_byte_of_a_value(lab: Lab, directory: Path, slow: Path, probe: str) -> None:
    options = ["--duration", "60s", "--top", "100000", "--output", "json", "-v"]
    options += ["--script", str(slow)] if probe == "slow-commands" else ["--probe", probe]
    with Command(["run", *on_lab(lab), *options]) as command:
        command.wait_for_trace(*RELEASES)
        for name, host in lab.hosts.items():
            for port in (COMPILED, PACKAGED, PROBED):
                with Client(TracedInstance(name, port), host.address) as client:
                    for batch in BATCHES * 7:
                        client.send(batch)
        command.signal(signal.SIGINT)
        done = command.finish()
    report = json.loads(done.out)
    # Of commands sent at once, some probe kinds count only the first.
    assert report["totals"]["requests"] > 100
    for row in report["keys"]:
        assert key_of(row) in SENT or (row["truncated"] and any(key.startswith(key_of(row)) for key in SENT))
    logs = [log_of(directory, release).read_bytes() for release in RELEASES]
    assert all(b"@n" in log for log in logs)
    for output in (*logs, done.out, done.err.encode()):
        for trace in (b"SECRET", b"ssn=", b"123-45", b"-6789", b"\xa7", b"u00a7"):
            assert trace not in output
