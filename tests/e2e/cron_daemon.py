"""Debian's cron with a test's crontab, in a mount namespace, so that the machine's own cron files do not change."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType

__all__ = ["Cron"]

_PID = Path("/run/crond.pid")
_SET_UP = """
set -e
mount --bind "$1/pid" /run/crond.pid
mount --bind "$1/crontabs" /var/spool/cron/crontabs
mount --bind "$1/cron.d" /etc/cron.d
mount --bind "$1/crontab" /etc/crontab
mount -t overlay -o lowerdir="$1/sbin:/usr/sbin" none /usr/sbin
exec /usr/sbin/cron -f
"""
_SENDMAIL = """#!/bin/sh
mail=$(mktemp {directory}/XXXXXX)
printf '%s\\n' "$@" >"$mail.arguments"
cat >"$mail.mail"
"""


class Cron:
    """A cron that runs one crontab of /etc/cron.d; a stand-in for sendmail stores its mail."""

    def __init__(self, directory: Path, crontab: str) -> None:
        self._mails = directory / "mails"
        for name in ("crontabs", "cron.d", "sbin", "mails"):
            (directory / name).mkdir()
        # cron runs sendmail as the user of the job.
        self._mails.chmod(0o1777)
        for name in ("crontab", "pid"):
            (directory / name).write_text("")
        (directory / "cron.d/audits").write_text(crontab)
        sendmail = directory / "sbin/sendmail"
        sendmail.write_text(_SENDMAIL.format(directory=self._mails))
        sendmail.chmod(0o755)
        self._directory = directory

    def __enter__(self) -> Cron:
        # The only file that must exist on the machine: its own cron would hold a lock on it.
        self._made = not _PID.exists()
        _PID.touch()
        command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _SET_UP, "sh", str(self._directory)]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        return self

    def wait_for(self, files: list[Path], *, seconds: float) -> None:
        """Wait until all these files exist and cron has no running job."""
        deadline = time.monotonic() + seconds
        while not all(file.exists() for file in files) or self._jobs():
            if self._process.poll() is not None:
                raise AssertionError(f"cron ended with {self._process.returncode}")
            if time.monotonic() > deadline:
                raise AssertionError(f"not after {seconds:g} s: {[file.name for file in files if not file.exists()]}")
            time.sleep(0.1)

    def mails(self) -> list[tuple[str, str]]:
        """Return the mails that cron has sent: sendmail's arguments, and the text."""
        found = sorted(self._mails.glob("*.mail"))
        return [(mail.with_suffix(".arguments").read_text(), mail.read_text()) for mail in found]

    def _jobs(self) -> list[int]:
        """Return cron's processes without itself."""
        ours = _namespace(self._process.pid)
        return [
            int(entry.name)
            for entry in Path("/proc").iterdir()
            if entry.name.isdigit() and int(entry.name) != self._process.pid and _namespace(int(entry.name)) == ours
        ]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        jobs = self._jobs() if self._process.poll() is None else []
        self._process.kill()
        self._process.wait()
        for job in jobs:
            try:
                os.kill(job, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if self._made:
            _PID.unlink()


def _namespace(pid: int) -> str | None:
    """Return a process's mount namespace, or None if the process has ended."""
    try:
        return str(Path(f"/proc/{pid}/ns/mnt").readlink())
    except OSError:
        return None
