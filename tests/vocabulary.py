"""Find words in names and prose that `vocabulary.txt` replaces by the field's own.

    python -m tests.vocabulary [PATH...]

prints every use below the paths (the whole project without any), and the number of them.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
_EXEMPT = ("tests/vocabulary.", "requirements/", "LICENSE")
_SHELL_LIKE = {".sh", ".bt", ".yaml", ".yml", ".toml", ".js", ".css", ".pl"}
_COURSE = re.compile(r"\bof course\b", re.I)
_CODE = re.compile(r"```.*?```|``[^`]*``|`[^`\n]*`", re.S)
_NO_PROSE = re.compile(r"[rR]?[bB]|[\"']+(?:CREATE|SELECT) ")
_COMMENT = re.compile(r"(?:^|\s)(?:#|//|\*|/\*) ?(.*)")


@cache
def words(kind: str) -> frozenset[str]:
    """The words that may not stand in `kind`, "name" or "prose"."""
    rows = (line.split() for line in (ROOT / "tests/vocabulary.txt").read_text().splitlines())
    return frozenset(row[0] for row in rows if row and row[0] != "#" and row[1] in (kind, "all"))


def project_files() -> list[Path]:
    """Every file that git keeps."""
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    paths = (ROOT / name for name in done.stdout.splitlines() if not name.startswith(_EXEMPT))
    return [path for path in paths if path.is_file()]


def uses(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and the word of every use in a file."""
    if path.suffix == ".py":
        yield from _python(path.read_text())
    elif path.suffix == ".md":
        yield from _prose(_CODE.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), path.read_text()))
    elif path.suffix in _SHELL_LIKE or path.name == "Makefile":
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if comment := _COMMENT.search(line):
                yield from ((number, word) for _, word in _prose(comment[1]))


def _prose(text: str, first: int = 1) -> Iterator[tuple[int, str]]:
    text = _COURSE.sub("of-course", text)
    for number, line in enumerate(text.splitlines(), first):
        yield from ((number, word) for word in re.findall(r"[A-Za-z]+", line) if word.lower() in words("prose"))


def _python(source: str) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        line = token.start[0]
        if token.type == tokenize.COMMENT:
            yield from _prose(token.string, line)
        elif token.type == tokenize.STRING:
            # Bytes are traffic, strings without a blank are values, and SQL has the columns of stored files; the others
            # are prose.
            if " " in token.string and not _NO_PROSE.match(token.string):
                yield from _prose(token.string, line)
        elif token.type == tokenize.NAME:
            parts = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", token.string)
            yield from ((line, part) for part in parts if part.lower() in words("name"))


def in_paths() -> Iterator[tuple[Path, str]]:
    """Yield each file with a word in its own name."""
    for path in project_files():
        for part in re.findall(r"[a-z]+", str(path.relative_to(ROOT)).lower()):
            if part in words("name"):
                yield path, part


def main(arguments: list[str]) -> int:
    """Print every use below the paths; return 1 if there is one."""
    below = [Path(argument).resolve() for argument in arguments] or [ROOT]
    found = [
        f"{path.relative_to(ROOT)}:{line}: {word}"
        for path in project_files()
        if any(path.is_relative_to(one) for one in below)
        for line, word in uses(path)
    ]
    print(*found, sep="\n")
    print(len(found), "uses")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
