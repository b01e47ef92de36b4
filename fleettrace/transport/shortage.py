"""What the controller itself has run out of: said to be so, where it would look like a fault of the host."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

from fleettrace.errors import HostError, HostState

__all__ = ["shortage"]

_FILES = (errno.EMFILE, errno.ENFILE)


def shortage(error: BaseException, state: HostState = HostState.UNREACHABLE) -> HostError | None:
    """Return the error of a host that failed because this machine has no file descriptor, memory, process or thread
    left; None where `error` is something else.

    Libraries swallow the number of an error: so an error of the operating system or of the connection counts as a want
    of file descriptors, too, when there is none left at this moment.
    """
    for each in _causes(error):
        number = each.errno if isinstance(each, OSError) else None
        if number in _FILES:
            return _no_files(state)
        if isinstance(each, MemoryError) or number == errno.ENOMEM:
            return HostError(
                state,
                "out-of-memory",
                "the controller has no memory left: lower --forks, or split the fleet with --shard",
            )
        # CPython's words in thread_PyThread_start_new_thread; and fork(2).
        if (isinstance(each, RuntimeError) and "start new thread" in str(each)) or isinstance(each, BlockingIOError):
            return HostError(
                state,
                "too-many-processes",
                "the controller can start no more threads or processes: raise `ulimit -u`, or lower --forks",
            )
    if isinstance(error, OSError | EOFError) and not _descriptor_left():
        return _no_files(state)
    return None


def _no_files(state: HostState) -> HostError:
    return HostError(
        state, "too-many-files", "the controller has no file descriptor left: raise `ulimit -n`, or lower --forks"
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    each: BaseException | None = error
    for _ in range(10):
        if each is None:
            return
        yield each
        each = each.__cause__ or each.__context__


def _descriptor_left() -> bool:
    try:
        os.close(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        return error.errno not in _FILES
    return True
