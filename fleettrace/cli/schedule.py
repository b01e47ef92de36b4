"""When a run begins, and whether: the wait that a schedule asks for, and the lock that keeps the next one out."""

from __future__ import annotations

import argparse
import shlex
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fleettrace.cli.fleet import inventory_source
from fleettrace.sweep.lock import lock_folder, run_lock
from fleettrace.sweep.splay import splay_s

__all__ = ["its_turn"]


@contextmanager
def its_turn(arguments: argparse.Namespace) -> Iterator[None]:
    """Wait as `--splay` says, then hold the lock while the block runs. Raises `BusyError` and `ConfigError`."""
    source = inventory_source(arguments)
    inventory = str(Path(source).resolve()) if Path(source).exists() else source
    name = getattr(arguments, "name", None) or _default_name(arguments)
    _wait(arguments, inventory, name)
    with run_lock(lock_folder(), inventory, name, shlex.join(["fleettrace", *sys.argv[1:]])):
        yield


def _default_name(arguments: argparse.Namespace) -> str:
    """Runs for other hosts, or for another part of them, do not keep each other out."""
    shard = None if arguments.shard is None else str(arguments.shard)
    return " ".join(word for word in (arguments.hosts, arguments.limit, shard) if word)


def _wait(arguments: argparse.Namespace, inventory: str, name: str) -> None:
    longest = getattr(arguments, "splay", None)
    if longest is None:
        return
    seconds = splay_s(longest, socket.gethostname(), inventory, name)
    if not arguments.quiet:
        print(f"fleettrace: waiting {seconds:.0f} s of the {longest:g} s of --splay", file=sys.stderr, flush=True)
    time.sleep(seconds)
