"""The wheel and the sdist, which hatchling builds without an environment of its own: the lock has it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from release.source import Source

__all__ = ["build_sdist", "build_wheel"]


def build_wheel(source: Source, output: Path) -> Path:
    """Build the wheel in the directory `output` and return its path."""
    return _build(source, "wheel", output, f"fleettrace-{source.version}-py3-none-any.whl")


def build_sdist(source: Source, output: Path) -> Path:
    """Build the sdist in the directory `output` and return its path."""
    return _build(source, "sdist", output, f"fleettrace-{source.version}.tar.gz")


def _build(source: Source, target: str, output: Path, name: str) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(output.absolute())]
    subprocess.run(command, cwd=source.root, env=source.environment, check=True, stdout=subprocess.DEVNULL)
    return output / name
