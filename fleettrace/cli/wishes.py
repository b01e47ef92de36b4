"""From the command line to what every probe is to give."""

from __future__ import annotations

import argparse
from pathlib import Path

from fleettrace.errors import ConfigError
from fleettrace.probes.model import Rung, Wish
from fleettrace.probes.script import read_script

__all__ = ["wish_of"]


def wish_of(arguments: argparse.Namespace) -> Wish:
    """What `--probe`, `--ops`, `--misses`, `--sizes` and `--script` ask for. Raises `ConfigError`."""
    rung = None if arguments.probe == "auto" else Rung(arguments.probe)
    if arguments.script is not None:
        others = {
            "--probe": rung is not None,
            "--ops": arguments.ops is not None,
            "--misses": arguments.misses,
            "--sizes": arguments.sizes,
        }
        for flag, given in others.items():
            if given:
                raise ConfigError(
                    f"{flag} is for fleettrace's own probes and does nothing with --script: leave one out"
                )
        return Wish(script=read_script(Path(arguments.script)))
    if rung not in (None, Rung.ITEM) and (arguments.misses or arguments.sizes):
        flag = "--misses" if arguments.misses else "--sizes"
        raise ConfigError(f"{flag} needs the rung item: leave --probe {rung} out")
    return Wish(rung, arguments.ops, arguments.misses, arguments.sizes)
