"""Everything that goes wrong on the way, on purpose: docs/chaos.md has the list."""
