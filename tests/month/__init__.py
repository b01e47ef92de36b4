"""A simulated month of hourly audits of a scripted fleet, with planted events. The sweep alone is replaced: real
playbooks, rules, histories, notices and files."""
