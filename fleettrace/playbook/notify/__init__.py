"""Telling others of a play's findings."""
