"""The history: a SQLite database of past runs."""
