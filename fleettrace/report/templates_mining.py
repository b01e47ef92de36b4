"""Find the families in a set of keys: the constant and the variable parts of each key.

The key set itself decides this, not a list of id formats. A key is split at its delimiters. A part is constant if more
keys have it in the same position than any id would repeat. It is variable if other keys differ from it only in digits,
or if hardly any key shares it. Variable parts are split again at finer delimiters: first whole segments (between `:`,
`/`, `|`, ...), then words (between `-`, `_`, `.`, ...), then runs of digits in a word (`pod12`). docs/templates.md
explains it in detail.

Pure, and independent of the order of the keys: only counts decide; ties go by position, then by bytes.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from fleettrace.report.templates_constants import DIGITS, HAS_DIGIT, WEAK, constants

__all__ = ["Pattern", "families", "literal_letters"]

Pattern = tuple[bytes | None, ...]
"""Literal bytes, and None for a variable part. Two literals or two Nones are never adjacent."""

_VARIES: Pattern = (None,)

_SEGMENT = re.compile(rb"([0-9A-Za-z\x80-\xff" + WEAK + rb"]+)")
_STRONG = re.compile(rb"[^0-9A-Za-z\x80-\xff" + WEAK + rb"]")
_WORD = re.compile(
    rb"("
    rb"[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}(?![0-9A-Za-z])"
    rb"|[12][0-9]{3}(?:-[01][0-9]-|\.[01][0-9]\.|_[01][0-9]_)[0-3][0-9](?:[T_][0-9]{2}[0-9A-Za-z]*)?(?![0-9A-Za-z])"
    rb"|[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}(?![0-9A-Za-z.])"
    rb"|[0-9A-Za-z\x80-\xff]+)"
)
"""A word. A uuid, a date and an IPv4 address count as one word in spite of their delimiters."""
_DELIMITER = re.compile(rb"[^0-9A-Za-z\x80-\xff]")
_MAX_WORDS = 24
"""The most words of a key; the rest of a longer one is its last word. This bounds the work for hostile keys."""
_IRREGULAR = 4
"""This many forms that differ only in the position of delimiters between variable parts are one id that contains
them."""
_FIXED_LENGTH = 16
"""Values of equal length with at least this many bytes are one kind of id, wherever their delimiters are."""
_LONGEST_NUMBERED = 32
"""The most bytes of a word with a number between letters."""
_SAMPLE = 512
_EDGE_AFTER = re.compile(rb"([" + WEAK + rb"])[" + WEAK + rb"]+$")
_EDGE_BEFORE = re.compile(rb"^[" + WEAK + rb"]+([" + WEAK + rb"])")

_Row = tuple[tuple[bytes, ...], tuple[bytes, ...], int]
"""The delimiters around the words (one more than words), the words, and the index of the value."""


def families(keys: Sequence[bytes]) -> list[Pattern]:
    """Return the pattern of each of the distinct `keys`, in their order. The pattern of a key without a family is one
    variable."""
    return _solve(keys, 0)


def literal_letters(pattern: Pattern) -> bool:
    """Return whether the pattern has a constant other than delimiters."""
    return any(part is not None and _WORD.search(part) is not None for part in pattern)


def _solve(values: Sequence[bytes], level: int) -> list[Pattern]:
    """Return the patterns of distinct values, split into segments (level 0), words (1) or runs of digits (2)."""
    if level == 2:
        return _numbered(values)
    split, has_delimiter = (_SEGMENT.split, _STRONG.search) if level == 0 else (_WORD.split, _DELIMITER.search)
    if not has_delimiter(b"".join(values)):
        return _solve(values, level + 1)
    found: list[Pattern] = [_VARIES] * len(values)
    rows: list[_Row] = []
    plain: list[int] = []
    for index, value in enumerate(values):
        if has_delimiter(value):
            rows.append(_row(split(value, _MAX_WORDS), index))
        else:
            plain.append(index)
    if plain:
        inner = values if not rows else [values[index] for index in plain]
        for index, pattern in zip(plain, _solve(inner, level + 1), strict=True):
            found[index] = pattern
    if rows:
        _peel(rows, 0, level, found)
    return _unify(values, found, level)


def _row(parts: list[bytes], index: int) -> _Row:
    """Return a row for `[delimiter, word, delimiter, ..., rest]`; a rest that is more than a delimiter becomes a
    word."""
    if len(parts) > 2 * _MAX_WORDS and _WORD.search(parts[-1]):
        parts[-1:] = [b"", parts[-1], b""]
    return tuple(parts[::2]), tuple(parts[1::2]), index


def _peel(rows: list[_Row], start: int, level: int, found: list[Pattern]) -> None:
    """Split off constant first words, whatever follows them, then cluster the rows with equal delimiters.

    The rows are equal up to word `start`, including delimiters.
    """
    rest = rows
    if any(row[0] != rows[0][0] for row in rows):
        last = start + 1
        fixed_words = constants(Counter([row[1][start] for row in rows if len(row[1]) > last]), strict=True)
        if fixed_words:
            rest = [row for row in rows if len(row[1]) <= last or row[1][start] not in fixed_words]
            peeled: dict[tuple[bytes, bytes, bytes], list[_Row]] = defaultdict(list)
            for row in rows:
                if len(row[1]) > last and row[1][start] in fixed_words:
                    peeled[row[0][start], row[1][start], row[0][last]].append(row)
            for group in peeled.values():
                _peel(group, last, level, found)
    shapes = defaultdict(list)
    for row in rest:
        shapes[row[0]].append(row)
    for group in shapes.values():
        _cluster(group, start, len(rows), level, found)


def _cluster(rows: list[_Row], start: int, total: int, level: int, found: list[Pattern]) -> None:
    """Split rows with equal delimiters by the constants in the most distinctive position, until there is none.

    `total` is the number of rows before they were grouped by delimiters.
    """
    width = len(rows[0][1])
    todo: list[tuple[list[_Row], frozenset[int], frozenset[int]]] = [(rows, frozenset(range(start)), frozenset())]
    while todo:
        group, fixed, varying = todo.pop()
        best: tuple[float, int, int] | None = None
        best_constants: frozenset[bytes] = frozenset()
        columns = list(zip(*[row[1] for row in group], strict=True))
        for place in range(start, width):
            if place in fixed:
                continue
            counts = Counter(columns[place])
            if len(counts) > 1 and place in varying:
                continue
            fixed_words = constants(counts)
            if not fixed_words:
                continue
            if level:
                named = not any(HAS_DIGIT.search(word) for column in columns[start:] for word in column)
                fixed_words = _worth_naming(counts, fixed_words, total, named)
            coverage = sum(counts[word] for word in fixed_words) / len(group)
            if not fixed_words:
                continue
            score = (-coverage, len(fixed_words), place)
            if best is None or score < best:
                best, best_constants = score, fixed_words
        if best is None:
            _emit(group, fixed, level, found)
            continue
        place = best[2]
        parts: dict[bytes | None, list[_Row]] = defaultdict(list)
        for row in group:
            word = row[1][place]
            parts[word if word in best_constants else None].append(row)
        for constant, part in parts.items():
            if constant is None:
                todo.append((part, fixed, varying | {place}))
            else:
                todo.append((part, fixed | {place}, varying))


def _worth_naming(counts: Counter[bytes], fixed_words: frozenset[bytes], total: int, named: bool) -> frozenset[bytes]:
    """Return, inside a variable segment, the constants that are structure and not letters or words that ids share.

    A single character must be in a large part of the `total` rows. If all are `named` (no row has a digit), nearly all
    must have one of a few constants.
    """
    hits = sum(counts[word] for word in fixed_words)
    if hits < 0.3 * total:
        fixed_words = frozenset(word for word in fixed_words if len(word) > 1)
    if named and len(counts) > 1 and (hits < 0.9 * total or len(fixed_words) > 4):
        return frozenset()
    return fixed_words


def _emit(rows: list[_Row], fixed: frozenset[int], level: int, found: list[Pattern]) -> None:
    """Store the pattern of each row of one group; variable parts are split one level finer."""
    delimiters, words, _ = rows[0]
    open_places = [place for place in range(len(words)) if place not in fixed]
    inner: list[dict[bytes, Pattern]] = []
    for place in open_places:
        values = list(dict.fromkeys([row[1][place] for row in rows]))
        inner.append(dict(zip(values, _solve(values, level + 1), strict=True)))
    kinds = [set(known.values()) for known in inner]
    if all(len(kind) == 1 for kind in kinds):
        pattern = _build(delimiters, words, {place: kind.pop() for place, kind in zip(open_places, kinds, strict=True)})
        for row in rows:
            found[row[2]] = pattern
        return
    built: dict[tuple[Pattern, ...], Pattern] = {}
    for row in rows:
        row_words = row[1]
        subs = tuple([known[row_words[place]] for place, known in zip(open_places, inner, strict=True)])
        if subs not in built:
            built[subs] = _build(delimiters, words, dict(zip(open_places, subs, strict=True)))
        found[row[2]] = built[subs]


def _build(delimiters: Sequence[bytes], words: Sequence[bytes], subs: dict[int, Pattern]) -> Pattern:
    parts: list[bytes | None] = [delimiters[0]]
    for place, word in enumerate(words):
        parts.extend(subs.get(place, (word,)))
        parts.append(delimiters[place + 1])
    return _normal(parts)


def _normal(parts: Iterable[bytes | None]) -> Pattern:
    """Join adjacent literals and adjacent variables."""
    joined: list[bytes | None] = []
    for part in parts:
        if part == b"":
            continue
        last = joined[-1] if joined else b""
        if part is None:
            if not joined or last is not None:
                joined.append(None)
        elif joined and last is not None:
            joined[-1] = last + part
        else:
            joined.append(part)
    return tuple(joined)


def _unify(values: Sequence[bytes], found: list[Pattern], level: int) -> list[Pattern]:
    """Join patterns that differ only in the delimiters between variable parts, if they look like one kind of id.

    They do if there are many such forms, or if all the values have the same length.
    """
    forms: dict[Pattern, set[Pattern]] = defaultdict(set)
    for pattern in set(found):
        forms[_collapse(pattern, level)].add(pattern)
    several = {short: same for short, same in forms.items() if len(same) > 1 or short not in same}
    if not several:
        return found
    lengths: dict[Pattern, set[int]] = defaultdict(set)
    for value, pattern in zip(values, found, strict=True):
        lengths[pattern].add(len(value))
    merged: dict[Pattern, Pattern] = {}
    for short, same in several.items():
        sizes = set[int]().union(*(lengths[pattern] for pattern in same))
        fixed = len(same) > 1 and len(sizes) == 1 and min(sizes) >= _FIXED_LENGTH
        if len(same) >= _IRREGULAR + (level == 0) or (level and fixed):
            merged.update(dict.fromkeys(same, short))
    return [merged.get(pattern, pattern) for pattern in found] if merged else found


def _collapse(pattern: Pattern, level: int) -> Pattern:
    """Return the pattern with `{}-{}` replaced by `{}`; inside a segment, also without delimiters at the edge of a
    variable part."""
    parts = list(pattern)
    last = len(parts) - 1
    for place, part in enumerate(pattern):
        if part is None:
            continue
        if not _WORD.search(part):
            inner = 0 < place < last
            if inner or (level and last):
                parts[place] = b""
        elif level:
            if place < last:
                part = _EDGE_AFTER.sub(rb"\1", part)
            if place:
                part = _EDGE_BEFORE.sub(rb"\1", part)
            parts[place] = part
    return _normal(parts)


def _numbered(values: Sequence[bytes]) -> list[Pattern]:
    """Return the patterns of single words: numbers between constant letters (`pod{}`), a constant start, or none."""
    found: list[Pattern] = [_VARIES] * len(values)
    # A sample shows whether the search is worthwhile: most positions hold ids without common letters.
    sample = values[:: 1 + len(values) // _SAMPLE]
    numbers, shapes = _by_letters(sample)
    if numbers == len(sample) and b"".join(values).isdigit():
        return found
    start = _common_start(values)
    if max(map(len, shapes.values()), default=0) < 2 and not start:
        return found
    numbers, shapes = _by_letters(values)
    least = max(2, len(values) // 20)
    common = {shape for shape, indices in shapes.items() if len(indices) >= least}
    if numbers + sum(len(shapes[shape]) for shape in common) < 0.8 * len(values):
        if start:
            return [(start, None)] * len(values)
        few = max(3, len(values) // 50)
        common = {shape for shape in shapes if len(shapes[shape]) >= few and len(shape) == 2 and len(shape[0]) >= 3}
    for shape in common:
        pattern = _normal([shape[0], *(part for letters in shape[1:] for part in (None, letters))])
        for index in shapes[shape]:
            found[index] = pattern
    return found


def _by_letters(values: Sequence[bytes]) -> tuple[int, dict[tuple[bytes, ...], list[int]]]:
    """Return how many values are only digits, and the other values with numbers, by the letters around these."""
    numbers = 0
    shapes: dict[tuple[bytes, ...], list[int]] = defaultdict(list)
    for index, value in enumerate(values):
        if value.isdigit():
            numbers += 1
        elif len(value) <= _LONGEST_NUMBERED and not _DELIMITER.search(value):
            letters = tuple(DIGITS.split(value)[::2])
            if len(letters) > 1:
                shapes[letters].append(index)
    return numbers, shapes


def _common_start(values: Sequence[bytes]) -> bytes:
    """Return the common start (three letters or more, `tok8f3a`) of at least eight values, else nothing."""
    if len(values) < 8:
        return b""
    low, high = min(values), max(values)
    length = 0
    while length < min(len(low), len(high)) - 1 and low[length] == high[length] and chr(low[length]).isalpha():
        length += 1
    return low[:length] if length >= 3 else b""
