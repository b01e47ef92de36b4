"""Links of the documentation lead to files and headings that exist, and the index leads to every page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
_LINK = re.compile(r"\]\(([^()\s]+)\)")


def prose(page: Path) -> str:
    """Return the text of a page without code, in which brackets are no links."""
    return re.sub(r"(?m)^ {4}.*$", "", re.sub(r"`[^`\n]*`(?!\])", "", page.read_text()))


def links(page: Path) -> list[tuple[str, str]]:
    """Return the target and the anchor of each link to the project's own files."""
    found = [link for link in _LINK.findall(prose(page)) if "://" not in link]
    return [(link.partition("#")[0], link.partition("#")[2]) for link in found]


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    made: set[str] = set()
    for title in re.findall(r"^#+ (.*)$", page.read_text(), re.M):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title)
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        number = 0
        while (name := f"{slug}-{number}" if number else slug) in made:
            number += 1
        made.add(name)
    return made


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page: Path) -> None:
    broken = []
    for target, anchor in links(page):
        file = (page.parent / target).resolve() if target else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(f"{target}#{anchor}")
    assert broken == []


def test_index_leads_to_every_page() -> None:
    reached, pending = set(), [ROOT / "docs/index.md"]
    while pending:
        page = pending.pop()
        if page in reached or page.suffix != ".md" or not page.is_file():
            continue
        reached.add(page)
        pending += [(page.parent / target).resolve() for target, _ in links(page) if target]
    assert set((ROOT / "docs").rglob("*.md")) - reached == set()


def test_architecture_names_files_that_exist() -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    named = set(re.findall(r"`([\w/]+\.(?:py|sh|bt|toml))`", text)) | set(re.findall(r"`(\w+/[\w/]*/)`", text))
    places = (ROOT, ROOT / "fleettrace")
    assert len(named) > 30
    assert [name for name in sorted(named) if not any((place / name).exists() for place in places)] == []
