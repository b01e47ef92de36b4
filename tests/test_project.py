"""The layout's own rules: who imports whom, what a module says of itself, what a wheel carries, what the README has."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from fleettrace.lab.packages import BUILD, FLEET, PACKAGES

ROOT = Path(__file__).parent.parent
MODULES = sorted((ROOT / "fleettrace").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
OPEN_TO_ALL = {"atomic_file", "errors", "resources", "text_format", "__version__"}
"""Modules at the top of the package, which every folder may use."""
KEEPERS = {
    "rich": {"tui", "report"},
    "argparse": {"cli"},
    "fabric": {"transport"},
    "paramiko": {"transport"},
    "invoke": {"transport"},
    "capstone": {"binary"},
    "yaml": {"yaml_reader", "lab"},
    "lark": {"playbook"},
}
"""Libraries that only these folders may know."""


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def name_of(path: Path) -> str:
    """How a test about this module is called."""
    return str(path.relative_to(ROOT))


def folder_of(path: Path) -> str:
    """The folder (or the module, at the top) below `fleettrace/` that a module belongs to."""
    return path.relative_to(ROOT / "fleettrace").parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Every import of a module, wherever it stands: the module imported, and the names taken from it."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, ()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}:{node.lineno}: imports are absolute"
            yield node.module or "", tuple(alias.name for alias in node.names)


def exported(path: Path) -> list[str] | None:
    """The module's `__all__`, or None when it has none."""
    for node in parsed(path).body:
        match node:
            case ast.Assign(targets=[ast.Name(id="__all__")], value=value):
                return list(ast.literal_eval(value))
    return None


def bound_names(path: Path) -> set[str]:
    """The names that a module's top level defines or imports."""
    names = set()
    for node in ast.walk(ast.Module([n for n in parsed(path).body if not isinstance(n, ast.Expr)], [])):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.alias):
            names.add(node.asname or node.name)
    return names


@cache
def allowed_arrows() -> dict[str, set[str]]:
    """The table of `docs/architecture.md`: each folder, and what it may use ("all": everything)."""
    rows = re.findall(r"^\| `fleettrace/(\w+)/` \|[^|]*\|([^|]*)\|$", (ROOT / "docs/architecture.md").read_text(), re.M)
    table = {folder: set(re.findall(r"\w+", uses)) for folder, uses in rows}
    return {folder: set(table) if uses == {"all"} else uses for folder, uses in table.items()}


def test_every_module_says_why_it_exists() -> None:
    assert [name_of(path) for path in MODULES if not ast.get_docstring(parsed(path))] == []


def test_no_module_is_long_enough_for_a_second_reason_to_exist() -> None:
    assert [name_of(path) for path in MODULES if len(path.read_text().splitlines()) > 400] == []


def test_every_module_says_what_it_offers_and_has_it() -> None:
    wrong = []
    for path in MODULES:
        offered = exported(path)
        empty = len(parsed(path).body) <= 1 or path.name == "__main__.py"
        if (offered is None and not empty) or not set(offered or ()) <= bound_names(path):
            wrong.append(name_of(path))
    assert wrong == []


def test_another_folder_takes_only_what_a_module_offers() -> None:
    wrong = []
    for path in MODULES:
        for module, names in imports(path):
            source = ROOT / (module.replace(".", "/") + ".py")
            if module.startswith("fleettrace.") and source.exists() and folder_of(source) != folder_of(path):
                hidden = set(names) - set(exported(source) or ())
                wrong += [f"{name_of(path)} takes {name} from {module}" for name in hidden]
    assert wrong == []


def used_by(path: Path) -> set[str]:
    """The folders and top modules of the package that a module imports from."""
    used = set()
    for module, names in imports(path):
        first, _, rest = module.partition(".")
        if first == "fleettrace":
            used |= {rest.split(".")[0]} if rest else set(names)
    return used


def test_no_arrow_runs_back() -> None:
    wrong = []
    for path in MODULES:
        here = folder_of(path)
        # What all may use must use nothing itself; only `python -m fleettrace` leads to the command line.
        allowed = allowed_arrows().get(here, {"cli"} if here == "__main__" else set()) | {here}
        if path.parent.name != "fleettrace":
            allowed |= OPEN_TO_ALL
        wrong += [f"{name_of(path)} uses {other}" for other in used_by(path) - allowed]
    assert wrong == []


def test_libraries_have_their_keepers() -> None:
    wrong = []
    for path in MODULES:
        for module, _ in imports(path):
            keepers = KEEPERS.get(module.split(".")[0])
            if keepers is not None and folder_of(path) not in keepers:
                wrong.append(f"{name_of(path)} imports {module}")
    assert wrong == []


def test_the_arrows_are_written_down_for_every_folder() -> None:
    folders = {path.parent.name for path in (ROOT / "fleettrace").glob("*/__init__.py")}
    assert folders == set(allowed_arrows())


def requirements(*extras: str) -> list[Requirement]:
    """What pyproject.toml asks for: to run, with these extras, and to be built."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = settings["project"]["dependencies"] + settings["build-system"]["requires"]
    for extra in extras:
        wanted += settings["project"]["optional-dependencies"][extra]
    return [Requirement(one) for one in wanted]


def declared(*extras: str) -> set[str]:
    """The names of the distributions that pyproject.toml asks for."""
    return {normal(one.name) for one in requirements(*extras)}


def normal(distribution: str) -> str:
    """A distribution's name as PyPI compares names."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


