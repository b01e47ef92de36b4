"""The entry point, and the one place that turns errors into a line on stderr and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module

from fleettrace.cli.parser import parse
from fleettrace.errors import BusyError, ConfigError, FleettraceError

__all__ = ["entry", "main"]


def main(argv: Sequence[str]) -> int:
    """Run one command; gives its exit code. Each command is a module of this package, imported when it is wanted."""
    try:
        arguments = parse(argv)
        command = import_module(f"fleettrace.cli.{arguments.command}")
        return int(command.command(arguments))
    except ConfigError as error:
        print(f"fleettrace: {error}", file=sys.stderr)
        return 2
    except BusyError as error:
        print(f"fleettrace: {error}", file=sys.stderr)
        return 75  # EX_TEMPFAIL of sysexits.h: try again later
    except FleettraceError as error:
        print(f"fleettrace: {error}", file=sys.stderr)
        return 4
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read our output has gone, as `| head` does. Python must not complain of it again when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def entry() -> None:
    """For the `fleettrace` script."""
    sys.exit(main(sys.argv[1:]))
