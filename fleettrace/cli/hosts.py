"""`fleettrace hosts`: what a pattern selects, with its variables."""

from __future__ import annotations

import argparse
import json
import re
import sys

from fleettrace.cli.fleet import selected
from fleettrace.inventory.settings import host_settings
from fleettrace.report.escape import escape_text

__all__ = ["command"]

_SECRET = re.compile(r"pass|secret|token|credential", re.IGNORECASE)


def command(arguments: argparse.Namespace) -> int:
    """Run it: a line a host, its name first, then its variables as `name=JSON`. Secrets are not shown."""
    if arguments.pattern is not None:
        arguments.hosts = arguments.pattern
    selection = selected(arguments)
    for warning in selection.warnings:
        print(f"fleettrace: {escape_text(warning)}", file=sys.stderr)
    for host in selection.hosts:
        host_settings(host)
        words = [host.name]
        if not arguments.quiet:
            words += [f"{name}={_shown(name, value)}" for name, value in sorted(host.variables.items())]
        print(escape_text(" ".join(words)))
    return 0


def _shown(name: str, value: object) -> str:
    return '"********"' if _SECRET.search(name) else json.dumps(value, default=str, ensure_ascii=False)
