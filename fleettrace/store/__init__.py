"""Stored runs: run files and their merging, the history, and the comparison of two runs."""
