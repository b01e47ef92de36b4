#!/bin/sh
[ "$1" = --list ] && cat <<'END'
{"web": {"hosts": ["w1", "w2"], "vars": {"a": 1}}, "db": ["d1"], "site": {"children": ["web", "db"]}, "_meta": {"hostvars": {"w1": {"ansible_host": "192.0.2.1"}}}}
END
