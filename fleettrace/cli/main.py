"""The entry point, and the only module that turns errors into a line on stderr and an exit code."""

from __future__ import annotations

import os
import pwd
import sys
import traceback
from collections.abc import MutableMapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path

from fleettrace.cli.parser import parse
from fleettrace.cli.streams import open_standard_streams
from fleettrace.errors import BusyError, ConfigError, FleettraceError

__all__ = ["entry", "main"]


def main(argv: Sequence[str]) -> int:
    """Run one command and return its exit code. The command's module is imported only then."""
    try:
        code = _run(argv)
        # Flush now: a failing write must still decide the exit code.
        sys.stdout.flush()
        return code
    except ConfigError as error:
        return _report(error, 2)
    except BusyError as error:
        return 75 if error.silent else _report(error, 75)  # EX_TEMPFAIL of sysexits.h: try again later
    except FleettraceError as error:
        return _report(error, 4)
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        return _report(_of_the_system(error), 2)
    except Exception:
        # Python would exit with 1, which means that a rule found something.
        traceback.print_exc()
        return _report("this is a fault in fleettrace: please report it with the lines above", 4)


def _run(argv: Sequence[str]) -> int:
    try:
        arguments = parse(argv)
    except SystemExit as end:
        # argparse has printed the help or the version.
        return int(end.code or 0)
    check_environment(os.environ)
    command = import_module(f"fleettrace.cli.{arguments.command}")
    return int(command.command(arguments))


def _report(message: object, code: int) -> int:
    print(f"fleettrace: {message}", file=sys.stderr)
    return code


def _of_the_system(error: OSError) -> str:
    """Describe an unexpected error of the operating system in one line."""
    what = " -> ".join(str(name) for name in (error.filename, error.filename2) if name is not None)
    why = error.strerror or str(error) or type(error).__name__
    if what:
        return f"{what}: {why}: check its permissions, and that HOME is the home directory of this user"
    with suppress(OSError):
        Path.cwd()
        return f"the operating system reports: {why}"
    return "the working directory no longer exists: change to another one"


def check_environment(environ: MutableMapping[str, str]) -> None:
    """Raise `ConfigError` where there is no home directory for configuration and keys."""
    home = environ.get("HOME")
    if home and not Path(home).is_absolute():
        raise ConfigError(f"HOME={home!r} is not an absolute path: set it to the home directory of this user")
    if not home:
        try:
            # An empty HOME counts as unset.
            environ["HOME"] = pwd.getpwuid(os.getuid()).pw_dir
        except KeyError:
            raise ConfigError(
                f"no home directory: HOME is not set, and uid {os.getuid()} has no passwd entry; set HOME"
            ) from None


def entry() -> None:
    """Run the command `fleettrace`."""
    open_standard_streams()
    sys.exit(main(sys.argv[1:]))
