"""Playbooks, their rules, and who is told."""
