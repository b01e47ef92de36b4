"""Root directories of other Debian releases with bpftrace and memcached: built once, stored outside the repository.

    python -m tests.matrix.roots trixie sid     # build these now (about a minute and 300 MB each)

The directories are in the cache of `tests.binary.builds`. The mirror is the one that this machine's apt uses.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from fleettrace.lab.build import VARIANTS, build, codename
from fleettrace.lab.packages import BUILD, DTRACE, Package, require
from fleettrace.lab.system import file_lock, run
from tests.binary.builds import cache

__all__ = ["RELEASES", "bpftrace_of", "bpftrace_version", "compiled", "memcached_of", "mirror", "root"]

RELEASES = ("bookworm", "trixie", "sid")
"""Debian 12, Debian 13, and the newest packages."""
_NEEDED = ("usr/bin/bpftrace", "usr/bin/memcached")
_DEBOOTSTRAP = Package("debootstrap", "another release's bpftrace and memcached", "debootstrap")
_ENTER = """#!/bin/sh
# Run the bpftrace of another Debian release. The mounts are seen by this process alone, and go with it.
exec unshare -m sh -c '
    root=$1
    shift
    mount --rbind /proc "$root/proc" && mount --rbind /sys "$root/sys" || exit 97
    if [ -n "${{BCC_SYMFS-}}" ]; then
        mkdir -p "$root$BCC_SYMFS" && mount --rbind "$BCC_SYMFS" "$root$BCC_SYMFS" || exit 97
    fi
    exec chroot "$root" bpftrace "$@"' sh {root} "$@"
"""


def root(release: str) -> Path:
    """Return the root directory of a release, building it if it is not cached; `/` for the machine's own release.

    Raises `FleettraceError` when it cannot be built, without debootstrap or a mirror.
    """
    if release == codename():
        return Path("/")
    directory = cache() / f"root-{release}"
    if not _complete(directory):
        with file_lock(cache() / f"root-{release}.lock"):
            if not _complete(directory):
                _build(release, directory)
    return directory


def bpftrace_of(release: str, directory: Path) -> str:
    """Return a command for the release's bpftrace on this machine's kernel and processes: a script in `directory`."""
    if root(release) == Path("/"):
        return "bpftrace"
    script = directory / f"bpftrace-{release}"
    script.write_text(_ENTER.format(root=shlex.quote(str(root(release)))))
    script.chmod(0o755)
    return str(script)


def bpftrace_version(release: str, directory: Path) -> str:
    """Return the version that the release's bpftrace reports, such as `0.23.2`."""
    return run([bpftrace_of(release, directory), "--version"]).split()[1].lstrip("v")


def memcached_of(release: str) -> list[str]:
    """Return the command that runs the release's packaged, stripped memcached."""
    where = root(release)
    inside = [] if where == Path("/") else ["chroot", str(where)]
    return [*inside, "/usr/bin/memcached"]


def compiled(release: str, variant: str = "plain") -> Path:
    """Return the release's memcached, built on this machine from its source package as one of the `VARIANTS`.

    Raises `FleettraceError` when the source cannot be fetched or does not compile.
    """
    require((*BUILD, *DTRACE) if variant == "dtrace" else BUILD, "building memcached")
    directory = cache() / f"compiled-{release}"
    binary = directory / variant / "memcached"
    if not binary.exists():
        with file_lock(cache() / f"compiled-{release}.lock"), TemporaryDirectory(dir=cache()) as scratch:
            if not binary.exists():
                directory.mkdir(exist_ok=True)
                build(_source(release, Path(scratch)), VARIANTS[variant], binary)
    return binary


def _source(release: str, scratch: Path) -> Path:
    """Fetch the source tree of the release's memcached to `scratch`, without changing this machine's apt lists."""
    (scratch / "lists/partial").mkdir(parents=True)
    (scratch / "archives/partial").mkdir(parents=True)
    keys = "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]"
    (scratch / "sources.list").write_text(f"deb-src {keys} {mirror()} {release} main\n")
    options = {
        "Dir::Etc::sourcelist": scratch / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::State::lists": scratch / "lists",
        "Dir::Cache": scratch,
        "APT::Sandbox::User": "root",
        # A mirror may be a snapshot: sid's index expires after a week, its signature does not.
        "Acquire::Check-Valid-Until": "false",
    }
    apt = ["apt-get", "-q", *(f"-o{name}={value}" for name, value in options.items())]
    run([*apt, "update"], seconds=300)
    # Only the upstream tarball, verified by the signed index: Debian's patches do not matter here.
    run([*apt, "source", "--tar-only", "memcached"], cwd=scratch, seconds=300)
    run(["tar", "-xf", next(scratch.glob("memcached_*.orig.tar.*"))], cwd=scratch)
    return next(tree for tree in scratch.glob("memcached-*") if tree.is_dir())


def _complete(directory: Path) -> bool:
    return all((directory / name).exists() for name in _NEEDED)


def _build(release: str, directory: Path) -> None:
    """Build beside the directory and rename the result, so that an interrupted build is never used."""
    require((_DEBOOTSTRAP,), f"the root directory of Debian `{release}`")
    scratch = directory.with_name(f"{directory.name}.new")
    shutil.rmtree(scratch, ignore_errors=True)
    command = ["debootstrap", "--variant=minbase", "--include=bpftrace,memcached", release, str(scratch), mirror()]
    try:
        run(command, seconds=900)
        shutil.rmtree(directory, ignore_errors=True)
        scratch.rename(directory)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    # The downloaded packages are not needed any more.
    for archive in (directory / "var/cache/apt/archives").glob("*.deb"):
        with suppress(OSError):
            archive.unlink()


def mirror() -> str:
    """Return the mirror from which this machine's apt gets its distribution."""
    listed = run(["apt-get", "indextargets", "--format", "$(SITE) $(RELEASE)", "Created-By: Packages"])
    for line in listed.splitlines():
        site, _, release = line.partition(" ")
        if release == codename():
            return site
    return "http://deb.debian.org/debian"


if __name__ == "__main__":
    for name in sys.argv[1:] or RELEASES:
        print(name, root(name), subprocess.list2cmdline(memcached_of(name)))
