"""`fleettrace top` in a real terminal over a real fleet: each key works, and the terminal is restored.

pyte is the terminal, behind a pseudo-terminal; what it shows is what a person would see.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import TracebackType

import pyte
import pytest

from fleettrace.lab.demo import FAMILY, HOT, HOT_HOST, Demo, demo_lab
from tests.e2e.command import environment, on_lab

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]

PATIENCE_S = 60.0
HOT_KEY = HOT.decode()
LEAVE = b"\x1b[?1049l"


class Terminal:
    """A terminal of 80 x 24 with `fleettrace top` in it."""

    def __init__(self, demo: Demo, directory: Path, *options: str, **variables: str) -> None:
        self._screen = pyte.Screen(80, 24)
        self._stream = pyte.ByteStream(self._screen)
        self.sent = bytearray()
        self.after = ""
        """What was printed behind the last full screen."""
        self._controller, follower = pty.openpty()
        self.resize(80, 24)
        self.before = termios.tcgetattr(follower)
        self._follower = follower
        arguments = ["top", *on_lab(demo.lab, "--hosts", "cache-001,cache-002,cache-003,cache-007", *options)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "fleettrace", *arguments],
            stdin=follower,
            stdout=follower,
            stderr=follower,
            cwd=directory,
            env=environment(TERM="xterm-256color", NO_COLOR="1", XDG_CACHE_HOME=str(directory / "cache"), **variables),
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        os.close(self._controller)
        os.close(self._follower)

    @property
    def lines(self) -> list[str]:
        """What is to be seen."""
        return [line.rstrip() for line in self._screen.display]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    @property
    def selected(self) -> str:
        """The line under the cursor: the one shown reversed that is not the last."""
        rows = [row for row in range(self._screen.lines - 1) if self._screen.buffer[row][2].reverse]
        return self.lines[rows[0]] if rows else ""

    @property
    def names(self) -> list[str]:
        """The names of the list, from top to bottom."""
        return [line.split()[-1] for line in self.lines[2:-1] if re.match(r"\s+[\d,]+ ", line)]

    def resize(self, columns: int, lines: int) -> None:
        """Give it another size."""
        fcntl.ioctl(self._controller, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self._screen.resize(lines, columns)

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._controller, keys.encode())

    def read(self, seconds: float) -> None:
        """Take in what is printed within that time."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if select.select([self._controller], [], [], left)[0]:
                data = os.read(self._controller, 65536)
                self.sent += data
                self._stream.feed(data)

    def wait(self, what: Callable[[], object]) -> None:
        """Wait until something is to be seen."""
        until = time.monotonic() + PATIENCE_S
        while not what():
            assert time.monotonic() < until, f"never seen, but:\n{self.text}"
            assert self._process.poll() is None, f"it ended:\n{self.text}"
            self.read(0.1)

    def see(self, *words: str) -> None:
        """Wait until all these words are to be seen."""
        self.wait(lambda: all(one in self.text for one in words))

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def finish(self) -> int:
        """Wait for its end; gives its exit code."""
        until = time.monotonic() + PATIENCE_S
        while self._process.poll() is None:
            assert time.monotonic() < until, f"it goes on:\n{self.text}"
            self.read(0.1)
        self.read(0.2)
        self.after = self.sent.rpartition(LEAVE)[2].decode()
        return self._process.returncode

    @property
    def given_back(self) -> bool:
        """Whether the terminal is as it was: its settings, the screen from before, and a cursor."""
        shown = self.sent.count(LEAVE) == self.sent.count(b"\x1b[?1049h") == 1 and b"\x1b[?25h" in self.sent
        return shown and termios.tcgetattr(self._follower) == self.before


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    with demo_lab(seconds=280, rate=200) as made:
        yield made


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("top")


@pytest.fixture(scope="module")
def top(demo: Demo, directory: Path) -> Iterator[Terminal]:
    """One that runs for all the tests that only look."""
    with Terminal(demo, directory, "--duration", "150s") as terminal:
        terminal.see("3/4 hosts tracing", "1 failed", HOT_KEY)
        yield terminal


@pytest.fixture(autouse=True)
def at_the_start(request: pytest.FixtureRequest) -> None:
    """Every test that only looks begins at the keys, by requests, with no filter."""
    if "top" in request.fixturenames:
        terminal: Terminal = request.getfixturevalue("top")
        terminal.type("kr")
        terminal.wait(lambda: terminal.lines[1] == "KEYS by requests")


def test_screen_fits_and_shows_time_and_hosts(top: Terminal) -> None:
    top.wait(lambda: top.names[:1] == [HOT_KEY])
    head = r"\d+ of 150 s  3/4 hosts tracing  1 failed  [\d.k]+ req/s  [\d.k]+ requests  cache-00"
    assert re.match(head, top.lines[0])
    assert top.lines[-1].startswith("q quit  p pause")


def test_r_n_b_m_sort(top: Terminal) -> None:
    for key, words in {"n": "by req/s", "b": "by bytes", "m": "by misses", "r": "by requests"}.items():
        top.type(key)
        top.wait(partial(_titled, top, words))
        assert top.names


def _titled(top: Terminal, words: str) -> bool:
    return top.lines[1] == f"KEYS {words}"


