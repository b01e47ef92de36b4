#!/bin/sh
case $1 in --list) echo '{"web": {"hosts": ["w1", "w2"]}}';; --host) echo "{\"name\": \"$2\"}";; esac
