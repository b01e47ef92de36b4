"""Recognize one host's address as Ansible does, to decide what a colon means.

A colon separates patterns (`web:db`), introduces a port (`web:2222`), or is part of an IPv6 address (`fe80::1`) or of a
range (`web[1:3]`). Ansible checks first whether the complete text is one address with an optional port.
"""

from __future__ import annotations

import re

__all__ = ["LOCALHOST_NAMES", "split_address"]

LOCALHOST_NAMES = ("127.0.0.1", "localhost", "::1")
"""Names for which Ansible adds a host with a local connection where the inventory has none."""

_BRACKETED_PORT = re.compile(r"\[(.+)\]:([0-9]+)")
_PLAIN_PORT = re.compile(r"((?:[^:\[\]]|\[[^\]]*\])*):([0-9]+)")
_NAME_RANGE = re.compile(r"\[(?:[a-z]:[a-z]|[0-9]+:[0-9]+)(?::[0-9]+)?\]", re.I)
_HEX_RANGE = re.compile(r"\[[0-9a-f]+:[0-9a-f]+(?::[0-9]+)?\]", re.I)
_LABEL = re.compile(r"[\w*][\w*-]*(?<![_-])")
_HEX_PART = re.compile(r"[0-9a-f]{1,4}|\*", re.I)
_RANGE_MARK = "*"


def split_address(text: str) -> tuple[str, int | None] | None:
    """Split `text` into one address, which may hold ranges, and its port. Return None if it is not one address."""
    port: int | None = None
    for form in (_BRACKETED_PORT, _PLAIN_PORT):
        match = form.fullmatch(text)
        if match:
            text, port = match[1], int(match[2])
    return (text, port) if _is_host_name(text) or _is_ipv6(text) else None


def _is_host_name(text: str) -> bool:
    """Return whether `text` is labels joined by dots: letters, digits, `_`, `-`, ranges; no `-` first, no `-_` last."""
    if _RANGE_MARK in text:
        return False
    return all(_LABEL.fullmatch(label) for label in _NAME_RANGE.sub(_RANGE_MARK, text).split("."))


def _is_ipv6(text: str) -> bool:
    if _RANGE_MARK in text:
        return False
    marked = _HEX_RANGE.sub(_RANGE_MARK, text)
    if "." in marked:
        return _is_ipv4_in_ipv6(marked)
    head, gap, tail = marked.partition("::")
    before, after = _parts(head), _parts(tail)
    if before is None or after is None:
        return False
    if not gap:
        return before == 8
    if before and after:
        return before + after <= 7
    return before <= 6 and after <= 6


def _is_ipv4_in_ipv6(marked: str) -> bool:
    for prefix in ("0:0:0:0:0:0:", "0:0:0:0:0:ffff:", "::ffff:", "::"):
        if marked.lower().startswith(prefix):
            parts = marked[len(prefix) :].split(".")
            return len(parts) == 4 and all(_HEX_PART.fullmatch(part) for part in parts)
    return False


def _parts(text: str) -> int | None:
    """Return the number of 16-bit parts in `text`, None if one of them is malformed."""
    if not text:
        return 0
    parts = text.split(":")
    return len(parts) if all(_HEX_PART.fullmatch(part) for part in parts) else None
