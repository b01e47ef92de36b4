"""Write a file in one step: readers see the old content or the new, never a part of it.

The new content goes to a temporary file in the same directory. Where the file system can do it, that file has no name
(open(2), O_TMPFILE), so a killed process leaves nothing behind; elsewhere it has a hidden name.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path
from types import TracebackType

__all__ = ["AtomicFile", "write_atomically"]

_BUFFER_BYTES = 1 << 20


class AtomicFile:
    """A file that replaces `path` when `commit` is called, and leaves no trace otherwise.

    An existing file keeps its permission bits; a new file gets exactly `mode`, or the process's default without one. A
    symbolic link stays and its target is replaced. A device or a pipe is written directly. Methods raise `OSError`.
    """

    def __init__(self, path: Path, mode: int | None = None) -> None:
        self._path = Path(os.path.realpath(path))
        self._mode = mode
        self._temporary: Path | None = None
        """The temporary file's name, while it has one."""
        try:
            kind = self._path.stat()
        except FileNotFoundError:
            kind = None
        if kind is not None and stat.S_ISREG(kind.st_mode):
            self._mode = stat.S_IMODE(kind.st_mode)
        self._direct = kind is not None and not stat.S_ISREG(kind.st_mode) and not stat.S_ISDIR(kind.st_mode)
        self._file = os.fdopen(self._open(), "wb", buffering=_BUFFER_BYTES)

    def _open(self) -> int:
        if self._direct:
            return os.open(self._path, os.O_WRONLY | os.O_CLOEXEC)
        # The content can be private before the file gets its final mode.
        mode = 0o666 if self._mode is None else 0o600
        if Path("/proc/self/fd").is_dir():  # `_name_it` needs it.
            with suppress(OSError):
                return os.open(self._path.parent, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, mode)
        name = self._temporary_name()
        descriptor = os.open(name, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, mode)
        self._temporary = name
        return descriptor

    def write(self, data: bytes) -> None:
        """Append `data`."""
        self._file.write(data)

    def commit(self) -> None:
        """Put the file in its place, complete and on the disk."""
        self._file.flush()
        if self._direct:
            self._file.close()
            return
        if self._mode is not None:
            os.fchmod(self._file.fileno(), self._mode)
        os.fsync(self._file.fileno())
        if self._temporary is None:
            self._name_it()
        self._file.close()
        assert self._temporary is not None
        self._temporary.replace(self._path)
        self._temporary = None
        self._sync_directory()

    def _name_it(self) -> None:
        # linkat(2) cannot replace a file, only take a free name. Python passes AT_SYMLINK_FOLLOW, without which the
        # link to an unnamed file is not followed, only together with a descriptor; the absolute path ignores it.
        self._temporary = self._temporary_name()
        number = self._file.fileno()
        os.link(f"/proc/self/fd/{number}", self._temporary, src_dir_fd=number, follow_symlinks=True)

    def _temporary_name(self) -> Path:
        return self._path.with_name(f".{self._path.name}.{os.getpid()}.{os.urandom(4).hex()}")

    def _sync_directory(self) -> None:
        # The file is in its place already. A directory that may not be read cannot be opened, and some file systems
        # cannot sync one: neither is a failure of the write.
        with suppress(PermissionError):
            descriptor = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            except OSError as error:
                if error.errno not in (errno.EINVAL, errno.EROFS):
                    raise
            finally:
                os.close(descriptor)

    def discard(self) -> None:
        """Close the file and remove it. Do nothing after `commit`."""
        # Closing writes what is buffered, which fails again on a full disk.
        with suppress(OSError):
            self._file.close()
        if self._temporary is not None:
            with suppress(OSError):
                self._temporary.unlink(missing_ok=True)

    def __enter__(self) -> AtomicFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.discard()


def write_atomically(path: Path, data: bytes, mode: int | None = None) -> None:
    """Replace `path` by `data` in one step. A new file gets `mode`, see `AtomicFile`. Raises `OSError`."""
    with AtomicFile(path, mode) as file:
        file.write(data)
        file.commit()
