# Bind a trace to the binaries that were analysed. A part of trace.sh, behind identity.sh and abandoned.sh; nothing is
# attached before it.
#
# A process may run another program from one moment to the next (execve(2)) and keeps its number and start time. So each
# binary is opened once, the open file is compared with the analysed one, and bpftrace is led to that open file: to
# /proc/HOLDER/fd/5 of a process that does nothing but hold it. No path is looked up again, and a bpftrace in a container
# that sees this node's processes finds it as well as it finds /proc/PID/exe.
#
# Set before it: $sites (a line for each binary: its processes, its size, its SHA-256, the code up to each probe as
# OFFSET:HEX, and its symbol file in printf's octal form; lists are joined by commas, and `-` stands for nothing), and
# $program, in which /proc/PID/exe of the first process stands for the binary. $detached says whether the controller is
# away (yes|no): then what is refused is left out of the program here, where its probes stand between `// site PID` and
# `// end of site PID`.

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
# Opening a binary may take for ever.
watch_input

# Say that process $1 is not traced, and why ($2).
refuse() { printf 'refused\0%s\0' "$1 $2"; }

# Whether the file in descriptor 5 has the code $1. A program that is led by no analysis has none to compare.
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

# Put $2 wherever $1 stands in the program.
lead() {
    rest=$program program=
    while :; do
        case $rest in *"$1"*) ;; *) break ;; esac
        program=$program${rest%%"$1"*}$2
        rest=${rest#*"$1"}
    done
    program=$program$rest
}

# Take the probes of the binary that process $1 is the first one of out of the program.
leave_out() {
    rest=${program#*"// end of site $1$nl"}
    program=${program%%"// site $1$nl"*}$rest
}

# Whether the program has probes.
any_left() { case $program in *"// site "*) ;; *) return 1 ;; esac }

# Hold the file in descriptor 5 for processes $1 if it is the analysed one, of size $2, SHA-256 $3 and code $4, with symbol
# file $5. Otherwise $why says why not.
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
    # Another process of this binary may run something else by now: there is no probe on that.
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
    # The program is one text: the controller asks again, without what was refused.
    release
    unwatch
    printf '%s\0' end ''
    exit
fi
unwatch
