"""Trace one host: discover instances, plan the probes, run the trace, parse bpftrace's output.

Only this package knows the shell scripts that run on a node and the text that bpftrace prints.
"""
