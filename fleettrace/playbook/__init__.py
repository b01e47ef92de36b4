"""Sweeps and audits written down in YAML: read with every value's place, checked as a whole before anything connects.

`load` reads the files of a playbook, `layout` says what may stand in one, `rules` judges what a play found.
"""
