# Run one bpftrace program on a node, bounded there, and leave nothing behind.
#
# POSIX sh. Set before it: $seconds (the bound), $pids (the traced processes), $strings and $entries (bpftrace's
# limits), and as arguments the words of the command that runs bpftrace. Stands behind sampler.sh, which looks at the
# memcacheds from before the trace until after it, definitions.sh, and binding.sh, which leaves $program (its text),
# $held (as guard.pl wants it) and $overlays (lines `PATH OCTAL`: symbol files for this trace only, in printf's octal
# form, for the paths in the program). $guard_pl is the text of guard.pl. Where it is $detached, $folder is a private
# one.
#
# $logged is what is written to the node's log when the trace starts and when it ends, where there is a logger(1) and a
# timeout(1) that bounds it: a log that takes nothing holds up no trace.
#
# Three bounds hold, each on its own: the program ends itself, timeout(1) interrupts and then kills bpftrace, and the
# watchdog interrupts it at once when standard input ends, that is when the controller, its connection or the session is
# gone. An interrupted bpftrace prints what it has.
# Prints records (see records.py); between `trace` and the next NUL stands what bpftrace prints. Several records are one
# write where they can be, which is one packet on the way to the controller.

# The names up to and from bpftrace 0.19 on.
export BPFTRACE_STRLEN="$strings" BPFTRACE_MAX_STRLEN="$strings" BPFTRACE_STR_TRUNC_TRAILER=''
export BPFTRACE_MAP_KEYS_MAX="$entries" BPFTRACE_MAX_MAP_KEYS="$entries"

# What stands in /proc/PID/stat of process $1: one line, unless its name has more.
stat_of() {
    stat=
    while IFS= read -r line; do stat="$stat$line$nl"; done 2>/dev/null <"/proc/$1/stat"
}

# Prints all of the words from $3 on, each up to a NUL; records of this shell and of each traced process, `before` the
# trace or `after` it ($1); and a record of nothing, $2.
tell() {
    when=$1 last=$2
    shift 2
    for pid in $pids; do
        stat_of "$pid"
        set -- "$@" "process-$when" "$pid $stat"
    done
    printf '%s\0' "$@" "exe-$when" "$($quick stat -L -c '%n %d:%i' $exes 2>/dev/null)" "shell-$when" "$shell" "$last" ''
}

# Tell the node's log $1.
note() {
    command -v logger >/dev/null 2>&1 && command -v timeout >/dev/null 2>&1 || return 0
    timeout -s KILL 2 logger -t fleettrace -p daemon.notice "$1" >/dev/null 2>&1 </dev/null 3<&- &
    noting="$noting $!"
}
noting=

# What runs bpftrace in a mount namespace of its own: there it may mount what the node lacks, and nobody else sees it.
inside='
    mount --make-rprivate / 2>/dev/null
    [ -e /sys/kernel/tracing/events ] || [ -e /sys/kernel/debug/tracing/events ] ||
        mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null
    if [ "$overlaid" = yes ]; then
        for place in /mnt /media /srv /tmp; do [ -d "$place" ] && break; done
        mount -t tmpfs -o mode=0700,size=64m tmpfs "$place" || exit 98
        while read -r path bytes; do
            [ -n "$path" ] || continue
            mkdir -p "$place${path%/*}" && printf "$bytes" >"$place$path" || exit 98
        done <&7
        export BCC_SYMFS="$place"
    fi
    unset overlaid
    exec "$@" 7<&-'

exes=
for pid in $pids; do exes="$exes /proc/$pid/exe"; done
look 100000 "$((seconds * 100))"
# The clocks of the looks and of bpftrace, which a suspended machine has put apart (clock_gettime(2)), side by side.
monotonic=
for _ in 1 2 3; do
    read -r now at ns _
    [ "$now $at" != 'now at' ] || monotonic=$ns
done 2>/dev/null </proc/timer_list
read -r uptime _ </proc/uptime
stat_of self
shell=$stat
note "trace starts: $logged"
tell before trace clocks "$uptime $monotonic"

