"""Reach hosts: run a script there and stream its output, always bounded."""
