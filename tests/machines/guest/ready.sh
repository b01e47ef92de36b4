#!/bin/sh
# Tell the machine that booted this guest that everything is in place.
{
    echo "VM-VERSION $(bpftrace --version)"
    echo "VM-READY $(cut -d' ' -f1 /proc/uptime) $(uname -r)"
} >/dev/console
