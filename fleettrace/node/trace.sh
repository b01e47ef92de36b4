# Run one bpftrace program on a node, bounded there, and leave nothing behind.
#
# USAGE: POSIX sh. Behind sampler.sh, which samples memcached before, during and after the trace, definitions.sh, and
#        binding.sh, which sets $program (its text), $held (for guard.pl) and $overlays (lines `PATH OCTAL`: symbol files
#        for this trace only, in printf's octal form, for the paths in the program). Set before it: $seconds (the bound),
#        $pids (the traced processes), $strings and $entries (bpftrace's limits), $guard_pl (the text of guard.pl), $logged
#        (the message for the node's log at the start and the end of the trace, if it has logger(1) and a timeout(1) that
#        bounds it), and as arguments the words of the bpftrace command. If $detached is yes, detach.sh has
#        made a private directory.
# COST: one bpftrace, a sampler, and some waiting shells.
#
# Three independent bounds apply: the program ends itself, timeout(1) interrupts and then kills bpftrace, and the watchdog
# interrupts it at once when standard input ends, that is when the controller, its connection or the session has ended. An
# interrupted bpftrace prints its maps.
# Prints records (see records.py); bpftrace's output stands between `trace` and the next NUL. Several records are one write
# if possible, which is one packet to the controller.

# The names up to and from bpftrace 0.19 on.
export BPFTRACE_STRLEN="$strings" BPFTRACE_MAX_STRLEN="$strings" BPFTRACE_STR_TRUNC_TRAILER=''
export BPFTRACE_MAP_KEYS_MAX="$entries" BPFTRACE_MAX_MAP_KEYS="$entries"

# Set $stat to /proc/PID/stat of process $1: one line, or several if its name has newlines.
stat_of() {
    stat=
    while IFS= read -r line; do stat="$stat$line$nl"; done 2>/dev/null <"/proc/$1/stat"
}

# Print the words from $3 on, each with a NUL; records of each traced process and of this shell, `before` the trace or
# `after` it ($1); and an empty record, $2.
tell() {
    when=$1 last=$2
    shift 2
    for pid in $pids; do
        stat_of "$pid"
        set -- "$@" "process-$when" "$pid $stat"
    done
    printf '%s\0' "$@" "exe-$when" "$($quick stat -L -c '%n %d:%i' $exes 2>/dev/null)" "shell-$when" "$shell" "$last" ''
}

# Write $1 to the node's log.
note() {
    command -v logger >/dev/null 2>&1 && command -v timeout >/dev/null 2>&1 || return 0
    timeout -s KILL 2 logger -t fleettrace -p daemon.notice "$1" >/dev/null 2>&1 </dev/null 3<&- &
    noting="$noting $!"
}
noting=

# Run bpftrace in its own mount namespace, where it may mount what the node lacks, invisible to other processes.
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
# The clocks of the samples and of bpftrace at the same moment; a suspension makes them differ (clock_gettime(2)).
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
        # No other user may open it there.
        exec 6<<EOF
$program
EOF
        set -- "$@" "/proc/$main/fd/6"
    fi
    if unshare -m true 2>/dev/null; then
        # Not through the environment: one string in it has at most 128 KiB (MAX_ARG_STRLEN), which is 48 overlays.
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

# Remove the binaries from the program that bpftrace, in file $1, reports as not attachable. Fail if there are none, and if
# no probe would remain.
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
            # The NUL ends bpftrace's output.
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
    # There is no controller to send the program again without the refused binaries.
    began=${uptime%.*}
    while :; do
        rm -f "$folder/words"
        mkfifo "$folder/words"
        # Store the beginning and pass the rest on at once, so that bpftrace never waits for a reader.
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

# The CPU time of the children that this shell has waited for; the samplers are not among them yet.
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
