"""The generated files: which there are, and their text."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from docs.generate import completion, data_pages, man, options_page, ssh_config_page
from docs.generate.command_line import read_commands

__all__ = ["ROOT", "generated", "stale"]

ROOT = Path(__file__).parent.parent.parent
_HELP = re.compile(r"^(    \$ fleettrace --help\n)(?:(?:    .*)?\n)+?(?=\S)", re.M)
"""The block of README.md that shows `fleettrace --help`, with the empty line behind it."""


def generated() -> dict[Path, str]:
    """Return the text of each generated file."""
    commands = read_commands()
    pages = options_page.pages(commands) | data_pages.pages(ROOT) | ssh_config_page.pages()
    files = {f"docs/reference/{name}": text for name, text in pages.items()}
    files |= {f"share/man/man1/{name}": text for name, text in man.pages(commands).items()}
    files |= {f"share/{name}": text for name, text in completion.scripts().items()}
    return {ROOT / name: text for name, text in files.items()} | {ROOT / "README.md": _readme()}


def stale() -> list[Path]:
    """Return the files in generated directories that are generated no longer."""
    there = [path for name in ("docs/reference", "share") for path in (ROOT / name).rglob("*") if path.is_file()]
    return sorted(set(there) - set(generated()))


def _readme() -> str:
    """Return README.md with the real help in it."""
    shown = "".join(f"    {line}".rstrip() + "\n" for line in _help().splitlines())
    return _HELP.sub(lambda found: f"{found[1]}{shown}\n", (ROOT / "README.md").read_text(), count=1)


def _help() -> str:
    """Return what `fleettrace --help` prints on a terminal of 80 columns."""
    environ: Mapping[str, str] = os.environ | {"COLUMNS": "80", "NO_COLOR": "1", "PYTHON_COLORS": "0"}
    command = [sys.executable, "-m", "fleettrace", "--help"]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, env=environ).stdout