LOCKS = {"controller": (), "test": ("dev",), "bench": ("dev", "bench")}
"""The files in requirements/, and the extras that each locks."""


def locked(name: str) -> dict[str, str]:
    """The versions in a lock file, by distribution. Every line of one is a version, a hash of it, or a comment."""
    text = (ROOT / f"requirements/{name}.txt").read_text()
    entry = re.compile(r"([a-z0-9-]+)==([^ ;]+)(?: ; [^\\\n]+)? \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)")
    rest = re.sub(r"^ *#.*\n", "", entry.sub("", text), flags=re.M)
    assert rest == "", f"requirements/{name}.txt"
    return {distribution: version for distribution, version, _ in entry.findall(text)}


@pytest.mark.parametrize("name", LOCKS)
def test_every_dependency_is_locked_with_hashes(name: str) -> None:
    versions = locked(name)
    wrong = [
        str(one)
        for one in requirements(*LOCKS[name])
        if not one.specifier.contains(versions.get(normal(one.name), "0"), prereleases=True)
    ]
    assert wrong == [], "renew the lock: make update"


def test_the_tests_run_with_what_the_controller_gets() -> None:
    assert locked("controller").items() <= locked("test").items()


def test_the_lock_names_no_index() -> None:
    assert [
        name for name in LOCKS if re.search(r"://|--(?!hash=)", (ROOT / f"requirements/{name}.txt").read_text())
    ] == []


@pytest.mark.parametrize(("paths", "extras"), [(MODULES, ()), (TESTS, ("dev",))], ids=["fleettrace", "tests"])
def test_every_library_imported_is_declared(paths: list[Path], extras: tuple[str, ...]) -> None:
    known = packages_distributions()
    roots = {module.split(".")[0] for path in paths for module, _ in imports(path)}
    foreign = roots - set(sys.stdlib_module_names) - {"fleettrace", "tests", "benchmarks", "docs"}
    undeclared = {root for root in foreign if not set(map(normal, known.get(root, []))) & declared(*extras)}
    assert not undeclared


def test_no_pattern_repeats_a_group_possessively() -> None:
    """CPython before 3.11.5, such as Debian 12's 3.11.2, ends it in the middle of the group (python/cpython#106052)."""
    assert [name_of(path) for path in MODULES if re.search(r"\)[*+?}]\+", path.read_text())] == []


def test_every_package_the_lab_leans_on_is_installed_by_make() -> None:
    lines = (ROOT / "scripts/packages.txt").read_text().splitlines()
    listed = {words[0]: words[1] for words in map(str.split, lines) if words and words[0] != "#"}
    assert {one.name for one in PACKAGES} <= set(listed)
    assert {one.name for one in (*FLEET, *BUILD)} <= {name for name, target in listed.items() if target == "demo"}
    assert set(listed.values()) == {"demo", "test"}


def python(*arguments: str) -> str:
    """What this Python prints, for a terminal of 80 columns."""
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=True, cwd=ROOT, env=os.environ | WIDTH
    ).stdout


WIDTH = {"COLUMNS": "80", "NO_COLOR": "1", "PYTHON_COLORS": "0"}


def test_the_readme_shows_the_real_help() -> None:
    block = re.search(r"^    \$ fleettrace --help\n((?:(?:    .*)?\n)+)", (ROOT / "README.md").read_text(), re.M)
    assert block is not None
    shown = "".join(line.removeprefix("    ") for line in block[1].splitlines(keepends=True))
    assert shown.strip() == python("-m", "fleettrace", "--help").strip()


def test_links_lead_somewhere() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    links = {(page, link) for page in pages for link in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text())}
    ours = {(page, link) for page, link in links if "://" not in link}
    assert {f"{name_of(page)}: {link}" for page, link in ours if not (page.parent / link).exists()} == set()


def test_the_threat_model_names_tests_that_exist() -> None:
    text = (ROOT / "docs/security.md").read_text()
    named = set(re.findall(r"`((?:tests|benchmarks|fleettrace)/[^`]*)`", text))
    assert len(named) > 30
    assert {name for name in named if not (ROOT / name).is_file()} == set()
    adversaries = (
        "Hostile node",
        "Hostile container",
        "Local user on the node",
        "Client of memcached",
        "File",
        "Network and SSH",
    )
    for title in adversaries:
        section = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", text, re.M | re.S)
        assert section and "`tests/" in section[1] and "### What is not covered" in section[1], title


def test_help_needs_no_library() -> None:
    program = """
import contextlib, io, sys
from fleettrace.cli.main import main
with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
    main(["--help"])
print(*sorted({name.split(".")[0] for name in sys.modules}))
"""
    assert not {"rich", "fabric", "paramiko", "yaml", "lark", "capstone"} & set(python("-c", program).split())


def test_a_wheel_carries_the_programs_and_the_playbooks(tmp_path: Path) -> None:
    python("-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path))
    (wheel,) = tmp_path.glob("*.whl")
    inside = set(zipfile.ZipFile(wheel).namelist())
    wanted = {
        f"fleettrace/data/{path.relative_to(ROOT)}"
        for folder in ("bpftrace", "playbooks")
        for path in (ROOT / folder).rglob("*")
        if path.is_file()
    }
    assert any(name.endswith(".bt") for name in wanted)
    assert wanted <= inside
    assert {"fleettrace/node/discover.sh", "fleettrace/node/trace.sh", "fleettrace/py.typed"} <= inside
