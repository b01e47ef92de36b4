"""Tests of playbooks, rules and notifications."""
