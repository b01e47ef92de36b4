"""Mergeable key counts with bounds, and the result of a run and its hosts. Pure."""
