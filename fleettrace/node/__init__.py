"""One host: look around, plan the probes, run the trace, understand what bpftrace prints.

The only package that knows the shell scripts which run on a node and the text that bpftrace prints.
"""
