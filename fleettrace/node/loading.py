"""Try whether a node's kernel loads a program, without tracing anything, for `check`."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto

from fleettrace.node.discovery import set_arguments
from fleettrace.node.scripts import script_text
from fleettrace.node.stderr_lines import complaints, no_error, readable
from fleettrace.node.trace_end import SLOW_START, UNSTOPPABLE
from fleettrace.node.verifier import refused, verifier_reason
from fleettrace.probes.model import KeyLayout, TraceSettings
from fleettrace.probes.program import ProbeTarget, overlay_lines, program, unsafe
from fleettrace.transport.collect import run_script
from fleettrace.transport.interface import Connection, Limits

__all__ = ["Load", "LoadVerdict", "load_program", "load_script"]

_SECONDS = 180
"""Seconds for bpftrace to compile and load a program; measured: 0.6 to 8, and 100 on an emulated arm64 guest."""
_LIMITS = Limits(seconds=_SECONDS + 20, max_bytes=1 << 20)
_NONCE = "load"
_STARTED = re.compile(rb"^#load start \d", re.MULTILINE)
_STATUS = re.compile(rb"\nstatus (\d+)\n$")
_UNSEEN = re.compile(rb"exe-\d+\S* (?:does not exist|not found)|exe-\d+\S*: No such file", re.IGNORECASE)
_ERROR = re.compile(rb"ERROR|HINT|\berror: |^BUG")
_NO_ERROR = re.compile(rb"RLIMIT_MEMLOCK|^(?:\S+: )?(?:WARNING|warning|note|INFO): ")
_UNABLE = 3
_EXPIRED = 124
"""timeout(1)'s status when its bound is reached; after a KILL it is 137."""


class LoadVerdict(Enum):
    """The result of loading a program."""

    LOADED = auto()
    """The kernel accepted it, and bpftrace attached every probe."""
    REFUSED = auto()
    """The kernel's verifier refused it, or bpftrace could not compile it."""
    FAILED = auto()
    """It did not run for another reason, such as a probe that could not be attached."""
    UNSEEN = auto()
    """The node's bpftrace has other files than the node, such as one in a container."""
    UNKNOWN = auto()
    """The node cannot load it without touching memcached (no mount namespaces or no timeout(1))."""


@dataclass(frozen=True, slots=True)
class Load:
    """A verdict, its reason (empty if the program was loaded) and the error code, if any."""

    verdict: LoadVerdict
    reason: str = ""
    code: str = ""


def load_script(
    bpftrace: Sequence[str],
    targets: Sequence[ProbeTarget],
    layout: KeyLayout,
    settings: TraceSettings,
    seconds: int = _SECONDS,
) -> bytes:
    """Return the script that loads the program of `targets` on a node, within `seconds`."""
    text = program(targets, layout, replace(settings, duration_s=0.0), _NONCE)
    command = [*bpftrace, "--unsafe"] if unsafe(targets, text) else bpftrace
    variables = {
        "program": text,
        "seconds": str(seconds),
        "pids": " ".join(str(target.pids[0]) for target in targets),
        "strings": str(layout.strlen),
        "entries": str(settings.entries),
        "overlays": overlay_lines(targets),
    }
    own = "".join(f"{name}={shlex.quote(value)}\n" for name, value in variables.items())
    return (set_arguments(command) + own + script_text("input.sh", "definitions.sh", "load.sh")).encode()


def load_program(
    connection: Connection,
    bpftrace: Sequence[str],
    targets: Sequence[ProbeTarget],
    layout: KeyLayout,
    settings: TraceSettings,
) -> Load:
    """Load the program of `targets` on a node, without attaching it to a running process.

    Raises `HostError` for failures of the connection and for a script that exceeds its time limit.
    """
    output = run_script(connection, load_script(bpftrace, targets, layout, settings), _LIMITS)
    return verdict_of(output.out, bpftrace)


def verdict_of(output: bytes, bpftrace: Sequence[str] = ("bpftrace",)) -> Load:
    """Return the verdict in the script's output; `bpftrace` is the command that loaded the program."""
    status = _STATUS.search(output)
    printed = output[: status.start()] if status else output
    if _STARTED.search(printed):
        return Load(LoadVerdict.LOADED)
    if status is not None and int(status[1][:4]) == _UNABLE:
        return Load(LoadVerdict.UNKNOWN, "the node has no mount namespaces (unshare) or no timeout(1)")
    if _UNSEEN.search(printed):
        return Load(LoadVerdict.UNSEEN, "its bpftrace has other files than the node: does it run in a container?")
    if UNSTOPPABLE.encode() in printed:
        return Load(LoadVerdict.FAILED, " / ".join(_errors(printed)), UNSTOPPABLE)
    if refused(printed):
        return Load(LoadVerdict.REFUSED, verifier_reason(printed) or "bpftrace printed no reason")
    if status is not None and int(status[1][:4]) == _EXPIRED:
        reason = f"bpftrace had not loaded its program after {_SECONDS} s: the node is too busy, or the command is slow"
        return Load(LoadVerdict.FAILED, f"{reason}; time `{shlex.join(bpftrace)} --version` on the node", SLOW_START)
    number = status[1].decode() if status else "unknown"
    return Load(LoadVerdict.FAILED, " / ".join(_errors(printed))[:400] or no_error(number, bpftrace))


def _errors(printed: bytes) -> list[str]:
    """Return the errors and hints that bpftrace and its compiler printed; else the last lines without warnings."""
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    errors = [line for line in lines if _ERROR.search(line) and not _NO_ERROR.search(line) and readable(line)]
    return [line.decode("utf-8", "replace") for line in errors[:3]] or complaints(lines[-2:])
