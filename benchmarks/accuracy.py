"""Measure the accuracy of the hot keys among a million keys by Zipf's law and one key that becomes hot late.

    python -m benchmarks.accuracy [--seconds 30] [--rate 30000] [--keys 1000000]

Two processes send gets and multigets (100 keys a write) to one memcached and count them. After half of the time, a new
key takes a tenth of the traffic. fleettrace runs with its default settings. The prototype that it replaced runs at the
same time on the same memcached, with bpftrace's default limits. Needs root. The exit code is 1 when a bound is wrong.
"""

from __future__ import annotations

import argparse
import base64
import itertools
import json
import multiprocessing
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from fleettrace.lab.build import memcached_binary

__all__ = ["main"]

PORT = 21986
TOP = 100
BUNDLE = 100
"""Keys in one write: one half in gets of one key, the other half in multigets."""
MULTIGET = 10
FLASH = b"flash:key"
FLASH_SHARE = 0.1
MARGIN_S = 15.0
"""Seconds of the window before the load, for the prototype to attach, and after it."""
PROTOTYPE = "uprobe:/proc/{pid}/exe:process_command_ascii {{ @command[str(arg1)]++ }}"


def keys_of_traffic(count: int, prefix: bytes) -> tuple[list[bytes], list[float]]:
    """Return the keys, hottest first, and their cumulative weights by Zipf's law with an exponent of 1."""
    keys = [b"%b:%07d" % (prefix, number) for number in range(count)]
    return keys, list(itertools.accumulate(1 / rank for rank in range(1, count + 1)))


