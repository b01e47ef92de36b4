#!/bin/sh
# Report to the machine that booted this guest that it is ready.
{
    echo "VM-PREEMPT $(cat /sys/kernel/debug/sched/preempt 2>/dev/null)"
    echo "VM-VERSION $(bpftrace --version)"
    echo "VM-READY $(cut -d' ' -f1 /proc/uptime) $(uname -r)"
} >/dev/console
