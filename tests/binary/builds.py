"""Real memcached binaries to test on, built once from Debian's source package and cached outside the repository.

`build("plain")` returns the path of an unstripped binary, `stripped("plain")` that of its `strip`ped copy (same build
id, same code: the symbols of the first show where the functions of the second are). `installed()` is the distribution's
own package. The cache is `$FLEETTRACE_TEST_CACHE`, by default `/var/cache/fleettrace-test`; a build takes about 20 s
the first time.

    python -m tests.binary.builds plain cf-protection     # build these now
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

__all__ = ["BUILDS", "CI_BUILDS", "Build", "build", "cache", "extra_binaries", "installed", "source", "stripped"]


@dataclass(frozen=True, slots=True)
class Build:
    """How to make one build: compiler and linker flags, `configure` switches."""

    cflags: str
    ldflags: str = ""
    configure: tuple[str, ...] = ()
    compiler: str = "gcc"


BARE = "-Wl,--build-id=none"
HARDENED = "-g -O2 -fstack-protector-strong -fstack-clash-protection -Wformat -D_FORTIFY_SOURCE=2 -fPIE"

BUILDS = {
    "plain": Build("-O2"),
    "cf-protection": Build("-O2 -fcf-protection=full"),
    "lto": Build("-O2 -flto", "-flto"),
    "o3": Build("-O3"),
    "os": Build("-Os"),
    "no-pie": Build("-O2 -fno-pie", "-no-pie"),
    "dtrace": Build("-O2", configure=("--enable-dtrace",)),
    "proxy": Build("-O2", configure=("--enable-proxy",)),
    "hardened": Build(HARDENED, "-Wl,-z,relro -Wl,-z,now -pie", ("--enable-tls",)),
    "o3-lto": Build("-O3 -flto", "-flto"),
    "lld-bare": Build(
        "-O2 -ffunction-sections", f"-fuse-ld=lld {BARE} -Wl,--shuffle-sections=.text*=4", compiler="clang"
    ),
    "mold-bare": Build("-O2", f"-fuse-ld=mold {BARE}"),
    "no-pie-bare": Build("-O2 -fno-pie", f"-no-pie {BARE}"),
    "nop-entry": Build("-O2 -fno-pie -pg -mfentry -mnop-mcount", "-no-pie"),
    "fentry": Build("-O2 -pg -mfentry"),
    "o0": Build("-O0"),
    "o1": Build("-O1"),
    "clang": Build("-O2", compiler="clang"),
    "clang-o0": Build("-O0", compiler="clang"),
    "clang-o3": Build("-O3", compiler="clang"),
    "clang-lto": Build("-O2 -flto", "-flto -fuse-ld=lld", compiler="clang"),
    "sanitized": Build("-O1 -fsanitize=address"),
}
"""All builds. `hardened` has flags similar to Debian's. The ones named `bare` have no build id, and in them an address
of the code differs from its offset in the file."""

CI_BUILDS = ("plain", "cf-protection", "lto")
"""The builds that are tested everywhere; the others are tested where they are in the cache."""


def cache() -> Path:
    """Return the directory that stores sources and builds from run to run."""
    return Path(os.environ.get("FLEETTRACE_TEST_CACHE", "/var/cache/fleettrace-test"))


def build(name: str) -> Path:
    """Return the unstripped binary of build `name`; build it if it is not cached.

    Raises `subprocess.CalledProcessError` for a source that cannot be fetched or compiled.
    """
    binary = cache() / "binary" / name / "memcached"
    if not binary.exists():
        binary.parent.mkdir(parents=True, exist_ok=True)
        with (binary.parent.parent / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not binary.exists():
                _compile(source(), BUILDS[name], binary)
    return binary


def stripped(name: str) -> Path:
    """Return the same binary without symbols."""
    unstripped = build(name)
    result = unstripped.with_name("memcached.stripped")
    if not result.exists():
        scratch = unstripped.with_name(f"memcached.stripped.{os.getpid()}")
        subprocess.run(["strip", "-o", str(scratch), str(unstripped)], check=True)
        scratch.rename(result)
    return result


def installed() -> Path | None:
    """Return the distribution's packaged memcached, or None where it is not installed."""
    path = Path("/usr/bin/memcached")
    return path if path.exists() else None


def extra_binaries() -> list[Path]:
    """Return the binaries in the cache's `extra/`, such as other distributions' packages."""
    return sorted(path for path in (cache() / "extra").glob("*/memcached") if path.is_file())


def source() -> Path:
    """Return the unpacked source package; fetch it with a private apt configuration, not the machine's."""
    root = cache() / "source"
    found = sorted(root.glob("memcached-1*/configure"))
    if found:
        return found[0].parent
    root.mkdir(parents=True, exist_ok=True)
    with (root / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not sorted(root.glob("memcached-1*/configure")):
            _fetch_source(root)
    return sorted(root.glob("memcached-1*/configure"))[0].parent


def _fetch_source(root: Path) -> None:
    private = root / "apt"
    (private / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    (private / "archives" / "partial").mkdir(parents=True, exist_ok=True)
    keys = "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]"
    (private / "sources.list").write_text(f"deb-src {keys} http://deb.debian.org/debian bookworm main\n")
    options = {
        "Dir::Etc::sourcelist": private / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::State::lists": private / "lists",
        "Dir::Cache": private,
        "APT::Sandbox::User": "root",
    }
    apt = ["apt-get", "-q", *(f"-o{name}={value}" for name, value in options.items())]
    subprocess.run([*apt, "update"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run([*apt, "source", "memcached"], check=True, cwd=root, stdout=subprocess.DEVNULL)


def _compile(source: Path, recipe: Build, target: Path) -> None:
    tree = target.parent / "tree"
    shutil.rmtree(tree, ignore_errors=True)
    shutil.copytree(source, tree, symlinks=True)
    environment = os.environ | {"CC": recipe.compiler, "CFLAGS": recipe.cflags, "LDFLAGS": recipe.ldflags}
    log = (target.parent / "log").open("wb")
    with log:
        for command in (
            ["./configure", "--disable-docs", "--disable-coverage", *recipe.configure],
            ["make", "-j2", *(("memcached",) if not recipe.configure else ("all",))],
        ):
            subprocess.run(
                command, cwd=tree, env=environment, check=True, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
    (tree / "memcached").rename(target)
    shutil.rmtree(tree)


if __name__ == "__main__":
    for name in sys.argv[1:] or CI_BUILDS:
        print(build(name), stripped(name))
