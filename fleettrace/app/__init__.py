"""What each command does, callable from Python: options in, a result out; no argument parser, no terminal.

`run` and `RunOptions` are the public Python API (docs/python.md).
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fleettrace.app.options import RunOptions
    from fleettrace.app.runner import run

__all__ = ["RunOptions", "run"]


def __getattr__(name: str) -> object:
    """Import on first use: `fleettrace --help` imports a module of this package, and must not load the sweep."""
    if name == "RunOptions":
        from fleettrace.app.options import RunOptions

        return RunOptions
    if name == "run":
        from fleettrace.app.runner import run

        return run
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