# Run the command $@ with the program, for $bound_s seconds at most. Leaves $status.
attempt() {
    if [ "$given" = input ]; then
        piped=$program
        set -- "$@" -
    else
        piped=
        # Nobody else may open it there.
        exec 6<<EOF
$program
EOF
        set -- "$@" "/proc/$main/fd/6"
    fi
    if unshare -m true 2>/dev/null; then
        # Not through the environment: one string in it has 128 KiB at most (MAX_ARG_STRLEN), which is 48 overlays.
        overlaid=no
        if [ -n "$overlays" ]; then
            overlaid=yes
            exec 7<<EOF
$overlays
EOF
        fi
        export overlaid
        set -- unshare -m sh -c "$inside" sh "$@"
    elif [ -n "$overlays" ]; then
        echo 'unshare(1) is needed to give bpftrace a symbol of its own and is not there or may not be used' >&2
        set -- false
    fi
    if command -v timeout >/dev/null 2>&1; then
        printf '%s\n' "$piped" 3<&- | timeout -s INT -k 10 "$bound_s" "$@" 3<&- &
        tracer=$!
        bound=
    else
        printf '%s\n' "$piped" 3<&- | "$@" 3<&- &
        tracer=$!
        { sleep "$bound_s"; kill -INT "$tracer"; sleep 10; kill -KILL "$tracer"; } >/dev/null 2>&1 3<&- &
        bound=$!
    fi
    # `read` is a builtin: no process stays behind when the watchdog is ended.
    { while read -r _ <&3; do :; done; kill -INT "$tracer"; } >/dev/null 2>&1 &
    watchdog=$!
    guard=
    if [ -n "$held" ] && command -v perl >/dev/null 2>&1; then
        PERL5OPT= PERL5LIB= perl -e "$guard_pl" "$tracer" $held >/dev/null 3<&- &
        guard=$!
    fi
    wait "$tracer"
    status=$?
    exec 6<&- 7<&-
    kill "$watchdog" $bound $guard 2>/dev/null
    wait "$watchdog" $guard 2>/dev/null
    files=
    for holder in $holders; do files="$files /proc/$holder/fd/5"; done
    undefine $files
}

# Leave out the binaries that bpftrace, in file $1, names as those that it could not attach to. Fails where there is
# nothing to leave out, or nothing would be left.
refused_attach() {
    found=no
    # bpftrace 0.17 to 0.25: `Error attaching probe: uprobe:/proc/7/fd/5:NAME`; from 0.26 on `Unable to attach probe: ...`.
    for holder in $(sed -n 's#.*[Aa]ttach\(ing\)\{0,1\} probe: u[a-z]*:/proc/\([0-9]*\)/fd/5:.*#\2#p' "$1" | sort -u); do
        kept=
        for each in $held; do
            [ "${each%%:*}" = "$holder" ] || { kept="$kept $each"; continue; }
            found=yes each=${each#*:}
            leave_out "${each%%,*}"
            IFS=,
            # The NUL ends what bpftrace has printed.
            for pid in $each; do printf '\0refused\0%s attach-refused\0trace\0\0' "$pid"; done
            unset IFS
        done
        held=$kept
    done
    [ "$found" = yes ] && any_left
}

bound_s=$seconds
if [ "$detached" = no ]; then
    attempt "$@"
else
    # No controller is there to ask again without what cannot be attached.
    began=${uptime%.*}
    while :; do
        rm -f "$folder/words"
        mkfifo "$folder/words"
        # The beginning is kept, and the rest goes on at once: no bpftrace waits for a reader.
        { head -c 8192 >"$folder/beginning"; cat >&2; } <"$folder/words" 3<&- &
        reader=$!
        attempt "$@" 2>"$folder/words"
        wait "$reader"
        [ "$status" != 0 ] && refused_attach "$folder/beginning" || break
        read -r now _ </proc/uptime
        bound_s=$((seconds - ${now%.*} + began))
        [ "$bound_s" -gt 0 ] || break
    done
    cat "$folder/beginning" >&2
fi

note "trace ended with status $status: $logged"

# The CPU time of what it has waited for; the lookers' is none of the tracer's.
stat_of self
shell=$stat
release
kill $lookers 2>/dev/null
ended=$lookers
look 1 100
lookers="$ended $lookers"
gather 2
[ -z "$noting" ] || wait $noting 2>/dev/null
tell after end '' status "$status"
