"""Find the families in a set of keys: which parts of a key are constant in its family, and which vary.

No list of id formats decides this, but the key set itself. A key is split at its delimiters; a part is constant when so
many keys have the same part in the same place that no id would repeat like that, and varies when it has siblings that
differ from it in digits alone, or when hardly any key shares it. What varies is looked into again, one kind of
delimiter finer: whole segments (between `:`, `/`, `|`, ...), then words (between `-`, `_`, `.`, ...), then runs
of digits in a word (`pod12`). docs/templates.md says it at length.

Pure, and independent of the order of the keys: only counts decide, and ties go by position, then by bytes.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from math import inf

__all__ = ["Pattern", "families", "literal_letters"]

Pattern = tuple[bytes | None, ...]
"""Literal bytes, and None for a part that varies. Neither two literals nor two Nones are neighbours."""

_VARIES: Pattern = (None,)

_WEAK = rb"\-_.~+="
"""Delimiters that ids have inside too (uuid, base64, dates, addresses): looked at only inside a segment that varies."""
_SEGMENT = re.compile(rb"([0-9A-Za-z\x80-\xff" + _WEAK + rb"]+)")
_WORD = re.compile(
    rb"("
    rb"[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}(?![0-9A-Za-z])"
    rb"|[12][0-9]{3}([-._])[01][0-9]\2[0-3][0-9](?:[T_][0-9]{2}[0-9A-Za-z]*)?(?![0-9A-Za-z])"
    rb"|[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}(?![0-9A-Za-z.])"
    rb"|[0-9A-Za-z\x80-\xff]+)"
)
"""A word; a uuid, a date and an IPv4 address are one word, although delimiters are in them."""
_DIGITS = re.compile(rb"([0-9]+)")
_DELIMITER = re.compile(rb"[^0-9A-Za-z\x80-\xff]")
_HAS_DIGIT = re.compile(rb"[0-9]")
_NATURAL = re.compile(
    rb"(?:[A-Z]?[a-z\x80-\xff]+(?:[A-Z][a-z\x80-\xff]+)*|[A-Z]+|v[0-9]{1,2})"
    rb"(?:[" + _WEAK + rb"]+(?:[A-Z]?[a-z\x80-\xff]+(?:[A-Z][a-z\x80-\xff]+)*|[A-Z]+|v[0-9]{1,2}))*"
)
"""What people name things: words in one case or camelCase, also joined (`user_profile`), and versions (`v2`)."""
_VERSIONED = re.compile(rb"(?:.*[^0-9A-Za-z])?v[0-9]{1,2}")
_TOKEN = re.compile(rb"(?=[^0-9]*[0-9])(?=.*[A-Za-z]).{8,}|.{20,}", re.DOTALL)
"""What looks like an id on its own: eight characters with letters and digits, or twenty of anything."""

_MAX_WORDS = 24
"""Words of one key that are told apart; the rest of a longer one is its last word. Bounds the work on hostile keys."""
_CONSTANT_NUMBER = 4
"""Keys that must share a number, with no other number in its place, before it counts as constant."""
_GAP = 4.0
"""How much more often than the next value a part must occur to be constant, where many others vary beside it."""
_TAIL = 0.1
"""Share of the keys up to which rarer words do not make a place of constants one of ids."""
_IRREGULAR = 4
"""Forms that differ only in where delimiters fall between varying parts: so many are one id that contains them."""
_FIXED_LENGTH = 16
"""Bytes from which on values of one length are taken for one kind of id, wherever delimiters fall in them."""
_EDGE_AFTER = re.compile(rb"([" + _WEAK + rb"])[" + _WEAK + rb"]+$")
_EDGE_BEFORE = re.compile(rb"^[" + _WEAK + rb"]+([" + _WEAK + rb"])")

_Row = tuple[tuple[bytes, ...], tuple[bytes, ...], int]
"""The delimiters around the words (one more than words), the words, and the index of the value."""


def families(keys: Sequence[bytes]) -> list[Pattern]:
    """The pattern of each of the distinct `keys`, in the same order. A key of no family has one that varies whole."""
    return _solve(keys, 0)


def literal_letters(pattern: Pattern) -> bool:
    """Whether anything but delimiters is constant in the pattern."""
    return any(part is not None and _WORD.search(part) is not None for part in pattern)


def _solve(values: Sequence[bytes], level: int) -> list[Pattern]:
    """The patterns of distinct values, split into segments (level 0), words (1) or runs of digits (2)."""
    if level == 2:
        return _numbered(values)
    split = _SEGMENT.split if level == 0 else _split_words
    rows = [_row(split(value, _MAX_WORDS), index) for index, value in enumerate(values)]
    found: list[Pattern] = [_VARIES] * len(values)
    plain = [row for row in rows if len(row[1]) == 1 and not row[0][0] and not row[0][1]]
    if plain:
        _refine([row[1][0] for row in plain], [row[2] for row in plain], level, found)
    _peel([row for row in rows if len(row[1]) > 1 or row[0][0] or row[0][-1]], 0, level, found)
    return _unify(values, found, level)


def _split_words(value: bytes, limit: int) -> list[bytes]:
    """Split into words, without what the inner group of the pattern adds."""
    parts = _WORD.split(value, limit)
    return [part for index, part in enumerate(parts) if index % 3 != 2]


def _row(parts: list[bytes], index: int) -> _Row:
    """A row of `[delimiter, word, delimiter, ..., rest]`; a rest that is more than a delimiter is a word itself."""
    if parts[-1] and _WORD.search(parts[-1]):
        parts[-1:] = [b"", parts[-1], b""]
    return tuple(parts[::2]), tuple(parts[1::2]), index


def _refine(words: Sequence[bytes], indices: Iterable[int], level: int, found: list[Pattern]) -> None:
    patterns = _solve(words, level + 1)
    for index, pattern in zip(indices, patterns, strict=True):
        found[index] = pattern


def _peel(rows: list[_Row], start: int, level: int, found: list[Pattern]) -> None:
    """Take constant first words off, whatever follows them, then cluster what has the same delimiters."""
    shapes = defaultdict(list)
    for row in rows:
        shapes[row[0][start:]].append(row)
    if len(shapes) > 1:
        firsts = Counter(row[1][start] for row in rows if len(row[1]) > start + 1)
        kept = _constants(firsts, strict=True)
        if kept:
            peeled: dict[tuple[bytes, bytes, bytes], list[_Row]] = defaultdict(list)
            rest = []
            for row in rows:
                delimiters, words, _ = row
                if len(words) > start + 1 and words[start] in kept:
                    peeled[delimiters[start], words[start], delimiters[start + 1]].append(row)
                else:
                    rest.append(row)
            for group in peeled.values():
                _peel(group, start + 1, level, found)
            shapes.clear()
            for row in rest:
                shapes[row[0][start:]].append(row)
    for group in shapes.values():
        _cluster(group, start, len(rows), level, found)


def _cluster(rows: list[_Row], start: int, whole: int, level: int, found: list[Pattern]) -> None:
    """Split rows of equal delimiters by the constants in the place that tells most apart, until there is none.

    `whole` is the number of rows that these were among, of whatever delimiters.
    """
    width = len(rows[0][1])
    todo: list[tuple[list[_Row], frozenset[int], frozenset[int]]] = [(rows, frozenset(range(start)), frozenset())]
    while todo:
        group, fixed, varying = todo.pop()
        best: tuple[float, int, int] | None = None
        best_kept: frozenset[bytes] = frozenset()
        columns = list(zip(*(row[1] for row in group), strict=True))
        for place in range(start, width):
            if place in fixed:
                continue
            counts = Counter(columns[place])
            if len(counts) > 1 and place in varying:
                continue
            kept = _constants(counts)
            if not kept:
                continue
            if level:
                named = not any(_HAS_DIGIT.search(word) for column in columns[start:] for word in column)
                kept = _worth_naming(counts, kept, whole, named)
            coverage = sum(counts[word] for word in kept) / len(group)
            if not kept:
                continue
            score = (-coverage, len(kept), place)
            if best is None or score < best:
                best, best_kept = score, kept
        if best is None:
            _emit(group, fixed, level, found)
            continue
        place = best[2]
        parts: dict[bytes | None, list[_Row]] = defaultdict(list)
        for row in group:
            word = row[1][place]
            parts[word if word in best_kept else None].append(row)
        for kept_word, part in parts.items():
            if kept_word is None:
                todo.append((part, fixed, varying | {place}))
            else:
                todo.append((part, fixed | {place}, varying))


def _worth_naming(counts: Counter[bytes], kept: frozenset[bytes], whole: int, named: bool) -> frozenset[bytes]:
    """Inside a segment that varies: the constants that are a structure, not letters or words that ids happen to share.

    A single character must be there in a good part of the `whole`; where all are `named`, with no digit in any of the
    rows, nearly all of them must have one of a few.
    """
    hits = sum(counts[word] for word in kept)
    if hits < 0.3 * whole:
        kept = frozenset(word for word in kept if len(word) > 1)
    if named and len(counts) > 1 and (hits < 0.9 * whole or len(kept) > 4):
        return frozenset()
    return kept


def _emit(rows: list[_Row], fixed: frozenset[int], level: int, found: list[Pattern]) -> None:
    """Write down the pattern of each row of one group; what varies is looked into one level finer."""
    delimiters, words, _ = rows[0]
    open_places = [place for place in range(len(words)) if place not in fixed]
    inner: list[dict[bytes, Pattern]] = []
    for place in open_places:
        values = sorted({row[1][place] for row in rows})
        inner.append(dict(zip(values, _solve(values, level + 1), strict=True)))
    built: dict[tuple[Pattern, ...], Pattern] = {}
    for row in rows:
        row_words = row[1]
        subs = tuple([known[row_words[place]] for place, known in zip(open_places, inner, strict=True)])
        pattern = built.get(subs)
        if pattern is None:
            pattern = built[subs] = _build(delimiters, words, dict(zip(open_places, subs, strict=True)))
        found[row[2]] = pattern


def _build(delimiters: Sequence[bytes], words: Sequence[bytes], subs: dict[int, Pattern]) -> Pattern:
    parts: list[bytes | None] = [delimiters[0]]
    for place, word in enumerate(words):
        parts.extend(subs.get(place, (word,)))
        parts.append(delimiters[place + 1])
    return _normal(parts)


def _normal(parts: Iterable[bytes | None]) -> Pattern:
    """Join neighbouring literals and neighbouring variables."""
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
    """Patterns that differ only in the delimiters between varying parts are one, if they look like one kind of id.

    They do when there are many such forms, or when all the values have the same length.
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
    """The pattern with `{}-{}` written as `{}`; inside a segment also delimiters at the edge of a varying part."""
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


