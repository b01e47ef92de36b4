"""`fleettrace hosts`: list the hosts that a pattern selects, with their variables."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator

from fleettrace.app.options import RunOptions
from fleettrace.app.targets import select_hosts
from fleettrace.inventory.settings import host_settings
from fleettrace.report.escape import escape_text

__all__ = ["host_lines"]

_SECRET = re.compile(r"pass|secret|token|credential", re.IGNORECASE)


def host_lines(options: RunOptions, warn: Callable[[str], None]) -> Iterator[str]:
    """Yield a line for each selected host: its name, then its variables as `name=JSON`, secrets masked.

    With `quiet`, the names only. Raises `ConfigError`.
    """
    selection = select_hosts(options)
    for warning in selection.warnings:
        warn(warning)
    for host in selection.hosts:
        host_settings(host)
        words = [host.name]
        if not options.quiet:
            words += [f"{name}={_shown(name, value)}" for name, value in sorted(host.variables.items())]
        yield escape_text(" ".join(words))


def _shown(name: str, value: object) -> str:
    return '"********"' if _SECRET.search(name) else json.dumps(value, default=str, ensure_ascii=False)
