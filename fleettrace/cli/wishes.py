"""From the command line to what every probe is to give, and to which runs are alike."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from fleettrace.errors import ConfigError
from fleettrace.probes.model import ProbeKind, ProbeOptions
from fleettrace.probes.script import read_script

__all__ = ["probe_options", "run_options"]

_DECIDING = ("limit", "shard", "probe", "ops", "script")
"""The options, beside the pattern, that decide which requests of which hosts a run counts."""


def run_options(arguments: argparse.Namespace) -> str:
    """Return those of a run's options, as JSON that is equal for equal options."""
    given = {name: getattr(arguments, name, None) for name in _DECIDING}
    return json.dumps(
        {name: value for name, value in given.items() if value is not None}, sort_keys=True, default=_plain
    )


def _plain(value: object) -> object:
    return sorted(value) if isinstance(value, frozenset) else str(value)


def probe_options(arguments: argparse.Namespace) -> ProbeOptions:
    """What `--probe`, `--ops`, `--misses`, `--sizes` and `--script` ask for. Raises `ConfigError`."""
    probe_kind = None if arguments.probe == "auto" else ProbeKind(arguments.probe)
    if arguments.script is not None:
        others = {
            "--probe": probe_kind is not None,
            "--ops": arguments.ops is not None,
            "--misses": arguments.misses,
            "--sizes": arguments.sizes,
        }
        for flag, given in others.items():
            if given:
                raise ConfigError(
                    f"{flag} is for fleettrace's own probes and does nothing with --script: leave one out"
                )
        return ProbeOptions(script=read_script(Path(arguments.script)))
    if probe_kind not in (None, ProbeKind.ITEM) and (arguments.misses or arguments.sizes):
        flag = "--misses" if arguments.misses else "--sizes"
        raise ConfigError(f"{flag} needs the rung item: leave --probe {probe_kind} out")
    return ProbeOptions(probe_kind, arguments.ops, arguments.misses, arguments.sizes)
