"""Load bpftrace programs on a kernel with a bpftrace, and print the verifier's answers.

    python -m tests.machines.load 6.1 bookworm                     # kernel, release of the bpftrace: our own programs
    python -m tests.machines.load 6.1 bookworm one.bt two.bt       # any programs
    python -m tests.machines.load 6.12/arm64 trixie,bookworm *.bt  # several bpftraces in one boot
    python -m tests.machines.load -v 5.10 bullseye one.bt          # with what bpftrace printed

A program's `/proc/PID/exe` is replaced by that of a process in the guest with all functions that the programs name. A
program is OK if it prints its `start` record or, without one, ends or is ended without an error.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fleettrace.errors import FleettraceError
from tests.machines import initramfs
from tests.machines.images import kernel_headers, unpacked
from tests.machines.kernels import kernel
from tests.machines.programs import PROGRAMS, text
from tests.machines.target import target
from tests.machines.vm import Machine, boot

__all__ = ["Cell", "Loaded", "Verdict", "load"]

_GUEST = Path(__file__).with_name("guest")
_POINT = re.compile(r"/exe:([A-Za-z_][A-Za-z0-9_.]*)")
_ADDRESS = re.compile(r"/exe:0x[0-9a-f]+")
_SECONDS = 180
"""Seconds for one program on a busy machine; 5 to 30 are usual."""
_START = re.compile(r"^\S* ?start \d", re.MULTILINE)
_FAILED = re.compile(r"^(ERROR|.*Error loading|.*Error attaching)", re.MULTILINE)
_VERIFIER = (
    # The reason is in the verifier's last line before `processed N insns`, in these forms (kernel/bpf/verifier.c).
    re.compile(r"^(R\d+ .*(?:min value|unbounded|invalid|outside|not allowed|must).*)$", re.M),
    re.compile(r"^(.*(?:invalid .*(?:access|read|write)|back-edge|too (?:large|complex|many)|stack limit).*)$", re.M),
    re.compile(r"^((?:stdin|.*\.bt):\d+:\d+(?:-\d+)?: ERROR.*)$", re.MULTILINE),
    re.compile(r"^(.*fatal error.*)$", re.MULTILINE),
    re.compile(r"^(ERROR.*)$", re.MULTILINE),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Cell:
    """One program to load under the bpftrace of a release."""

    suite: str
    name: str
    text: str

    @property
    def strlen(self) -> int:
        """Return its BPFTRACE_STRLEN: larger where a whole line is one string (fleettrace.probes.layout)."""
        return 200 if "str($key)]" in self.text else 72


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of a cell. `reason` is empty when the program was loaded, else the line with the reason."""

    cell: Cell
    loaded: bool
    reason: str
    seconds: int
    output: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """The verdicts of one boot, its kernel (`uname -r`), and the version of each release's bpftrace."""

    release: str
    bpftrace: Mapping[str, str]
    verdicts: Sequence[Verdict]


def load(
    kernel_name: str,
    cells: Sequence[Cell],
    *,
    arch: str = "amd64",
    cpus: int = 1,
    words: str = "",
    headers: bool = False,
) -> Loaded:
    """Boot the kernel, with or without its headers, and load every cell.

    Raises `FleettraceError`, with the end of the console, if the guest fails.
    """
    booted = kernel(kernel_name, arch)
    suites = list(dict.fromkeys(cell.suite for cell in cells))
    functions = [name for cell in cells for name in _POINT.findall(cell.text)]
    files: dict[str, initramfs.File] = {
        "stage": (_GUEST / "load.sh").read_text(),
        "target": target(arch, [*functions, "fleettrace_target"]),
        "roots": "".join(f"{suite} vd{chr(ord('a') + number)}\n" for number, suite in enumerate(suites)),
        "headers": f"vd{chr(ord('a') + len(suites))}\n" if headers else "",
        "cells": "".join(f"{number} {cell.suite} {cell.strlen} {_SECONDS}\n" for number, cell in enumerate(cells)),
    }
    for number, cell in enumerate(cells):
        files[f"programs/{number}"] = _ADDRESS.sub("/exe:fleettrace_target", cell.text)
    machine = Machine(
        booted,
        initramfs.base(booted) + initramfs.archive(files),
        [*(unpacked(suite, arch) for suite in suites), *([kernel_headers(booted)] if headers else [])],
        cpus=cpus,
        command_line=words,
    )
    with boot(machine) as guest:
        release = guest.wait_for(r"^VM-READY \S+ (\S+)$", 300)[1]
        for number in range(len(cells)):
            guest.wait_for(rf"^VM-END {number} \d+ \d+$", _SECONDS + 60)
        console = guest.console().replace("\r", "")
    versions = dict(re.findall(r"^VM-ROOT (\S+) bpftrace v?(\S+)$", console, re.MULTILINE))
    if missing := set(suites) - set(versions):
        raise FleettraceError(f"guest: no bpftrace of {', '.join(missing)}: {console[-2000:]}")
    return Loaded(release, versions, list(_verdicts(cells, console)))


def _verdicts(cells: Sequence[Cell], console: str) -> Iterator[Verdict]:
    for number, cell in enumerate(cells):
        found = re.search(rf"^VM-BEGIN {number}\n(.*?)^VM-END {number} (\d+) (\d+)$", console, re.MULTILINE | re.DOTALL)
        if found is None:
            raise FleettraceError(f"guest: no verdict of {cell.suite} {cell.name}: {console[-2000:]}")
        # Other lines are the kernel's messages.
        output = "\n".join(re.findall(r"^VM-LINE (.*)$", found[1], re.MULTILINE))
        code, seconds = int(found[2]), int(found[3])
        if "start %llu" in cell.text:
            loaded = _START.search(output) is not None
        else:
            loaded = not _FAILED.search(output) and code in (0, 124, 130, 143)
        yield Verdict(cell, loaded, "" if loaded else _reason(output, code), seconds, output)


def _reason(output: str, code: int) -> str:
    for pattern in _VERIFIER:
        if lines := pattern.findall(output):
            return str(lines[-1]).strip()
    lines = [line for line in output.splitlines() if line.strip()]
    return f"bpftrace ended with {code}: {lines[-1].strip() if lines else 'no output'}"


def main(arguments: Iterable[str]) -> int:
    """Print one line for each program and bpftrace. Return 1 if any program was refused."""
    parser = argparse.ArgumentParser(prog="python -m tests.machines.load")
    parser.add_argument("-v", "--verbose", action="store_true", help="print what bpftrace printed")
    parser.add_argument("kernel", help="such as 6.1 or 6.12/arm64")
    parser.add_argument("suites", help="releases of the bpftrace, such as bookworm,trixie")
    parser.add_argument("programs", nargs="*", type=Path, help="default: the product's own")
    options = parser.parse_args(list(arguments))
    name, _, arch = options.kernel.partition("/")
    arch, cells = arch or "amd64", []
    for suite in options.suites.split(","):
        cells += [Cell(suite, path.stem, path.read_text()) for path in options.programs]
        if not options.programs:
            cells += [Cell(suite, program, text(program, suite, arch)) for program in PROGRAMS]
    done = load(name, cells, arch=arch)
    for verdict in done.verdicts:
        cell, state = verdict.cell, "OK     " if verdict.loaded else "REFUSED"
        version = done.bpftrace[cell.suite]
        print(f"{done.release} {version:8} {cell.name:20} {state} {verdict.seconds:3} s  {verdict.reason}", flush=True)
        if options.verbose:
            print("".join(f"    {line}\n" for line in verdict.output.splitlines()))
    return 0 if all(verdict.loaded for verdict in done.verdicts) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
