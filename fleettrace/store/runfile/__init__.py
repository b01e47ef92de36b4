"""Run files: one file that holds a whole run."""
