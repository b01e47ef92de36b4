"""Playbooks: sweeps and audits in YAML, read with locations and checked completely before any connection is made.

`load` reads the files of a playbook, `schema` checks their keys, `rules` judges a run, `notify` sends the findings.
"""