def test_h_lists_hosts_and_enter_opens_one(top: Terminal) -> None:
    top.type("h")
    top.wait(lambda: top.names[:1] == [HOT_HOST])
    assert "unreachable" in top.text
    top.type("\r")
    top.see(f"KEYS of host {HOT_HOST}")
    top.wait(lambda: top.names[:1] == [HOT_KEY])


def test_enter_opens_a_key_escape_returns(top: Terminal) -> None:
    top.wait(lambda: HOT_KEY in top.selected)
    top.type("\x1b[B")
    top.wait(lambda: top.selected and HOT_KEY not in top.selected)
    other = top.selected.split()[-1]
    top.type("\r")
    top.see(f"HOSTS of key {other}", "cache-001", "cache-002", "cache-003", "of the fleet, get")
    top.type("\x1b")
    top.wait(lambda: top.selected.split()[-1:] == [other])
    top.type("\x1b[A")
    top.wait(lambda: top.selected != "" and other not in top.selected)


def test_t_lists_families_and_enter_opens_one(top: Terminal) -> None:
    family = FAMILY.replace("{n}", "{}")
    top.type("t")
    top.wait(lambda: family in top.names)
    top.type("\x1b[H\r")
    top.see("KEYS of family ")


def test_a_filter_leaves_what_has_its_letters(top: Terminal) -> None:
    top.type("/STOCK")
    top.wait(lambda: top.names == [HOT_KEY])
    assert top.lines[-1].startswith("/STOCK_")
    top.type("\r")
    top.see("KEYS by requests  with 'STOCK'")
    top.type("\x1b")
    top.wait(lambda: len(top.names) > 5)


def test_p_pauses_and_goes_on(top: Terminal) -> None:
    top.type("p")
    top.see("PAUSED")
    before = top.lines
    top.read(2.5)
    assert top.lines == before
    top.type("p")
    top.wait(lambda: "PAUSED" not in top.text and top.lines[0] != before[0])


def test_help_is_there(top: Terminal) -> None:
    top.type("?")
    top.see("save the run as JSON", "any key: back")
    top.type(" ")
    top.wait(lambda: HOT_KEY in top.names)


def test_another_size_of_the_terminal_is_used(top: Terminal) -> None:
    try:
        top.resize(120, 40)
        top.wait(lambda: len(top.names) > 30)
        assert all(len(line) <= 120 for line in top.lines)
        top.resize(60, 12)
        top.wait(lambda: top.lines[11].startswith("q quit"))
    finally:
        top.resize(80, 24)
        top.wait(lambda: top.lines[23].startswith("q quit"))


def test_a_slow_line_is_enough(top: Terminal) -> None:
    before = len(top.sent)
    top.read(5)
    assert 0 < len(top.sent) - before < 5 * 3000


def test_s_saves_and_q_quits_with_the_report(top: Terminal, directory: Path) -> None:
    top.type("s")
    top.see("the run will be saved as fleettrace-")
    top.type("q")
    # As at the end of the window: one host is down, and the others are sound.
    assert top.finish() == 3
    assert top.given_back
    assert "interrupted" not in top.after
    for words in ("KEYS", "FAMILIES OF KEYS", HOT_KEY, "unreachable cache-007"):
        assert words in top.after
    (saved,) = directory.glob("fleettrace-*.json")
    report = json.loads(saved.read_text())
    assert report["schema"] == "fleettrace/report/1"
    assert HOT_KEY in [row["key"] for row in report["keys"][:3]]
    assert f"{report['totals']['requests']:,} requests" in top.after


def test_it_ends_with_the_trace(demo: Demo, directory: Path) -> None:
    with Terminal(demo, directory, "--duration", "4s") as terminal:
        assert terminal.finish() == 3
        assert terminal.given_back
        assert re.search(r"windows? \d\.\d (to \d\.\d )?s", terminal.after)


def test_control_c_ends_top_like_run(demo: Demo, directory: Path) -> None:
    with Terminal(demo, directory) as terminal:
        terminal.see("3/4 hosts tracing", " of 60 s")
        terminal.type("\x1a\x13\x03")  # Control-Z and Control-S do nothing.
        assert terminal.finish() == 130
        assert terminal.given_back
        assert "HOSTS" in terminal.after


def test_broken_display_restores_terminal_and_reports(demo: Demo, directory: Path) -> None:
    (directory / "sitecustomize.py").write_text(
        "import fleettrace.tui.display as k\n"
        "def broken(self, data): raise ZeroDivisionError('planted')\n"
        "k.Keyboard.feed = broken\n"
    )
    with Terminal(demo, directory, PYTHONPATH=f"{directory}:{environment()['PYTHONPATH']}") as terminal:
        terminal.see("3/4 hosts tracing")
        terminal.type("x")
        assert terminal.finish() != 0
        assert terminal.given_back
        assert "HOSTS" in terminal.after
        assert "planted" in terminal.after


def test_a_pipe_is_no_terminal(demo: Demo) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fleettrace", "top", *on_lab(demo.lab)],
        input="",
        capture_output=True,
        text=True,
        env=environment(TERM="xterm"),
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == "fleettrace: top needs a terminal to draw on and to read keys from: use `fleettrace run`\n"
