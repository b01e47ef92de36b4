"""`python -m fleettrace`."""

from fleettrace.cli.main import entry

entry()
