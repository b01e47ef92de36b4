"""Runs that are kept: run files, what they say, and how many become one. Knows summaries and results, nothing else."""
