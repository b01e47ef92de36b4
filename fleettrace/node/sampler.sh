# Start stats.pl, or else stats.sh, where the memcacheds are. A part of other scripts, which set before it: $looker_pl and
# $looker (their texts), $timing (its first four arguments), and $places (lines `PID PLACE...`: a process whose network namespace to enter, or
# `-`, and the memcacheds there); and hold the session's standard input in descriptor 3, which ends with the session.

# In the background: $1 looks at the most, for $2 hundredths of a second. Their process ids go to $lookers. What they
# print is on standard error, away from what bpftrace prints; what their tools say is nobody's business.
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

# Wait until they have looked, $1 seconds at the most: a memcached may be stuck.
gather() {
    [ -n "$lookers" ] || return 0
    { sleep "$1" & nap=$!; trap 'kill "$nap"; exit' TERM; wait "$nap"; kill $lookers; } >/dev/null 2>&1 3<&- &
    bound=$!
    wait $lookers 2>/dev/null
    kill "$bound" 2>/dev/null
    wait "$bound" 2>/dev/null
}