def _constants(counts: Counter[bytes], *, strict: bool = False) -> frozenset[bytes]:
    """The values of one place that are constants of a family; `counts` are the keys that have each value there.

    `strict` asks for more keys a value: it is meant for places seen without what follows them.
    """
    if len(counts) == 1:
        ((value, count),) = counts.items()
        enough = 2 if not value.isdigit() else _CONSTANT_NUMBER
        return frozenset((value,)) if count >= enough else frozenset()
    repeated = [value for value, count in counts.items() if count > 1]
    if not repeated:
        return frozenset()
    candidates = _without_ids(repeated, counts)
    names = [value for value in candidates if _NATURAL.fullmatch(value)]
    codes = [value for value in candidates if not _NATURAL.fullmatch(value)]
    total_names = sum(count for value, count in counts.items() if _NATURAL.fullmatch(value)) if names else 0
    kept = _frequent({value: counts[value] for value in names}, total_names, 1 if strict else 4)
    total_codes = sum(counts.values()) - total_names
    return kept | _frequent({value: counts[value] for value in codes}, total_codes, 1)


def _without_ids(repeated: list[bytes], counts: Counter[bytes]) -> list[bytes]:
    """Leave out what its siblings show to be an id, however often it occurs."""
    forms: Counter[bytes] = Counter()
    lengths: Counter[int] = Counter()
    digit_keys: Counter[int] = Counter()
    digit_values: Counter[int] = Counter()
    for value, count in counts.items():
        lengths[len(value)] += 1
        if _HAS_DIGIT.search(value):
            forms[_DIGITS.sub(b"0", value)] += 1
            digit_values[len(value)] += 1
            digit_keys[len(value)] += count
    tokens = sum(1 for value in repeated if _TOKEN.fullmatch(value) and not _NATURAL.fullmatch(value))
    left = []
    for value in repeated:
        if _HAS_DIGIT.search(value):
            numbered = forms[_DIGITS.sub(b"0", value)] > (4 if _VERSIONED.fullmatch(value) else 1)
            if numbered or value.isdigit():
                continue
        length = len(value)
        alike = digit_values[length]
        if alike >= 8 and 2 * alike >= lengths[length] and counts[value] < 8 * digit_keys[length] / alike:
            continue
        if tokens > 3 and _TOKEN.fullmatch(value) and not _NATURAL.fullmatch(value):
            continue
        left.append(value)
    return left


