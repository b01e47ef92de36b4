# Let the node's kernel load one bpftrace program, and print bpftrace's output. Traces nothing: the probes are attached to
# copies of the binaries, which no process runs, and the program ends itself as soon as they are attached.
#
# USAGE: behind input.sh and definitions.sh. Set before it: $program, $seconds (the bound), $pids (a process of each
#        binary), $strings and $entries (bpftrace's limits), $overlays (lines `PID OCTAL`), and as arguments the words of the
#        bpftrace command. The last line is `status N`; 3 means that the node cannot load it this way.
# COST: a copy of each binary in memory, and one start of bpftrace.
#
# The copies are in their own mount namespace, with paths that exist nowhere else. A bpftrace in another mount namespace,
# such as in a container, finds no file to attach to.

LC_ALL=C
export LC_ALL
export BPFTRACE_STRLEN="$strings" BPFTRACE_MAX_STRLEN="$strings" BPFTRACE_STR_TRUNC_TRAILER=''
export BPFTRACE_MAP_KEYS_MAX="$entries" BPFTRACE_MAX_MAP_KEYS="$entries"

inside='
    mount --make-rprivate / 2>/dev/null
    [ -e /sys/kernel/tracing/events ] || [ -e /sys/kernel/debug/tracing/events ] ||
        mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null
    for place in /mnt /media /srv /tmp; do [ -d "$place" ] && break; done
    mount -t tmpfs -o mode=0700,size=64m tmpfs "$place" || exit 3
    if [ "$overlaid" = yes ]; then
        while read -r pid bytes; do
            mkdir -p "$place$place" && printf "$bytes" >"$place$place/exe-$pid" || exit 3
        done <&7
        export BCC_SYMFS="$place"
    fi
    for pid in $pids; do
        cat "/proc/$pid/exe" >"$place/exe-$pid" && chmod 0700 "$place/exe-$pid" || exit 3
    done
    text=$(sed "s#:/proc/\([0-9]*\)/exe:#:$place/exe-\1:#" <&8) || exit 3
    exec 7<&- 8<&-
    if [ "$given" = descriptor ]; then
        exec 6<<EOF
$text
EOF
        exec "$@" "/proc/$$/fd/6"
    fi
    exec "$@" - <<EOF
$text
EOF
'

# Pass these through the environment and open files, which other users cannot read, unlike arguments. One string of the
# environment has at most 128 KiB (MAX_ARG_STRLEN), and 49 binaries may need more.
overlaid=no
[ -z "$overlays" ] || overlaid=yes
export overlaid pids given
exec 7<<EOF 8<<END
$overlays
EOF
$program
END

# Only the end of the output matters: a verifier that refuses a program first prints its states.
exec 3<&0 </dev/null
if [ "$unstoppable" = yes ]; then
    printf '%s\nstatus 137\n' "$unstoppable_words"
elif unshare -m true 2>/dev/null && command -v timeout >/dev/null 2>&1; then
    {
        timeout -s INT -k 5 "$seconds" unshare -m sh -c "$inside" sh "$@" -v 3<&- &
        loader=$!
        # `read` is a builtin: no process stays behind when the watchdog is ended. Not INT, which a background process
        # ignores until timeout(1) asks for it.
        { while read -r _ <&3; do :; done; kill -TERM "$loader"; } >/dev/null 2>&1 &
        watchdog=$!
        wait "$loader"
        status=$?
        kill "$watchdog" 2>/dev/null
        files=
        for place in /mnt /media /srv /tmp; do
            for pid in $pids; do files="$files $place/exe-$pid"; done
        done
        undefine $files
        printf '\nstatus %s\n' "$status"
    } 2>&1 | tail -c 65536
else
    printf '\nstatus 3\n'
fi
