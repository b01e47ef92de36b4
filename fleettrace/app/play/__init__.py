"""Plays: sweeps and audits described by a playbook."""
