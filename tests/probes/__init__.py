"""Tests of the catalogue of probes."""
