"""Find families of keys (`user:{}:profile`), and the family of a key.

A family can be hot without a hot member; no list of keys shows that. `templates_mining.py` finds the patterns; this
module formats, sums and sorts them, and applies the user's patterns, which take precedence.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from fleettrace.report.templates_mining import Pattern, families, literal_letters

__all__ = ["Template", "Templates", "mine", "pattern_text"]

_LEAST_SHARE = 10_000
"""A family needs at least one in this many keys, and at least two: fewer are a coincidence."""


class Template(NamedTuple):
    """One family of keys."""

    pattern: str
    """`{}` stands for a variable part; literal braces are doubled, unprintable characters escaped."""
    requests: int
    keys: int
    """Distinct keys of the family among those counted."""


class Templates:
    """The families found in one set of keys.

    `ranked` has the families with the most requests, most first, ties by pattern. `of` uses all families, ranked or
    not.
    """

    def __init__(self, user_patterns: Sequence[re.Pattern[bytes]], mined: Mapping[bytes, Pattern | None]) -> None:
        self._user_patterns = tuple(user_patterns)
        texts = {pattern: pattern_text(pattern) for pattern in set(mined.values()) if pattern is not None}
        self._known = {key: None if pattern is None else texts[pattern] for key, pattern in mined.items()}
        # The pattern with the most literal bytes first: `user:{}:profile` before `user:{}:{}`.
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

        The families depend only on the set of keys, their order on the requests. A key that `user_patterns` match
        belongs to the first match, and is not used to find families.
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
        """Return the template of a key, None when it has no family.

        Keys that were not in the counts are matched against the patterns, the most literal one first.
        """
        if key in self._known:  # It has no key that a user's pattern matches.
            return self._known[key]
        named = _by_user(self._user_patterns, key)
        if named is not None:
            return named
        return next((text for matcher, text in self._matchers if matcher.fullmatch(key)), None)

    def tally(self, counts: Mapping[bytes, int]) -> list[Template]:
        """Return requests and keys by template for other counts, such as those of one host; most requests first. Keys
        without a family are omitted."""
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
    """Return the `max_templates` families with the most requests, most first. See `Templates.learn`."""
    return Templates.learn(counts, user_patterns, max_templates=max_templates).ranked


def pattern_text(pattern: Iterable[bytes | None]) -> str:
    """Format a pattern: `{}` for a variable part, braces doubled, backslashes and unprintable characters escaped."""
    return "".join("{}" if part is None else _literal_text(part) for part in pattern)


def _literal_text(literal: bytes) -> str:
    text = literal.replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")
    return _shown(text).replace("{", "{{").replace("}", "}}")


def _shown(text: str) -> str:
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def _matcher(pattern: Pattern) -> re.Pattern[bytes]:
    """Return a regular expression that matches in linear time: a variable part ends where the next literal begins,
    without backtracking."""
    source = b""
    for place, part in enumerate(pattern):
        if part is not None:
            source += re.escape(part)
            continue
        following = pattern[place + 1] if place + 1 < len(pattern) else None
        source += rb".++" if following is None else rb"[^" + re.escape(following[:1]) + rb"]++"
    return re.compile(source, re.DOTALL)


def _by_user(user_patterns: Sequence[re.Pattern[bytes]], key: bytes) -> str | None:
    """Return the template of a key by the user's first matching pattern, None without a match.

    Groups are variable parts, and so is the text before and after the match. Without groups, all matches are one
    template with the name `~PATTERN`.
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
