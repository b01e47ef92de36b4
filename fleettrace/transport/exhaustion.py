"""Recognize that the controller itself ran out of a resource, where the error looks like a fault of the host."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

from fleettrace.errors import FailureCatalogue, HostError, HostState

__all__ = ["ExhaustedResource", "exhaustion_error"]

_NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE)


class ExhaustedResource(FailureCatalogue):
    """The resources of the controller that a run may exhaust."""

    FILES = (
        "too-many-files",
        HostState.UNREACHABLE,
        "the controller has no file descriptor left",
        "raise `ulimit -n`, or lower --forks",
    )
    MEMORY = (
        "out-of-memory",
        HostState.UNREACHABLE,
        "the controller has no memory left",
        "lower --forks, or split the fleet with --shard",
    )
    PROCESSES = (
        "too-many-processes",
        HostState.UNREACHABLE,
        "the controller can start no more threads or processes",
        "raise `ulimit -u`, or lower --forks",
    )


def exhaustion_error(error: BaseException, state: HostState = HostState.UNREACHABLE) -> HostError | None:
    """Return the error of a host that failed because the controller has no descriptor, memory, process or thread left.

    `state` is the state of that host. Returns None for any other `error`. Libraries drop the number of an error, so an
    error of the operating system or of the connection also counts while no descriptor is left at this moment.
    """
    resource = _exhausted(error)
    if resource is None:
        return None
    return HostError(state, resource.code, resource.error().message)


def _exhausted(error: BaseException) -> ExhaustedResource | None:
    for cause in _causes(error):
        number = cause.errno if isinstance(cause, OSError) else None
        if number in _NO_DESCRIPTOR:
            return ExhaustedResource.FILES
        if isinstance(cause, MemoryError) or number == errno.ENOMEM:
            return ExhaustedResource.MEMORY
        # The text of CPython's thread_PyThread_start_new_thread; EAGAIN of fork(2).
        if (isinstance(cause, RuntimeError) and "start new thread" in str(cause)) or isinstance(cause, BlockingIOError):
            return ExhaustedResource.PROCESSES
    if isinstance(error, OSError | EOFError) and not _descriptor_left():
        return ExhaustedResource.FILES
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    for _ in range(10):
        if cause is None:
            return
        yield cause
        cause = cause.__cause__ or cause.__context__


def _descriptor_left() -> bool:
    try:
        os.close(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        return error.errno not in _NO_DESCRIPTOR
    return True
