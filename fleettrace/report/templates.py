"""Families of keys (`user:{}:profile`), found in the keys themselves, and the family of any one key.

A family can be hot with no hot member, and then no list of keys shows it: this does. The mining itself is in
`templates_mining.py`; here its patterns get their text, their sums and their order, and the user's own patterns, which
come first, are applied.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from fleettrace.report.templates_mining import Pattern, families, literal_letters

__all__ = ["Template", "Templates", "mine", "pattern_text"]

_LEAST_SHARE = 10_000
"""A found family has at least one of so many keys, and at least two keys: less is coincidence."""


class Template(NamedTuple):
    """One family of keys."""

    pattern: str
    """`{}` stands for a part that varies; a literal brace is doubled, what is not printable is escaped."""
    requests: int
    keys: int
    """Distinct keys of the family among those that were counted."""


class Templates:
    """The families found in one set of keys.

    `ranked` has the families with the most requests, most first, ties by pattern. `of` knows every family found, the
    ranked ones and the rest.
    """

    def __init__(self, user_patterns: Sequence[re.Pattern[bytes]], mined: Mapping[bytes, Pattern | None]) -> None:
        self._user_patterns = tuple(user_patterns)
        texts = {pattern: pattern_text(pattern) for pattern in set(mined.values()) if pattern is not None}
        self._known = {key: None if pattern is None else texts[pattern] for key, pattern in mined.items()}
        # The most literal first: `user:{}:profile` before `user:{}:{}`.
        order = sorted(texts, key=lambda pattern: (-sum(len(part) for part in pattern if part), texts[pattern]))
        self._matchers = [(_matcher(pattern), texts[pattern]) for pattern in order]
        self.ranked: list[Template] = []

    @classmethod
    def learn(
        cls,
        counts: Mapping[bytes, int],
        user_patterns: Sequence[re.Pattern[bytes]] = (),
        *,
        max_templates: int = 50,
    ) -> Templates:
        """Find the families of the keys in `counts` (key -> requests).

        Only which keys there are decides what the families are; the requests decide their order. A key that one of
        `user_patterns` matches belongs to the first that does, and is left out of the mining.
        """
        free = sorted([key for key in counts if _by_user(user_patterns, key) is None] if user_patterns else counts)
        patterns = families(free)
        sizes = Counter(patterns)
        least = max(2, len(free) // _LEAST_SHARE)
        real = {
            pattern for pattern, size in sizes.items() if size >= least and None in pattern and literal_letters(pattern)
        }
        mined = ((key, pattern if pattern in real else None) for key, pattern in zip(free, patterns, strict=True))
        found = cls(user_patterns, dict(mined))
        found.ranked = found.tally(counts)[:max_templates]
        return found

    def of(self, key: bytes) -> str | None:
        """The template of a key, None when it is of no family.

        Keys that were not there when the families were found are matched against them, the most literal one first.
        """
        if key in self._known:  # No key that a user's pattern matches is in there.
            return self._known[key]
        named = _by_user(self._user_patterns, key)
        if named is not None:
            return named
        return next((text for matcher, text in self._matchers if matcher.fullmatch(key)), None)

    def tally(self, counts: Mapping[bytes, int]) -> list[Template]:
        """Requests and keys by template of other counts, such as one host's; most requests first. Keys of no family
        are left out."""
        members: defaultdict[str | None, list[int]] = defaultdict(list)
        of = self.of
        for key, count in counts.items():
            members[of(key)].append(count)
        ranked = (Template(text, sum(sizes), len(sizes)) for text, sizes in members.items() if text is not None)
        return sorted(ranked, key=lambda template: (-template.requests, template.pattern))


def mine(
    counts: Mapping[bytes, int],
    user_patterns: Sequence[re.Pattern[bytes]] = (),
    *,
    max_templates: int = 50,
) -> list[Template]:
    """The `max_templates` families with the most requests, most first. See `Templates.learn`."""
    return Templates.learn(counts, user_patterns, max_templates=max_templates).ranked


def pattern_text(pattern: Iterable[bytes | None]) -> str:
    """A pattern as text: `{}` for what varies, braces doubled, backslashes and what is not printable escaped."""
    return "".join("{}" if part is None else _literal_text(part) for part in pattern)


def _literal_text(literal: bytes) -> str:
    text = literal.replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")
    return _shown(text).replace("{", "{{").replace("}", "}}")


def _shown(text: str) -> str:
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def _matcher(pattern: Pattern) -> re.Pattern[bytes]:
    """Matches the keys of a pattern in time linear in their length: a part that varies ends where the next literal
    begins, and never gives back."""
    source = b""
    for place, part in enumerate(pattern):
        if part is not None:
            source += re.escape(part)
            continue
        following = pattern[place + 1] if place + 1 < len(pattern) else None
        source += rb".++" if following is None else rb"[^" + re.escape(following[:1]) + rb"]++"
    return re.compile(source, re.DOTALL)


def _by_user(user_patterns: Sequence[re.Pattern[bytes]], key: bytes) -> str | None:
    """The template that the user's first matching pattern gives a key.

    Its groups vary, and so does what lies before and after the match; without groups all of its matches are one
    template, named by the pattern itself after a `~`.
    """
    for pattern in user_patterns:
        match = pattern.search(key)
        if match is None:
            continue
        if not pattern.groups:
            return "~" + _shown(pattern.pattern.decode("utf-8", "backslashreplace"))
        parts: list[bytes | None] = [None] if match.start() else []
        at = match.start()
        for group in range(1, pattern.groups + 1):
            start, end = match.span(group)
            if start >= at:
                parts += [key[at:start], None]
                at = end
        parts.append(key[at : match.end()])
        if match.end() < len(key):
            parts.append(None)
        text = pattern_text(part for part in parts if part != b"")
        return text.replace("{}{}", "{}")
    return None
