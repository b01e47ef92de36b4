# Bind a trace to the analysed binaries. Part of trace.sh, behind identity.sh and abandoned.sh; nothing is attached
# before it.
#
# A process may run another program at any moment (execve(2)) and keeps its pid and start time. So this script opens each
# binary once, compares the open file with the analysed one, and gives bpftrace that open file: /proc/HOLDER/fd/5 of a
# process that only holds it. No path is resolved again, and a bpftrace in a container that sees this node's processes
# finds it as it finds /proc/PID/exe.
#
# USAGE: set before it:
#   $sites     a line for each binary: its processes, size, SHA-256, the code up to each probed instruction as OFFSET:HEX,
#              and its symbol file in printf's octal form; lists are joined by commas, `-` stands for an empty value
#   $program   the program, in which /proc/PID/exe of the first process stands for the binary
#   $detached  yes if the controller is away: refused binaries are then removed from the program here, where their probes
#              stand between `// site PID` and `// end of site PID`
# Prints records `held` and `refused`.
# COST: one hash, and one waiting shell, for each binary.

LC_ALL=C
export LC_ALL
nl='
'
holders= held= overlays= unbound=
if [ "$unstoppable" = yes ]; then
    printf '%s\n' "$unstoppable_words" >&2
    printf '%s\0' status 137 end ''
    exit
fi
# Opening a binary may hang.
watch_input

# Report that process $1 is not traced, with the code $2.
refuse() { printf 'refused\0%s\0' "$1 $2"; }

# Compare the file in descriptor 5 with the code $1. A plan without an analysis has no code to compare.
same_code() {
    [ "$1" != - ] || return 0
    IFS=,
    for place in $1; do
        unset IFS
        code=${place#*:}
        set -- $($quick od -An -v -tx1 -j "${place%%:*}" -N $((${#code} / 2)) /proc/self/fd/5 2>/dev/null)
        IFS=
        [ "$*" = "$code" ] || { unset IFS; return 1; }
        unset IFS
    done
    unset IFS
}

# Replace every $1 in the program by $2.
lead() {
    rest=$program program=
    while :; do
        case $rest in *"$1"*) ;; *) break ;; esac
        program=$program${rest%%"$1"*}$2
        rest=${rest#*"$1"}
    done
    program=$program$rest
}

# Remove the probes of one binary from the program; $1 is its first process.
leave_out() {
    rest=${program#*"// end of site $1$nl"}
    program=${program%%"// site $1$nl"*}$rest
}

# Succeed if the program still has probes.
any_left() { case $program in *"// site "*) ;; *) return 1 ;; esac }

# Hold the file in descriptor 5 for processes $1 if it is the analysed one, of size $2, SHA-256 $3 and code $4, with symbol
# file $5. Otherwise fail, with the code in $why.
hold() {
    sum_of /proc/self/fd/5 "$2"
    if [ -n "$sum" ] && [ "$3" != - ]; then
        why=binary-changed
        [ "$sum" = "$3" ] || return 1
    fi
    # Also behind a hash that is right: the analysis may be wrong, such as one that was damaged where it is stored.
    why=code-mismatch
    same_code "$4" || return 1
    { while read -r _ <&3; do :; done; } </dev/null >/dev/null 2>&1 &
    holders="$holders $!" held="$held $!:$1"
    printf 'held\0%s\0' "${1%%,*} $!"
    lead "/proc/${1%%,*}/exe" "/proc/$!/fd/5"
    [ "$5" = - ] || overlays="$overlays/proc/$!/fd/5 $5$nl"
    # Another process of this binary may run another program by now, which has no probe.
    inode=$($quick stat -L -c '%d:%i' /proc/self/fd/5 2>/dev/null)
    IFS=,
    for other in $1; do
        unset IFS
        [ "$($quick stat -L -c '%d:%i' "/proc/$other/exe" 2>/dev/null)" = "$inode" ] || refuse "$other" binary-changed
    done
    unset IFS
}

bind() {
    why=memcached-ended
    [ "$own_proc" = yes ] || why=foreign-proc
    IFS=,
    for pid in $1; do
        unset IFS
        [ "$why" != foreign-proc ] || break
        hold "$@" 2>/dev/null 5<"/proc/$pid/exe" && return
    done
    unset IFS
    unbound=yes
    IFS=,
    for pid in $1; do refuse "$pid" "$why"; done
    unset IFS
    [ "$detached" = no ] || leave_out "${1%%,*}"
}

# End the processes that hold binaries.
release() {
    [ -n "$holders" ] || return 0
    kill $holders
    wait $holders
} 2>/dev/null

while read -r processes size sum code symbols; do
    [ -z "$processes" ] || bind "$processes" "$size" "$sum" "$code" "$symbols"
done <<EOF
$sites
EOF
if [ -n "$unbound" ] && { [ "$detached" = no ] || ! any_left; }; then
    # The program is one text: the controller sends it again, without the refused binaries.
    release
    unwatch
    printf '%s\0' end ''
    exit
fi
unwatch
