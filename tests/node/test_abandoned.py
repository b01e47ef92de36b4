"""When a script's input ends, what it has started is ended, and nothing else, whatever a process is called."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleettrace.lab.system import wait_until
from fleettrace.node.scripts import script_text

NAMED = "import sys, time; open('/proc/self/comm', 'w').write(sys.argv[1]); print(flush=True); time.sleep(60)"
SCRIPT = script_text("abandoned.sh") + "watch_input\nsleep 61 &\necho $! >&2\nsleep 62"


@contextlib.contextmanager
def called(name: str) -> Iterator[subprocess.Popen[bytes]]:
    """A stranger's process of this name."""
    process = subprocess.Popen([sys.executable, "-c", NAMED, name], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("shell", [["dash"], ["bash"], ["busybox", "ash"]], ids=lambda words: words[-1])
@pytest.mark.parametrize("name", [") S {} (", "x\n1 (x) S {} 1"], ids=["parentheses", "newline"])
def test_only_what_it_started_is_ended(shell: list[str], name: str) -> None:
    script = subprocess.Popen([*shell, "-c", SCRIPT], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert script.stdin is not None and script.stderr is not None
    child = int(script.stderr.readline())
    with called(name.format(script.pid)[:15]) as stranger:
        script.stdin.close()
        assert script.wait(10) < 0
        wait_until(lambda: not Path(f"/proc/{child}/exe").exists(), "its child goes on")
        assert stranger.poll() is None
    script.stderr.close()
