"""The tool as its users run it: the real command against a fleet of real hosts."""
