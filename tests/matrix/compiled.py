"""Build Debian's memcached for each cell of the matrix, once for each recipe, in a cache outside the repository.

python -m tests.matrix.compiled       # build all cells that are not cached yet
python -m tests.matrix.compiled TREE  # build them from another source tree instead, and print where they are
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

from fleettrace.errors import FleettraceError
from fleettrace.lab.system import file_lock, run
from tests.binary.builds import cache, source
from tests.binary.traffic import COMMANDS, memcached
from tests.matrix.cells import BuildId, Cell, Compiler, Extra, Linker, Position, Symbols, cells

__all__ = ["Recipe", "binary", "recipe_of"]

_RECIPES = 1
"""Increase it when a change of `_compile` changes the binary of a recipe."""
_LINKERS = {
    Linker.LD: "-fuse-ld=bfd",
    Linker.LLD: "-fuse-ld=lld",
    Linker.MOLD: "-fuse-ld=mold",
    Linker.GOLD: "-fuse-ld=gold -Wl,--icf=all",
}
_POSITIONS = {
    Position.PIE: ("-fPIE", "-pie"),
    Position.NO_PIE: ("-fno-pie", "-no-pie"),
    Position.STATIC: ("-fno-pie", "-no-pie -static"),
}
_EXTRAS = {
    Extra.NONE: "",
    Extra.LTO: "-flto",
    Extra.PGO_LTO: "-flto",
    Extra.CET: "-fcf-protection=full",
    Extra.MCOUNT: "-pg",
    Extra.FENTRY: "-pg -mfentry",
    Extra.NOP: "-pg -mfentry -mnop-mcount",
    Extra.ADDRESS: "-fsanitize=address",
    Extra.NO_UNWIND: "-fno-asynchronous-unwind-tables -fno-unwind-tables",
}
_ROUNDS = 40
"""How often each command is sent for a profile."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """The compiler, its options, and the steps afterwards."""

    compiler: str
    cflags: str
    ldflags: str
    profiled: bool
    stripped: bool

    @property
    def key(self) -> str:
        """Return the name of the recipe's directory in the cache."""
        facts = [_RECIPES, self.compiler, self.cflags, self.ldflags, self.profiled, self.stripped]
        return sha256(json.dumps(facts).encode()).hexdigest()[:16]


def recipe_of(cell: Cell) -> Recipe:
    """Return the recipe of a cell."""
    compile_, link = _POSITIONS[cell.position]
    extra = _EXTRAS[cell.extra]
    # gold folds only functions with their own section.
    sections = "-ffunction-sections" if cell.linker is Linker.GOLD else ""
    build_id = "sha1" if cell.build_id is BuildId.PRESENT else "none"
    return Recipe(
        cell.compiler,
        _words(f"-{cell.level}", compile_, extra, sections),
        _words(_LINKERS[cell.linker], link, extra, f"-Wl,--build-id={build_id}"),
        cell.extra is Extra.PGO_LTO,
        cell.symbols is Symbols.STRIPPED,
    )


def binary(cell: Cell) -> Path:
    """Return the cell's memcached, built if it is not cached. Raises `FleettraceError` when it does not compile."""
    return compiled(recipe_of(cell), source())


def compiled(recipe: Recipe, tree: Path) -> Path:
    """Return the memcached that a recipe makes of a configured or unconfigured source tree."""
    directory = cache() / "cells" / tree.name / recipe.key
    path = directory / "memcached"
    if not path.exists():
        directory.mkdir(parents=True, exist_ok=True)
        with file_lock(directory / "lock"):
            if not path.exists():
                _compile(recipe, _configured(tree), path)
    return path


def _configured(tree: Path) -> Path:
    """Return a copy of the tree in which `configure` has run: its results are the same for every recipe."""
    ready = cache() / "cells" / tree.name / "configured"
    ready.parent.mkdir(parents=True, exist_ok=True)
    with file_lock(ready.with_suffix(".lock")):
        if not ready.exists():
            with TemporaryDirectory(dir=ready.parent) as scratch:
                work = Path(scratch) / "tree"
                shutil.copytree(tree, work, symlinks=True)
                run(["./configure", "--disable-docs", "--disable-coverage"], cwd=work, seconds=600)
                work.rename(ready)
    return ready


def _compile(recipe: Recipe, tree: Path, target: Path) -> None:
    with TemporaryDirectory(dir=target.parent) as scratch:
        work = Path(scratch) / "tree"
        shutil.copytree(tree, work, symlinks=True)
        cflags, ldflags = recipe.cflags, recipe.ldflags
        if recipe.profiled:
            data = Path(scratch) / "profile"
            Path(scratch).chmod(0o755)  # memcached writes its profile as another user
            used = _profile(recipe, work, data)
            cflags, ldflags = _words(cflags, used), _words(ldflags, used)
        _make(work, recipe.compiler, cflags, ldflags)
        if recipe.stripped:
            run(["strip", "-s", work / "memcached"])
        (work / "memcached").rename(target)


def _make(tree: Path, compiler: str, cflags: str, ldflags: str) -> None:
    run(["make", "clean"], cwd=tree, seconds=60)
    words = [f"CC={compiler}", f"CFLAGS=-pthread -w {cflags}", f"LDFLAGS={ldflags}"]
    run(["nice", "make", f"-j{os.cpu_count() or 1}", *words, "memcached"], cwd=tree, seconds=900)


def _profile(recipe: Recipe, tree: Path, data: Path) -> str:
    """Build with counters, send requests of every kind, and return the compiler options that use the profile."""
    data.mkdir()
    data.chmod(0o777)
    clang = recipe.compiler == Compiler.CLANG
    raw = data / "%m.profraw"  # without a pool (%m) the file is made at the start, by root
    counters = f"-fprofile-instr-generate={raw}" if clang else f"-fprofile-generate={data} -fprofile-update=atomic"
    _make(tree, recipe.compiler, _words(recipe.cflags, counters), _words(recipe.ldflags, counters))
    with memcached(tree / "memcached") as (pid, connect):
        text, packets = connect(), connect()
        for number in range(_ROUNDS):
            for name, (_, _, send) in COMMANDS.items():
                send(packets if name.startswith("bin") else text, f"{name}:{number % 7}")
        os.kill(pid, signal.SIGINT)
        _wait_for_exit(pid)
    if not any(data.iterdir()):
        raise FleettraceError(f"memcached built with {counters} wrote no profile")
    if not clang:
        return f"-fprofile-use={data} -fprofile-correction -Wno-missing-profile"
    merged = data / "merged"
    run(["llvm-profdata", "merge", "-o", merged, *data.glob("*.profraw")])
    return f"-fprofile-instr-use={merged}"


def _wait_for_exit(pid: int) -> None:
    """Wait until the process is a zombie: it has written its profile, and its parent has not waited for it."""
    subprocess.run(["timeout", "20", "sh", "-c", f"while ! grep -q '^State:.Z' /proc/{pid}/status; do sleep 0.1; done"])


def _words(*parts: str) -> str:
    return " ".join(part for part in parts if part)


if __name__ == "__main__":
    where = Path(sys.argv[1]).absolute() if len(sys.argv) > 1 else source()
    for one in cells():
        try:
            print(one, compiled(recipe_of(one), where), flush=True)
        except Exception as error:
            print(one, "FAILED", error, flush=True)
