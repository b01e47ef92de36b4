"""The rules of the layout: imports, module docstrings, vocabulary, the contents of a wheel, the README."""

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
from tests.vocabulary import in_paths, project_files, uses

ROOT = Path(__file__).parent.parent
MODULES = sorted((ROOT / "fleettrace").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
OPEN_TO_ALL = {"atomic_file", "errors", "resources", "text_format", "yaml_reader", "__version__"}
"""Modules at the top of the package, which every package may use."""
KEEPERS = {
    "rich": {"tui", "report"},
    "argparse": {"cli"},
    "fabric": {"transport"},
    "paramiko": {"transport"},
    "invoke": {"transport"},
    "capstone": {"binary"},
    "yaml": {"yaml_reader", "lab"},
    "lark": {"playbook"},
    "jinja2": {"inventory"},
    "cryptography": {"inventory"},
}
"""Libraries that only these packages may import."""


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def name_of(path: Path) -> str:
    """Return the path from the root of the repository."""
    return str(path.relative_to(ROOT))


def package_of(path: Path) -> str:
    """Return the package (or the module, at the top) below `fleettrace/` of a module."""
    return path.relative_to(ROOT / "fleettrace").parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield every import of a module, also inside functions: the imported module, and the imported names."""
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
    """Return the table of `docs/architecture.md`: each package, and the packages that it may use."""
    rows = re.findall(r"^\| `fleettrace/(\w+)/` \|[^|]*\|([^|]*)\|$", (ROOT / "docs/architecture.md").read_text(), re.M)
    return {package: set(re.findall(r"\w+", uses)) for package, uses in rows}


def test_every_module_has_a_docstring() -> None:
    assert [name_of(path) for path in MODULES if not ast.get_docstring(parsed(path))] == []


def test_no_module_exceeds_400_lines() -> None:
    assert [name_of(path) for path in MODULES if len(path.read_text().splitlines()) > 400] == []


def test_every_module_defines_its_exports() -> None:
    wrong = []
    for path in MODULES:
        offered = exported(path)
        empty = len(parsed(path).body) <= 1 or path.name == "__main__.py"
        if (offered is None and not empty) or not set(offered or ()) <= bound_names(path):
            wrong.append(name_of(path))
    assert wrong == []


def test_packages_import_only_exported_names() -> None:
    wrong = []
    for path in MODULES:
        for module, names in imports(path):
            source = ROOT / (module.replace(".", "/") + ".py")
            if module.startswith("fleettrace.") and source.exists() and package_of(source) != package_of(path):
                unexported = set(names) - set(exported(source) or ())
                wrong += [f"{name_of(path)} takes {name} from {module}" for name in unexported]
    assert wrong == []


def graph() -> dict[str, set[str]]:
    """Return the modules that each module of fleettrace imports, anywhere but for type checking alone."""
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in MODULES}
    arrows: dict[str, set[str]] = {name: set() for name in names}
    for name, path in names.items():
        typed = {
            id(inner)
            for node in ast.walk(parsed(path))
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
            for inner in ast.walk(node)
        }
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.ImportFrom) and id(node) not in typed and node.module in names:
                inside = {f"{node.module}.{alias.name}" for alias in node.names} & set(names)
                arrows[name] |= (inside or {node.module}) - {name}
    return arrows


def test_no_imports_run_in_a_circle() -> None:
    arrows = graph()
    while leaves := [name for name, uses in arrows.items() if not uses & set(arrows)]:
        for name in leaves:
            del arrows[name]
    assert sorted(arrows) == []


def test_names_and_prose_use_the_vocabulary() -> None:
    found = [f"{name_of(path)}:{line}: {word}" for path in project_files() for line, word in uses(path)]
    found += [f"{name_of(path)}: {word}" for path, word in in_paths()]
    assert found == [], "tests/vocabulary.txt has the word to use"


def used_by(path: Path) -> set[str]:
    """Return the packages and top modules of fleettrace that a module imports from."""
    used = set()
    for module, names in imports(path):
        first, _, rest = module.partition(".")
        if first == "fleettrace":
            used |= {rest.split(".")[0]} if rest else set(names)
    return used


def test_packages_use_only_those_below() -> None:
    wrong = []
    for path in MODULES:
        here = package_of(path)
        # What all may use must use nothing itself; only `python -m fleettrace` leads to the command line.
        allowed = allowed_arrows().get(here, {"cli"} if here == "__main__" else set()) | {here}
        if path.parent.name != "fleettrace":
            allowed |= OPEN_TO_ALL
        wrong += [f"{name_of(path)} uses {other}" for other in used_by(path) - allowed]
    assert wrong == []


def test_libraries_are_imported_in_their_packages() -> None:
    wrong = []
    for path in MODULES:
        for module, _ in imports(path):
            keepers = KEEPERS.get(module.split(".")[0])
            if keepers is not None and package_of(path) not in keepers:
                wrong.append(f"{name_of(path)} imports {module}")
    assert wrong == []


def test_architecture_lists_every_package() -> None:
    packages = {path.parent.name for path in (ROOT / "fleettrace").glob("*/__init__.py")}
    assert packages == set(allowed_arrows())


def requirements(*extras: str) -> list[Requirement]:
    """Return the requirements of pyproject.toml: to run, with these extras, and to build."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    required = settings["project"]["dependencies"] + settings["build-system"]["requires"]
    for extra in extras:
        required += settings["project"]["optional-dependencies"][extra]
    return [Requirement(one) for one in required]


def declared(*extras: str) -> set[str]:
    """Return the names of the required distributions."""
    return {normal(one.name) for one in requirements(*extras)}


def normal(distribution: str) -> str:
    """A distribution's name as PyPI compares names."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


LOCKS = {"controller": (), "runtime": (), "test": ("dev",), "bench": ("dev", "bench")}
"""The files in requirements/, and the extras that each locks. `runtime` locks no build backend."""


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
        if not (name == "runtime" and one.name == "hatchling")
        and not one.specifier.contains(versions.get(normal(one.name), "0"), prereleases=True)
    ]
    assert wrong == [], "renew the lock: make update"


def test_locks_agree_on_every_version() -> None:
    assert locked("runtime").items() <= locked("controller").items() <= locked("test").items()


def test_the_lock_names_no_index() -> None:
    assert [
        name for name in LOCKS if re.search(r"://|--(?!hash=)", (ROOT / f"requirements/{name}.txt").read_text())
    ] == []


@pytest.mark.parametrize(("paths", "extras"), [(MODULES, ()), (TESTS, ("dev",))], ids=["fleettrace", "tests"])
def test_imported_libraries_are_declared(paths: list[Path], extras: tuple[str, ...]) -> None:
    known = packages_distributions()
    roots = {module.split(".")[0] for path in paths for module, _ in imports(path)}
    foreign = roots - set(sys.stdlib_module_names) - {"fleettrace", "tests", "benchmarks", "docs", "release"}
    undeclared = {root for root in foreign if not set(map(normal, known.get(root, []))) & declared(*extras)}
    assert not undeclared


def test_no_pattern_repeats_a_group_possessively() -> None:
    """CPython before 3.11.5, such as Debian 12's 3.11.2, ends it in the middle of the group (python/cpython#106052)."""
    assert [name_of(path) for path in MODULES if re.search(r"\)[*+?}]\+", path.read_text())] == []


def test_make_installs_every_package_of_the_lab() -> None:
    lines = (ROOT / "scripts/packages.txt").read_text().splitlines()
    listed = {words[0]: words[1] for words in map(str.split, lines) if words and words[0] != "#"}
    assert {one.name for one in PACKAGES} <= set(listed)
    assert {one.name for one in (*FLEET, *BUILD)} <= {name for name, target in listed.items() if target == "demo"}
    assert set(listed.values()) == {"demo", "test", "dist"}


def python(*arguments: str) -> str:
    """What this Python prints, for a terminal of 80 columns."""
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=True, cwd=ROOT, env=os.environ | WIDTH
    ).stdout


