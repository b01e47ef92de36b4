"""Repeatable measurements. Each module prints its own results."""
