"""Asking a node's kernel whether it loads a program, without tracing anything: what `check` reports is what it said."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto

from fleettrace.node.discovery import set_words
from fleettrace.node.scripts import script_text
from fleettrace.node.stderr_lines import complaints, no_error, readable
from fleettrace.node.trace_end import SLOW_START, UNSTOPPABLE
from fleettrace.node.verifier import refused, verifier_reason
from fleettrace.probes.model import KeyLayout, TraceSettings
from fleettrace.probes.program import ProbeTarget, overlay_lines, program, unsafe
from fleettrace.transport.interface import Connection, Limits, Stream

__all__ = ["Load", "LoadVerdict", "load_program", "load_script"]

_SECONDS = 180
"""Seconds for bpftrace to compile and load a program; seen: 0.6 to 8, and 100 on an emulated arm64 guest."""
_LIMITS = Limits(seconds=_SECONDS + 20, max_bytes=1 << 20)
_NONCE = "load"
_STARTED = re.compile(rb"^#load start \d", re.MULTILINE)
_STATUS = re.compile(rb"\nstatus (\d+)\n$")
_UNSEEN = re.compile(rb"exe-\d+\S* (?:does not exist|not found)|exe-\d+\S*: No such file", re.IGNORECASE)
_TELLING = re.compile(rb"ERROR|HINT|\berror: |^BUG")
_NO_ERROR = re.compile(rb"RLIMIT_MEMLOCK|^(?:\S+: )?(?:WARNING|warning|note|INFO): ")
_UNABLE = 3
_EXPIRED = 124
"""timeout(1)'s status when its bound is reached; after a KILL it is 137, as after any other."""


class LoadVerdict(Enum):
    """What became of a program."""

    LOADED = auto()
    """The kernel took it, and bpftrace attached every probe."""
    REFUSED = auto()
    """The kernel's verifier refused it, or bpftrace could not compile it."""
    FAILED = auto()
    """It did not run for another reason, such as a probe that could not be attached."""
    UNSEEN = auto()
    """The node's bpftrace does not see the node's files, as one in a container."""
    UNKNOWN = auto()
    """The node has no way to try it without touching memcached (no mount namespaces, no timeout(1))."""


@dataclass(frozen=True, slots=True)
class Load:
    """A verdict and the reason for it, empty where the program was loaded; `code` is the error's, where it has one."""

    verdict: LoadVerdict
    reason: str = ""
    code: str = ""


def load_script(
    bpftrace: Sequence[str],
    sites: Sequence[ProbeTarget],
    layout: KeyLayout,
    settings: TraceSettings,
    seconds: int = _SECONDS,
) -> bytes:
    """Return the script that loads the program of `sites` on a node, for at most `seconds`."""
    text = program(sites, layout, replace(settings, duration_s=0.0), _NONCE)
    words = [*bpftrace, "--unsafe"] if unsafe(sites, text) else bpftrace
    variables = {
        "program": text,
        "seconds": str(seconds),
        "pids": " ".join(str(site.pids[0]) for site in sites),
        "strings": str(layout.strlen),
        "entries": str(settings.entries),
        "overlays": overlay_lines(sites),
    }
    own = "".join(f"{name}={shlex.quote(value)}\n" for name, value in variables.items())
    return (set_words(words) + own + script_text("input.sh", "definitions.sh", "load.sh")).encode()


def load_program(
    connection: Connection,
    bpftrace: Sequence[str],
    sites: Sequence[ProbeTarget],
    layout: KeyLayout,
    settings: TraceSettings,
) -> Load:
    """Load the program of `sites` on a node, attached to nothing that runs. Raises `HostError` for the connection's
    own failures and where the bound of time was reached."""
    execution = connection.start(load_script(bpftrace, sites, layout, settings), _LIMITS)
    try:
        output = b"".join(chunk.data for chunk in execution if chunk.stream is Stream.OUT)
    finally:
        execution.close()
    return verdict_of(output, bpftrace)


def verdict_of(output: bytes, bpftrace: Sequence[str] = ("bpftrace",)) -> Load:
    """Return what the script's output says of the program, which the command `bpftrace` loaded."""
    status = _STATUS.search(output)
    words = output[: status.start()] if status else output
    if _STARTED.search(words):
        return Load(LoadVerdict.LOADED)
    if status is not None and int(status[1][:4]) == _UNABLE:
        return Load(LoadVerdict.UNKNOWN, "the node has no mount namespaces (unshare) or no timeout(1)")
    if _UNSEEN.search(words):
        return Load(LoadVerdict.UNSEEN, "its bpftrace does not see the node's files: does it run in a container?")
    if UNSTOPPABLE.encode() in words:
        return Load(LoadVerdict.FAILED, " / ".join(_errors(words)), UNSTOPPABLE)
    if refused(words):
        return Load(LoadVerdict.REFUSED, verifier_reason(words) or "bpftrace does not say why")
    if status is not None and int(status[1][:4]) == _EXPIRED:
        reason = f"bpftrace had not loaded its program after {_SECONDS} s: the node is too busy, or the command is slow"
        return Load(LoadVerdict.FAILED, f"{reason}; time `{shlex.join(bpftrace)} --version` on the node", SLOW_START)
    number = status[1].decode() if status else "unknown"
    return Load(LoadVerdict.FAILED, " / ".join(_errors(words))[:400] or no_error(number, bpftrace))


def _errors(words: bytes) -> list[str]:
    """Return the errors that bpftrace and its compiler name, and bpftrace's hints; else the last lines but warnings."""
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    errors = [line for line in lines if _TELLING.search(line) and not _NO_ERROR.search(line) and readable(line)]
    return [line.decode("utf-8", "replace") for line in errors[:3]] or complaints(lines[-2:])