WIDTH = {"COLUMNS": "80", "NO_COLOR": "1", "PYTHON_COLORS": "0"}


def test_readme_shows_the_real_help() -> None:
    block = re.search(r"^    \$ fleettrace --help\n((?:(?:    .*)?\n)+)", (ROOT / "README.md").read_text(), re.M)
    assert block is not None
    shown = "".join(line.removeprefix("    ") for line in block[1].splitlines(keepends=True))
    assert shown.strip() == python("-m", "fleettrace", "--help").strip()


def test_links_lead_to_files() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    links = {(page, link) for page in pages for link in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text())}
    ours = {(page, link) for page, link in links if "://" not in link}
    assert {f"{name_of(page)}: {link}" for page, link in ours if not (page.parent / link).exists()} == set()


def test_threat_model_names_existing_tests() -> None:
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


def test_wheel_contains_programs_and_playbooks(tmp_path: Path) -> None:
    python("-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path))
    (wheel,) = tmp_path.glob("*.whl")
    inside = set(zipfile.ZipFile(wheel).namelist())
    required = {
        f"fleettrace/data/{path.relative_to(ROOT)}"
        for package in ("bpftrace", "playbooks")
        for path in (ROOT / package).rglob("*")
        if path.is_file()
    }
    assert any(name.endswith(".bt") for name in required)
    assert required <= inside
    assert {"fleettrace/node/discover.sh", "fleettrace/node/trace.sh", "fleettrace/py.typed"} <= inside
