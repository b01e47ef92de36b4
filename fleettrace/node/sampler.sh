# Sample memcached processes in the background, with stats.pl or else stats.sh. Part of other scripts.
#
# USAGE: set before it: $looker_pl and $looker (the texts of these two), $timing (their first four arguments), and $places
#        (lines `PID PLACE...`: a process with the network namespace to enter, or `-`, and the processes to sample there).
#        Descriptor 3 must be the session's standard input. `look` starts the samplers, `gather` waits for them.
# COST: one process for each network namespace.

# Take at most $1 samples, for $2 hundredths of a second, in the background. $lookers gets the samplers' pids. They print on
# standard error, apart from bpftrace's output; the messages of their tools are discarded.
look() {
    lookers= looking='sh -c' text=$looker
    read -r self _ </proc/self/stat
    # Under sshd bash would read the user's start-up files, also for a script.
    if command -v bash >/dev/null 2>&1; then looking='bash --norc --noprofile -c'; fi
    if command -v perl >/dev/null 2>&1; then looking='perl -e' text=$looker_pl; fi
    while read -r where there; do
        [ -n "$there" ] || continue
        enter=
        [ "$where" = - ] || enter="nsenter -t $where -n"
        BASH_ENV= PERL5OPT= PERL5LIB= $enter $looking "$text" fleettrace-looker $timing "$1" "$2" "$self" $there 4>&2 2>/dev/null >/dev/null </dev/null &
        lookers="$lookers $!"
    done <<EOF
$places
EOF
}

# Wait for the samplers, at most $1 seconds: a memcached process may be stuck.
gather() {
    [ -n "$lookers" ] || return 0
    { sleep "$1" & nap=$!; trap 'kill "$nap"; exit' TERM; wait "$nap"; kill $lookers; } >/dev/null 2>&1 3<&- &
    bound=$!
    wait $lookers 2>/dev/null
    kill "$bound" 2>/dev/null
    wait "$bound" 2>/dev/null
}