def _frequent(supports: dict[bytes, int], total: int, per_key: int) -> frozenset[bytes]:
    """The values that stand out: each with at least a `per_key`-th as many keys as there are such values.

    Where rarer ones hold a good part of the `total`, there must be a gap to them: an id's popularity has none.
    """
    ranked = sorted(supports.items(), key=lambda item: (-item[1], item[0]))
    tail = total - sum(supports.values())
    following: float = 1 if tail else 0
    for rank in range(len(ranked), 0, -1):
        support = ranked[rank - 1][1]
        gap = support / following if following else inf
        if rank <= per_key * support and (tail <= _TAIL * total or gap >= _GAP):
            rescued = [value for value, count in ranked[rank:] if count > 2]
            extra = rescued if tail <= _TAIL * total and len(rescued) <= 2 * rank else []
            return frozenset([value for value, _ in ranked[:rank]] + extra)
        tail += support
        following = support
    return frozenset()


def _numbered(values: Sequence[bytes]) -> list[Pattern]:
    """The patterns of single words: numbers between constant letters (`pod{}`), a constant start, or none."""
    found: list[Pattern] = [_VARIES] * len(values)
    shapes: dict[tuple[bytes, ...], list[int]] = defaultdict(list)
    for index, value in enumerate(values):
        letters = tuple(_DIGITS.split(value)[::2])
        if len(letters) > 1 and not _DELIMITER.search(value):
            shapes[letters].append(index)
    least = max(2, len(values) // 20)
    common = {shape for shape, indices in shapes.items() if len(indices) >= least}
    if sum(len(shapes[shape]) for shape in common) < 0.8 * len(values):
        start = _common_start(values)
        if start:
            return [(start, None)] * len(values)
        few = max(3, len(values) // 50)
        common = {shape for shape in shapes if len(shapes[shape]) >= few and len(shape) == 2 and len(shape[0]) >= 3}
    for shape in common:
        if not any(shape):
            continue
        pattern = _normal([shape[0], *(part for letters in shape[1:] for part in (None, letters))])
        for index in shapes[shape]:
            found[index] = pattern
    return found


def _common_start(values: Sequence[bytes]) -> bytes:
    """Letters that all of at least eight values begin with (`tok8f3a`), three or more; else nothing."""
    if len(values) < 8:
        return b""
    low, high = min(values), max(values)
    length = 0
    while length < min(len(low), len(high)) - 1 and low[length] == high[length] and chr(low[length]).isalpha():
        length += 1
    return low[:length] if length >= 3 else b""

