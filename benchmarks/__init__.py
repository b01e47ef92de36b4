"""Measurements to be repeated: each module prints its own figures."""
