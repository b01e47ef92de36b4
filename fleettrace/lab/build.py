"""Build memcached from Debian's source package, once for each variant, and cache the binaries.

apt fetches the source with a private configuration, so the machine's own package lists and caches do not change.
Binaries are cached in `$FLEETTRACE_CACHE`, else /var/cache/fleettrace/lab, else ~/.cache/fleettrace/lab; a lock lets
parallel users build once. A cached binary needs neither the network nor a compiler.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from fleettrace.errors import FleettraceError
from fleettrace.lab.packages import BUILD, DTRACE, find_program, require
from fleettrace.lab.system import file_lock, run

__all__ = ["VARIANTS", "Variant", "memcached_binary"]


@dataclass(frozen=True, slots=True)
class Variant:
    """Options for building memcached."""

    cflags: str = "-O2 -g"
    configure: tuple[str, ...] = ()
    first: tuple[str, ...] = ()
    """Targets to make before `memcached`: the Makefile generates headers for the target `all` only (BUILT_SOURCES)."""
    strip: bool = False


VARIANTS = {
    "plain": Variant(),
    "cf-protection": Variant(cflags="-O2 -g -fcf-protection=full"),  # what Ubuntu's gcc does by default
    "lto": Variant(cflags="-O2 -g -flto"),
    "dtrace": Variant(configure=("--enable-dtrace",), first=("memcached_dtrace.h",)),
    # Only the Makefile's target for all directories builds the libraries in vendor/.
    "proxy": Variant(configure=("--enable-proxy",), first=("all-recursive",)),
    "stripped": Variant(strip=True),
}


def cache_directory() -> Path:
    """Return the directory of cached builds, creating it if necessary."""
    if chosen := os.environ.get("FLEETTRACE_CACHE"):
        directory = Path(chosen)
        directory.mkdir(parents=True, exist_ok=True)
        return directory
    system = Path("/var/cache/fleettrace/lab")
    try:
        system.mkdir(parents=True, exist_ok=True)
        if os.access(system, os.W_OK):
            return system
    except OSError:
        pass
    home = Path.home() / ".cache/fleettrace/lab"
    home.mkdir(parents=True, exist_ok=True)
    return home


def memcached_binary(variant: str = "plain") -> Path:
    """Return the path of a memcached built with `VARIANTS[variant]`, building it (about 20 s) if it is not cached.

    Raises `FleettraceError` when a build tool is missing, the source cannot be fetched, or the build fails.
    """
    if variant not in VARIANTS:
        raise FleettraceError(f"lab: no memcached variant `{variant}`: expected one of {', '.join(VARIANTS)}")
    directory = cache_directory() / f"memcached-{codename()}-{platform.machine()}"
    binary = directory / variant / "memcached"
    if binary.exists():
        return binary
    with file_lock(directory / f"{variant}.lock"):
        if not binary.exists():
            require((*BUILD, *DTRACE) if variant == "dtrace" else BUILD, "building memcached for the lab")
            build(source(directory), VARIANTS[variant], binary)
    return binary


def codename() -> str:
    """Return the distribution's code name, such as `bookworm`."""
    release = platform.freedesktop_os_release()
    return release.get("VERSION_CODENAME") or release.get("ID", "linux")


def build(tree: Path, variant: Variant, binary: Path) -> None:
    """Build in a copy of the source tree and move the binary to `binary` by one rename."""
    with tempfile.TemporaryDirectory(dir=binary.parent.parent, prefix="build-") as scratch:
        work = Path(scratch) / "memcached"
        shutil.copytree(tree, work, symlinks=True)
        run(["./configure", *variant.configure, f"CFLAGS={variant.cflags}"], cwd=work, seconds=300)
        for target in (*variant.first, "memcached"):
            run(["make", f"-j{os.cpu_count() or 1}", target], cwd=work, seconds=600)
        built = work / "memcached"
        if variant.strip:
            run(["strip", built])
        binary.parent.mkdir(exist_ok=True)
        built.replace(binary)


def source(directory: Path) -> Path:
    """Return the source tree of the distribution's memcached, fetching it on first use."""
    tree = directory / "source"
    with file_lock(directory / "source.lock"):
        if not tree.exists():
            with tempfile.TemporaryDirectory(dir=directory, prefix="fetch-") as scratch:
                fetch(Path(scratch)).rename(tree)
    return tree


def fetch(scratch: Path) -> Path:
    """Fetch and unpack the source package below `scratch`; return the unpacked tree."""
    sources = scratch / "sources"
    sources.mkdir()
    deb_src(sources)
    (scratch / "lists/partial").mkdir(parents=True)
    (scratch / "cache/archives/partial").mkdir(parents=True)
    apt = [
        find_program("apt-get") or "apt-get",
        "-q",
        "-o",
        "Dir::Etc::sourcelist=/dev/null",
        "-o",
        f"Dir::Etc::sourceparts={sources}",
        "-o",
        f"Dir::State::lists={scratch}/lists",
        "-o",
        f"Dir::Cache={scratch}/cache",
        "-o",
        "APT::Sandbox::User=root",
    ]
    try:
        run([*apt, "update"], seconds=300)
        run([*apt, "source", "memcached"], cwd=scratch, seconds=300)
        return next(tree for tree in scratch.glob("memcached-*") if tree.is_dir())
    except (FleettraceError, StopIteration) as error:
        raise FleettraceError(
            f"lab: cannot fetch memcached's source from the package mirror ({error}): "
            "check the network and /etc/apt, or copy a cache of built binaries to $FLEETTRACE_CACHE"
        ) from error


def deb_src(directory: Path) -> None:
    """Write the apt sources of this machine's distribution into `directory`, for source packages only. Raises
    `FleettraceError` when /etc/apt names none."""
    found = False
    suite = re.compile(rf"\b({re.escape(codename())}|stable)\b")
    etc = Path("/etc/apt")
    for path in [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*.list"))]:
        if path.exists():
            lines = [line for line in path.read_text().splitlines() if line.startswith("deb ") and suite.search(line)]
            (directory / path.name).with_suffix(".list").write_text(
                "".join(f"deb-src{line.removeprefix('deb')}\n" for line in lines)
            )
            found = found or bool(lines)
    for path in sorted((etc / "sources.list.d").glob("*.sources")):
        stanzas = [s for s in re.split(r"\n\s*\n", path.read_text()) if re.search(r"^Types:.*\bdeb\b", s, re.M)]
        sources = [re.sub(r"^Types:.*$", "Types: deb-src", s, flags=re.M) for s in stanzas if suite.search(s)]
        (directory / path.name).write_text("\n\n".join(sources) + "\n")
        found = found or bool(sources)
    if not found:
        raise FleettraceError(f"lab: /etc/apt has no package source for `{codename()}`: add one for memcached's source")
