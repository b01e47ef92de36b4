"""A file that is there whole, or not at all.

It is written without a name in its folder, where the file system can do that (open(2), O_TMPFILE), so that a killed
process leaves nothing; elsewhere under a hidden name. Only when it is complete and on the disk it takes its place.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from fleettrace.errors import ConfigError

__all__ = ["Draft"]


class Draft:
    """A file in the making. Every method raises `ConfigError` when the disk will not take it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        """Bytes written."""
        self._name = path.with_name(f".{path.name}.{os.getpid()}")
        self._named = False
        try:
            self._file = os.fdopen(self._open(), "wb", buffering=1 << 20)
        except OSError as error:
            raise self._refused(error) from error

    def _open(self) -> int:
        # It may hold keys, which can be private. A file that is there already keeps the mode that it was given.
        mode = 0o600
        with suppress(OSError):
            return os.open(self.path.absolute().parent, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, mode)
        self._named = True
        return os.open(self._name, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, mode)

    def write(self, data: bytes) -> None:
        """Append."""
        try:
            self._file.write(data)
        except OSError as error:
            raise self._refused(error) from error
        self.size += len(data)

    def publish(self) -> None:
        """Close it, and put it in its place in one step."""
        try:
            self._file.flush()
            with suppress(FileNotFoundError):
                os.fchmod(self._file.fileno(), stat.S_IMODE(self.path.stat().st_mode))
            os.fsync(self._file.fileno())
            if not self._named:
                # Without a name it cannot replace a file, only take a free name. Python follows the link to what has no
                # name (linkat(2), AT_SYMLINK_FOLLOW) only where it is given a descriptor, which says nothing here.
                number = self._file.fileno()
                os.link(f"/proc/self/fd/{number}", self._name, src_dir_fd=number, follow_symlinks=True)
                self._named = True
            self._file.close()
            self._name.replace(self.path)
        except OSError as error:
            raise self._refused(error) from error

    def discard(self) -> None:
        """Close it and leave nothing. After `publish`, nothing happens."""
        with suppress(OSError):
            self._file.close()
        if self._named:
            self._name.unlink(missing_ok=True)

    def _refused(self, error: OSError) -> ConfigError:
        return ConfigError(f"cannot write {self.path}: {error.strerror}")
