"""Other Debian releases' bpftrace and memcached, in folders to `chroot` into: built once, kept outside the repository.

    python -m tests.matrix.roots trixie sid     # build these now (about a minute and 300 MB each)

The folders are kept in the cache of `tests.binary.builds`. The mirror is the one that this machine's apt uses.
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
"""Debian 12, Debian 13, and whatever is newest."""
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
    """The folder of a release, built if it is not cached; `/` for the machine's own.

    Raises `FleettraceError` when it cannot be built: no debootstrap, no mirror.
    """
    if release == codename():
        return Path("/")
    folder = cache() / f"root-{release}"
    if not _whole(folder):
        with file_lock(cache() / f"root-{release}.lock"):
            if not _whole(folder):
                _build(release, folder)
    return folder


def bpftrace_of(release: str, folder: Path) -> str:
    """A command that runs the release's bpftrace on this machine's kernel and processes; a script in `folder`."""
    if root(release) == Path("/"):
        return "bpftrace"
    script = folder / f"bpftrace-{release}"
    script.write_text(_ENTER.format(root=shlex.quote(str(root(release)))))
    script.chmod(0o755)
    return str(script)


def bpftrace_version(release: str, folder: Path) -> str:
    """What the release's bpftrace calls itself, such as `0.23.2`."""
    return run([bpftrace_of(release, folder), "--version"]).split()[1].lstrip("v")


def memcached_of(release: str) -> list[str]:
    """The words that run the release's packaged, stripped memcached."""
    where = root(release)
    inside = [] if where == Path("/") else ["chroot", str(where)]
    return [*inside, "/usr/bin/memcached"]


def compiled(release: str, variant: str = "plain") -> Path:
    """The release's memcached, built here from its source package in one of the `VARIANTS`; with symbols if `plain`.

    Raises `FleettraceError` when the source cannot be had or does not compile.
    """
    require((*BUILD, *DTRACE) if variant == "dtrace" else BUILD, "building memcached")
    folder = cache() / f"compiled-{release}"
    binary = folder / variant / "memcached"
    if not binary.exists():
        with file_lock(cache() / f"compiled-{release}.lock"), TemporaryDirectory(dir=cache()) as scratch:
            if not binary.exists():
                folder.mkdir(exist_ok=True)
                build(_source(release, Path(scratch)), VARIANTS[variant], binary)
    return binary


def _source(release: str, scratch: Path) -> Path:
    """The source tree of the release's memcached below `scratch`; this machine's apt stays as it is."""
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
    # The upstream tarball alone, whose hash the signed index has: Debian changes nothing that matters here.
    run([*apt, "source", "--tar-only", "memcached"], cwd=scratch, seconds=300)
    run(["tar", "-xf", next(scratch.glob("memcached_*.orig.tar.*"))], cwd=scratch)
    return next(tree for tree in scratch.glob("memcached-*") if tree.is_dir())


def _whole(folder: Path) -> bool:
    return all((folder / name).exists() for name in _NEEDED)


def _build(release: str, folder: Path) -> None:
    """Build beside the folder and put it in place with one rename: an interrupted build is never taken for a whole."""
    require((_DEBOOTSTRAP,), f"the root folder of Debian `{release}`")
    scratch = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(scratch, ignore_errors=True)
    command = ["debootstrap", "--variant=minbase", "--include=bpftrace,memcached", release, str(scratch), mirror()]
    try:
        run(command, seconds=900)
        shutil.rmtree(folder, ignore_errors=True)
        scratch.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    # Packages that were only unpacked from here on would be dead weight in the cache.
    for archive in (folder / "var/cache/apt/archives").glob("*.deb"):
        with suppress(OSError):
            archive.unlink()


def mirror() -> str:
    """Where this machine's apt takes its distribution from."""
    listed = run(["apt-get", "indextargets", "--format", "$(SITE) $(RELEASE)", "Created-By: Packages"])
    for line in listed.splitlines():
        site, _, release = line.partition(" ")
        if release == codename():
            return site
    return "http://deb.debian.org/debian"


if __name__ == "__main__":
    for wanted in sys.argv[1:] or RELEASES:
        print(wanted, root(wanted), subprocess.list2cmdline(memcached_of(wanted)))
