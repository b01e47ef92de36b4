# Remove the uprobe definitions that a bpftrace left behind. Part of trace.sh and load.sh.
#
# Where the kernel refuses a uprobe through perf_event_open(2), or has no uprobe PMU (before 4.17), libbcc writes a
# definition `p:uprobes/p_PATH_OFFSET_N_bcc_PID PATH:OFFSET` to uprobe_events (bpf_attach_uprobe in libbpf.c of bcc). It
# does not remove it if the attach then fails, or if bpftrace is killed; the definition then pins the binary and its file
# system.
#
# USAGE: `undefine FILE...`, for at most 5 seconds.
# COST: reads uprobe_events once, up to ten times if definitions are still in use.

# The paths contain this script's own processes, so they identify its own definitions. A definition of a running bpftrace
# is not removed; the kernel refuses (EBUSY) to remove one that is in use.
undefine='
    [ -e /sys/kernel/tracing/events ] || [ -e /sys/kernel/debug/tracing/events ] || [ "$private" != yes ] || {
        mount --make-rprivate / 2>/dev/null
        mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null
    }
    for events in /sys/kernel/tracing/uprobe_events /sys/kernel/debug/tracing/uprobe_events; do
        [ -r "$events" ] || continue
        # The kernel refuses (EBUSY) until it has released the resources of a bpftrace that has ended.
        for pass in 1 2 3 4 5 6 7 8 9 10; do
            found=$(
                sed -n "s/^[pr][0-9]*:\([^ ]*_bcc_[0-9]*\) \([^ ]*\):0x[0-9a-f].*/\1 \2/p" "$events" |
                    while read -r name path; do
                        case " $* " in *" $path "*) ;; *) continue ;; esac
                        comm=
                        read -r comm 2>/dev/null <"/proc/${name##*_bcc_}/comm"
                        [ "$comm" = bpftrace ] && continue
                        echo found
                        (echo "-:$name" >>"$events")
                    done
            )
            [ -n "$found" ] || break
            [ "$pass" = 1 ] || sleep 0.2 || break
        done
        break
    done'

# Remove the definitions for the files $@, within 5 seconds.
undefine() {
    [ $# != 0 ] || return 0
    set -- sh -c "$undefine" sh "$@"
    private=no
    if [ ! -e /sys/kernel/tracing/events ] && unshare -m true 2>/dev/null; then
        private=yes
        set -- unshare -m "$@"
    fi
    if command -v timeout >/dev/null 2>&1; then set -- timeout -s KILL 5 "$@"; fi
    private=$private "$@" >/dev/null 2>&1 </dev/null 3<&-
}
