"""How inventory files are read: what a directory ignores, and how encrypted files are opened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["ReadOptions"]


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """The site's choices."""

    # Ansible's default for INVENTORY_IGNORE_EXTS (REJECT_EXTS and three more).
    ignored_suffixes: tuple[str, ...] = (
        *(".pyc", ".pyo", ".swp", ".bak", "~", ".rpm", ".md", ".txt", ".rst"),
        *(".orig", ".cfg", ".retry"),
    )
    """Ends of names that a directory's reader ignores."""
    ignored_patterns: tuple[str, ...] = ()
    """Regular expressions; a name in which one is found is ignored."""
    decrypt: Callable[[str, str], str] | None = None
    """Return the plain text of an encrypted file, given its text and its name. It raises `ConfigError`."""
    ansible_arguments: tuple[str, ...] = ()
    """More options for `ansible-inventory`, such as --vault-password-file."""