def ask(connection: socket.socket, keys: Sequence[bytes]) -> None:
    """Request these keys, which memcached does not have, in one write, and wait for every answer."""
    single, several = keys[: len(keys) // 2], keys[len(keys) // 2 :]
    lines = [b"get %b\r\n" % key for key in single]
    lines += [b"get %b\r\n" % b" ".join(several[at : at + MULTIGET]) for at in range(0, len(several), MULTIGET)]
    connection.sendall(b"".join(lines))
    expected = len(lines) * len(b"END\r\n")
    while expected:
        received = len(connection.recv(expected))
        if not received:
            raise ConnectionError("memcached closed the connection")
        expected -= received


def load(keys: list[bytes], weights: list[float], seed: int, rate: float, seconds: float, pipe: Connection) -> None:
    """Send `rate` requests a second for `seconds`, or until a message arrives on `pipe`.

    Then send the requests by key, and the seconds that they took, over `pipe`.
    """
    chance = random.Random(seed)
    sent: Counter[bytes] = Counter()
    total = 0
    with socket.create_connection(("127.0.0.1", PORT)) as connection:
        began = time.monotonic()
        while (now := time.monotonic() - began) < seconds and not pipe.poll():
            drawn = chance.choices(keys, cum_weights=weights, k=BUNDLE)
            if now >= seconds / 2:
                drawn = [FLASH if chance.random() < FLASH_SHARE else key for key in drawn]
            ask(connection, drawn)
            sent.update(drawn)
            total += BUNDLE
            time.sleep(max(0.0, total / rate - (time.monotonic() - began)))
    pipe.send((sent, time.monotonic() - began))


@dataclass
class Load:
    """Load by several processes."""

    processes: list[multiprocessing.Process]
    pipes: list[Connection]

    @classmethod
    def start(cls, keys: list[bytes], weights: list[float], seed: int, rate: float, seconds: float, count: int) -> Load:
        processes, pipes = [], []
        for number in range(count):
            ours, theirs = multiprocessing.Pipe()
            arguments = (keys, weights, seed + number, rate / count, seconds, theirs)
            processes.append(multiprocessing.Process(target=load, args=arguments, daemon=True))
            processes[-1].start()
            pipes.append(ours)
        return cls(processes, pipes)

    def stop(self) -> None:
        for pipe in self.pipes:
            pipe.send("stop")

    def wait(self) -> tuple[Counter[bytes], float]:
        """Return the requests by key, and the seconds that they took."""
        truth: Counter[bytes] = Counter()
        longest = 0.0
        for pipe, process in zip(self.pipes, self.processes, strict=True):
            sent, took = pipe.recv()
            truth.update(sent)
            longest = max(longest, took)
            process.join()
        return truth, longest


@contextmanager
def running(command: list[str], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command while the block runs."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, **options)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


@dataclass(frozen=True)
class Answer:
    """The result of one tool: requests by key, and, if it has bounds, the upper ones."""

    counts: dict[bytes, int]
    most: dict[bytes, int | None]
    certified: set[bytes]
    absent: int | None

    @property
    def top(self) -> list[bytes]:
        return sorted(self.counts, key=lambda key: -self.counts[key])[:TOP]


def trace(pid: int, options: argparse.Namespace, directory: Path) -> tuple[Answer, Answer, Counter[bytes], float]:
    """Return fleettrace's answer, the prototype's, the truth, and the seconds of the traffic."""
    keys, weights = keys_of_traffic(options.keys, b"user")
    before, before_weights = keys_of_traffic(options.keys // 10, b"before")
    # fleettrace sizes its maps by the request rate before the trace, so there must be traffic before it.
    warm = Load.start(before, before_weights, 1000, options.rate, 120.0, options.processes)
    # The run's history must not go into the user's own.
    private = {**os.environ, "XDG_DATA_HOME": str(directory), "XDG_STATE_HOME": str(directory)}
    with running(fleettrace(options, directory), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=private) as tool:
        assert tool.stderr is not None
        assert tool.stdout is not None
        for line in tool.stderr:
            if line == b"fleettrace: here: trace\n":
                break
            print(line.decode(errors="replace"), end="", file=sys.stderr)
        else:
            raise SystemExit("fleettrace did not begin to trace")
        warm.stop()
        warm.wait()
        prototype = ["bpftrace", "-e", PROTOTYPE.format(pid=pid)]
        with running(prototype, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as old:
            time.sleep(4)
            truth, took = Load.start(
                keys, weights, options.seed, options.rate, options.seconds, options.processes
            ).wait()
            old.send_signal(signal.SIGINT)
            lines = old.communicate()[0]
        report = json.loads(tool.communicate()[0])
    [host] = report["hosts"]
    if host["state"] != "ok":
        raise SystemExit(f"fleettrace: {host['state']}: {host['error']}")
    print(f"# window {host['instances'][0]['window_s']:.1f} s, traced {host['requests']:,} requests", file=sys.stderr)
    return answer_of(report), answer_of_prototype(lines), truth, took


def fleettrace(options: argparse.Namespace, directory: Path) -> list[str]:
    """Write the inventory and return the command line."""
    inventory = directory / "inventory.yaml"
    inventory.write_text(f"all: {{hosts: {{here: {{ansible_connection: local, fleettrace_instances: '{PORT}'}}}}}}\n")
    duration = options.seconds + MARGIN_S
    run = ["run", "-i", str(inventory), "--duration", f"{duration:g}s", "--top", "1000000", "--output", "json", "-v"]
    return [sys.executable, "-m", "fleettrace", *run, "--max-cost", "10000%"]


def answer_of(report: Any) -> Answer:
    rows = {
        base64.b64decode(row["key_base64"]) if row["key_base64"] else row["key"].encode(): row for row in report["keys"]
    }
    return Answer(
        {key: row["requests"] for key, row in rows.items()},
        {key: row["requests_max"] for key, row in rows.items()},
        {key for key, row in rows.items() if row["certified"]},
        report["totals"].get("absent"),
    )


def answer_of_prototype(output: bytes) -> Answer:
    """Return the prototype's counts, favourably read: each complete key in a line counts as often as the line."""
    counts: Counter[bytes] = Counter()
    for line, count in re.findall(rb"@command\[get ([^\]]*)\]: (\d+)", output):
        for key in line.split():
            counts[key] += int(count)
    return Answer(dict(counts), {}, set(), None)


def table(answers: dict[str, Answer], truth: Counter[bytes], took: float) -> list[str]:
    """Return the table, in Markdown."""
    hottest = [key for key, _ in truth.most_common(TOP)]
    order = {key: rank for rank, (key, _) in enumerate(truth.most_common(), 1)}

    def rank(answer: Answer, key: bytes) -> str:
        ranked = sorted(answer.counts, key=lambda one: -answer.counts[one])
        return f"{ranked.index(key) + 1}" if key in answer.counts else "never seen"

    rows: dict[str, Callable[[Answer], str]] = {
        "requests seen in the listed keys": lambda one: (
            f"{sum(one.counts[key] for key in one.counts if key in truth):,}"
        ),
        # Keys with as many requests as the last one belong to the top as well.
        f"recall of the true top {TOP}": lambda one: (
            f"{sum(truth[k] >= truth[hottest[-1]] for k in one.top) / TOP:.2f}"
        ),
        "counts of the top 100 that are the truth": lambda one: (
            f"{sum(one.counts.get(k) == truth[k] for k in hottest)}"
        ),
        f"rank of the flash key (truly {order[FLASH]})": lambda one: rank(one, FLASH),
        "listed keys": lambda one: f"{len(one.counts):,}",
        "of them with the truth inside their bounds": lambda one: bounded(one, truth),
        "widest bound": widest,
        "certified keys": lambda one: f"{len(one.certified)}" if one.absent is not None else "none",
        "of them truly in the top": lambda one: certain(one, truth),
    }
    traffic = (
        f"{truth.total():,} requests for {len(truth):,} keys in {took:.0f} s ({truth.total() / took:,.0f} a second), "
        f"{truth[FLASH]:,} of them for the flash key."
    )
    lines = [traffic, "", f"| | {' | '.join(answers)} |", f"|---|{'---|' * len(answers)}"]
    lines += [f"| {name} | {' | '.join(value(one) for one in answers.values())} |" for name, value in rows.items()]
    return lines


def bounded(answer: Answer, truth: Counter[bytes]) -> str:
    """Return how many of the listed keys have their true count within their bounds."""
    if answer.absent is None:
        return "no bounds"
    return f"{len(answer.counts) - len(broken(answer, truth)):,}"


def broken(answer: Answer, truth: Counter[bytes]) -> list[str]:
    """Return every wrong bound, of listed and unlisted keys, except those of the traffic before the trace."""
    wrong = []
    for key in answer.counts.keys() | truth.keys():
        if key.startswith(b"before:"):
            continue
        most = answer.most.get(key) if key in answer.counts else answer.absent
        if not answer.counts.get(key, 0) <= truth[key] <= (most if most is not None else -1):
            wrong.append(f"{key!r}: {answer.counts.get(key, 0)} <= {truth[key]} <= {most}")
    return wrong


def widest(answer: Answer) -> str:
    """Return the widest bound, in requests."""
    known = [(most or 0) - answer.counts[key] for key, most in answer.most.items() if most is not None]
    return f"{max(known):,}" if known else "no bounds"


def certain(answer: Answer, truth: Counter[bytes]) -> str:
    """Return how many of the n certified keys are among the n hottest ones."""
    if not answer.certified:
        return "none"
    hottest = {key for key, _ in truth.most_common(len(answer.certified))}
    return f"{len(answer.certified & hottest)}"


def main() -> int:
    """Run the benchmark. Return 1 when a bound is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--rate", type=float, default=30_000, help="requests a second")
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        # A private copy: the prototype's probe fires in every process that runs the same file.
        binary = shutil.copy2(memcached_binary("plain"), directory)
        with running([binary, "-u", "root", "-l", "127.0.0.1", "-p", str(PORT), "-t", "2"]) as memcached:
            time.sleep(0.5)
            ours, theirs, truth, took = trace(memcached.pid, options, Path(directory))
    print("\n".join(table({"fleettrace": ours, "prototype": theirs}, truth, took)))
    wrong = broken(ours, truth)
    for line in wrong[:10]:
        print(f"wrong bound: {line}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    os.environ.setdefault("PYTHONPATH", str(Path(__file__).parents[1]))
    sys.exit(main())
