"""Sweeps and audits written down in YAML. Empty: nothing is written down yet."""
