"""How right the hot keys are: a million keys by Zipf's law and a key that flares up late, against the exact truth.

    python -m benchmarks.accuracy [--seconds 30] [--rate 30000] [--keys 1000000]

One memcached, two processes that send gets and multigets (100 keys a write) and count what they sent. From half-time
on one key that nobody asked for before takes a tenth of the traffic. fleettrace runs as anybody would run it; beside
it, on the same memcached and the same traffic, the prototype that it was meant to replace, with bpftrace's default
limits. Needs root. Ends with 1 when a bound does not hold.
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
"""Keys in one write: a half of them in gets of their own, the others in multigets."""
MULTIGET = 10
FLASH = b"flash:key"
FLASH_SHARE = 0.1
MARGIN_S = 15.0
"""Between the start of the window and the load, for the prototype to attach, and after the load."""
PROTOTYPE = "uprobe:/proc/{pid}/exe:process_command_ascii {{ @command[str(arg1)]++ }}"


def keys_of_traffic(count: int, prefix: bytes) -> tuple[list[bytes], list[float]]:
    """The keys, hottest first, and their cumulative weights by Zipf's law with an exponent of 1."""
    keys = [b"%b:%07d" % (prefix, number) for number in range(count)]
    return keys, list(itertools.accumulate(1 / rank for rank in range(1, count + 1)))


def ask(connection: socket.socket, keys: Sequence[bytes]) -> None:
    """Ask for these keys, of which memcached has none, in one write, and wait for every answer."""
    single, several = keys[: len(keys) // 2], keys[len(keys) // 2 :]
    lines = [b"get %b\r\n" % key for key in single]
    lines += [b"get %b\r\n" % b" ".join(several[at : at + MULTIGET]) for at in range(0, len(several), MULTIGET)]
    connection.sendall(b"".join(lines))
    left = len(lines) * len(b"END\r\n")
    while left:
        got = len(connection.recv(left))
        if not got:
            raise ConnectionError("memcached closed the connection")
        left -= got


def load(keys: list[bytes], weights: list[float], seed: int, rate: float, seconds: float, pipe: Connection) -> None:
    """Send `rate` requests a second for `seconds`, at the most as long as the other end of `pipe` is silent, and hand
    over what was sent and how long it took."""
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
    """Load in processes of its own."""

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
        """What was sent, and the seconds that it took."""
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
    """The command while the block lasts."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, **options)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


@dataclass(frozen=True)
class Answer:
    """What one tool says: requests by key, its order; and where it knows, the most that they can have been."""

    counts: dict[bytes, int]
    most: dict[bytes, int | None]
    certified: set[bytes]
    absent: int | None

    @property
    def top(self) -> list[bytes]:
        return sorted(self.counts, key=lambda key: -self.counts[key])[:TOP]


def trace(pid: int, options: argparse.Namespace, directory: Path) -> tuple[Answer, Answer, Counter[bytes], float]:
    """fleettrace's answer, the prototype's, the truth, and the seconds that the traffic took."""
    keys, weights = keys_of_traffic(options.keys, b"user")
    before, before_weights = keys_of_traffic(options.keys // 10, b"before")
    # memcached is as busy before the trace as within it, as it is in life: the maps are sized by that.
    warm = Load.start(before, before_weights, 1000, options.rate, 120.0, options.processes)
    # What runs leave behind (a history, say) is not for this machine's own.
    own = {**os.environ, "XDG_DATA_HOME": str(directory), "XDG_STATE_HOME": str(directory)}
    with running(fleettrace(options, directory), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=own) as tool:
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
    """The command line, and the inventory that it reads."""
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
    """What the prototype's lines tell, read kindly: each whole key in a line counts as often as the line."""
    counts: Counter[bytes] = Counter()
    for line, count in re.findall(rb"@command\[get ([^\]]*)\]: (\d+)", output):
        for key in line.split():
            counts[key] += int(count)
    return Answer(dict(counts), {}, set(), None)


def table(answers: dict[str, Answer], truth: Counter[bytes], took: float) -> list[str]:
    """The table, in Markdown."""
    hottest = [key for key, _ in truth.most_common(TOP)]
    order = {key: place for place, (key, _) in enumerate(truth.most_common(), 1)}

    def rank(answer: Answer, key: bytes) -> str:
        ranked = sorted(answer.counts, key=lambda one: -answer.counts[one])
        return f"{ranked.index(key) + 1}" if key in answer.counts else "never seen"

    rows: dict[str, Callable[[Answer], str]] = {
        "requests seen in the listed keys": lambda one: (
            f"{sum(one.counts[key] for key in one.counts if key in truth):,}"
        ),
        # Keys that share the last place are as good as one another.
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
    told = (
        f"{truth.total():,} requests for {len(truth):,} keys in {took:.0f} s ({truth.total() / took:,.0f} a second), "
    )
    told += f"{truth[FLASH]:,} of them for the flash key."
    lines = [told, "", f"| | {' | '.join(answers)} |", f"|---|{'---|' * len(answers)}"]
    lines += [f"| {name} | {' | '.join(value(one) for one in answers.values())} |" for name, value in rows.items()]
    return lines


def bounded(answer: Answer, truth: Counter[bytes]) -> str:
    """How many of the listed keys' true counts lie inside their bounds."""
    if answer.absent is None:
        return "no bounds"
    return f"{len(answer.counts) - len(broken(answer, truth)):,}"


def broken(answer: Answer, truth: Counter[bytes]) -> list[str]:
    """Every bound that does not hold, of listed keys and of those that are not listed. Keys of before do not count."""
    wrong = []
    for key in answer.counts.keys() | truth.keys():
        if key.startswith(b"before:"):
            continue
        most = answer.most.get(key) if key in answer.counts else answer.absent
        if not answer.counts.get(key, 0) <= truth[key] <= (most if most is not None else -1):
            wrong.append(f"{key!r}: {answer.counts.get(key, 0)} <= {truth[key]} <= {most}")
    return wrong


def widest(answer: Answer) -> str:
    """The widest bound, in requests."""
    known = [(most or 0) - answer.counts[key] for key, most in answer.most.items() if most is not None]
    return f"{max(known):,}" if known else "no bounds"


def certain(answer: Answer, truth: Counter[bytes]) -> str:
    """How many of the n certified keys are truly among the n hottest ones."""
    if not answer.certified:
        return "none"
    hottest = {key for key, _ in truth.most_common(len(answer.certified))}
    return f"{len(answer.certified & hottest)}"


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--rate", type=float, default=30_000, help="requests a second")
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        # A copy of its own: the prototype's probe fires in every process that runs the same file.
        binary = shutil.copy2(memcached_binary("plain"), directory)
        with running([binary, "-u", "root", "-l", "127.0.0.1", "-p", str(PORT), "-t", "2"]) as memcached:
            time.sleep(0.5)
            ours, theirs, truth, took = trace(memcached.pid, options, Path(directory))
    print("\n".join(table({"fleettrace": ours, "prototype": theirs}, truth, took)))
    wrong = broken(ours, truth)
    for line in wrong[:10]:
        print(f"a bound that does not hold: {line}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    os.environ.setdefault("PYTHONPATH", str(Path(__file__).parents[1]))
    sys.exit(main())
